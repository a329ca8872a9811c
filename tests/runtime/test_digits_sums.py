"""The portable sums of inputs at every level of optimization of the compilers at hand."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgefactor.runtime.toolchain import run
from tests.tools import REPOSITORY

CSRC = REPOSITORY / "runtime" / "csrc"
MAIN = """
#include <stdio.h>
#include "ef_digits.h"

int main(void)
{
    static const uint32_t strip[] = {STRIP};
    int32_t offsets[4 * PAIRS];
    ef_o8_block block = {0};
    block.steps = STEPS;
    block.rows = 1;
    block.pairs = PAIRS;
    ef_digits_sums(&block, 127, -3, strip, offsets);
    for (int i = 0; i < 4 * PAIRS; i++) {
        printf("%ld ", (long)offsets[i]);
    }
    return 0;
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("level", ["-O1", "-O2", "-O3", "-Os"])
def test_no_sum_is_lost(compiler: str, level: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    pairs, steps = 3, 6
    halves = np.random.default_rng(0).integers(-255, 256, (pairs, steps, 2, 2, 2))
    words = (halves[..., 0] & 0xFFFF) | (halves[..., 1] & 0xFFFF) << 16
    text = MAIN.replace("STRIP", ", ".join(f"{word}u" for word in words.reshape(-1)))
    (tmp_path / "main.c").write_text(text)
    sizes = (f"-DPAIRS={pairs}", f"-DSTEPS={steps}")
    program = tmp_path / "main"
    sources = (tmp_path / "main.c", CSRC / "ef_digits_sums.c")
    command = (compiler, "-std=c99", level, *sizes, f"-I{CSRC}", *sources, "-o", program)
    run(command, timeout_seconds=60)
    found = np.array(run((program,), timeout_seconds=60).stdout.split(), int).reshape(pairs, 2, 2)
    sums = halves.sum(axis=(1, 2, 4))  # [pair][pixel]
    np.testing.assert_array_equal(found, 2 * np.stack([127 * sums, 124 * sums], axis=1))
