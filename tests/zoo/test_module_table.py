"""docs/torch-modules.md is what its script writes, and every layer in it runs everywhere alike."""

from pathlib import Path

import pytest

from tests.export.ops.every_runtime import check_everywhere
from tests.zoo.module_table import (
    COMMAND,
    JUMPS,
    MODULES,
    MOST_STEPS,
    REFUSED,
    TABLE,
    exported,
    refusal,
    rows,
)


@pytest.mark.slow
def test_every_layer_runs_the_same_everywhere(tmp_path: Path) -> None:
    found = exported()
    for name, steps in found.steps.items():
        assert steps <= MOST_STEPS or name in JUMPS, name
    check_everywhere(found.graph, found.codes, tmp_path)


@pytest.mark.slow
def test_table_is_up_to_date() -> None:
    """The distances depend on the libraries; what the layers become does not."""
    lines = [line.strip("| ").split(" | ") for line in TABLE.read_text().splitlines()]
    written = {line[0]: (line[1], line[2]) for line in lines if line[0] in MODULES}
    assert written == rows(), f"write it again: {COMMAND}"


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    assert len(refusal(name)) > 15


def test_table_lists_every_layer() -> None:
    text = TABLE.read_text()
    assert all(f"\n| {name} | " in text for name in (*MODULES, *REFUSED))
