"""The same table of layers on every emulated core, and under the sanitizers of the host."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from edgefactor.export.c_code.layer_code import IsaFeatures, LayerCode
from edgefactor.export.conv_kernels.catalogue import ALL_VARIANTS
from edgefactor.targets.catalogue import load_target
from tests.runtime.conv_cases import cases, encoded_cases, kernels_of
from tests.runtime.conv_firmware import Run, run_on_board, run_sanitized
from tests.runtime.conv_reference import ConvLayer, make_layer

TARGETS = ["m0plus", "m3", "m4", "m7", "m33", "m55"]
CLUSTERED = {
    "tile + 1": 16, "3x3 same": 16, "groups": 5, "dense": 16, "dense odd": 40,
    "depthwise 3x3": 16, "3x3 three channels": 16,
}  # fmt: skip


def layers() -> list[ConvLayer]:
    """Every case, and some again with few distinct weights."""
    table = cases()
    again = [
        make_layer(layer.name, layer.geometry, values=CLUSTERED[layer.name], seed=1)
        for layer in table
        if layer.name in CLUSTERED
    ]
    return [*table, *again, *encoded_cases()]


def runs_for(features: IsaFeatures | None) -> list[Run]:
    """Every layer on every kernel and encoding that can run it, in shared memory where allowed."""
    return [
        run
        for layer in layers()
        for kernel in dict.fromkeys(variant.kernel for variant in ALL_VARIANTS)
        for code in kernels_of(layer, kernel, features)
        for run in _runs_of(layer, code)
    ]


def _runs_of(layer: ConvLayer, code: LayerCode) -> Iterator[Run]:
    yield Run(layer=layer, code=code)
    if code.in_place and layer.output.size <= layer.input.size:
        yield Run(layer=layer, code=code, in_place=True)
    if code.scratch_lead is not None:
        yield Run(layer=layer, code=code, in_scratch=True)


def batches(runs: list[Run], limit: int) -> Iterator[list[Run]]:
    """The runs in groups whose constants stay below a limit in bytes."""
    batch: list[Run] = []
    held = 0
    for run in runs:
        size = sum(array.data.nbytes for array in run.code.arrays)
        size += run.layer.input.nbytes + run.layer.output.nbytes
        if batch and held + size > limit:
            yield batch
            batch, held = [], 0
        batch.append(run)
        held += size
    yield batch


def wrong_runs(runs: list[Run], outcomes: list[int]) -> list[str]:
    return [
        f"{run.layer.name}: {run.code.calls[0].function} {run.code.encoding}{run.code.bits}"
        for run, wrong in zip(runs, outcomes, strict=True)
        if wrong
    ]


@pytest.mark.parametrize("name", TARGETS)
def test_all_layers_on_emulated_core(name: str) -> None:
    target = load_target(f"cortex-{name}")
    assert target.board is not None
    runs = runs_for(IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned))
    for batch in batches(runs, target.board.flash_bytes // 2):
        outcomes = [outcome.wrong for outcome in run_on_board(target, batch)]
        assert wrong_runs(batch, outcomes) == []


def test_all_layers_under_sanitizers() -> None:
    runs = runs_for(None)
    outcomes = [outcome.wrong for outcome in run_sanitized(runs)]
    assert wrong_runs(runs, outcomes) == []


def test_emulated_comparison_sees_a_damaged_weight() -> None:
    layer = next(layer for layer in layers() if layer.name == "pointwise")
    (code,) = kernels_of(layer, "ef_conv2d_s8_dsp")
    weights = code.arrays[0].data.copy()
    weights.view(np.uint8)[3] ^= 0x40
    broken = replace(code, arrays=(replace(code.arrays[0], data=weights), *code.arrays[1:]))
    runs = [Run(layer=layer, code=code), Run(layer=layer, code=broken)]
    whole, damaged = run_on_board(load_target("cortex-m4"), runs)
    assert (whole.wrong, damaged.wrong > 0) == (0, True)
