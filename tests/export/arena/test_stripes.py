"""Networks by stripes of rows: the same result in every bit, in less memory."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgefactor.export.arena.plan import plan_arena
from edgefactor.export.arena.row_windows import RowWindow
from edgefactor.export.arena.stripe_search import fit_arena, multiply_accumulates, recorded
from edgefactor.export.arena.stripes import Borders, bounds, regions, stripe
from edgefactor.export.c_code.code_cache import CodeCache
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.ir import DType, Graph, Op, Port, Quantization, Tensor, constant
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.reference import run_samples
from edgefactor.export.validate import validate
from edgefactor.runtime.toolchain import run
from tests.export.bundles import check_everywhere, random_samples, write_folder
from tests.export.graphs import lowered, to_int8
from tests.tools import require_tool

#: What happens to rows that two stripes need; whether the input comes row by row.
WAYS: tuple[tuple[Borders, bool], ...] = (("keep", False), ("recompute", False), ("keep", True))


class Residual(nn.Module):
    """All operators that run by rows: strided, dilated, pooled, branched, added, concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.prelu = nn.PReLU(8)
        self.project = nn.Conv2d(16, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """NCHW."""
        x = self.first(x).relu()
        y = torch.nn.functional.hardswish(self.depthwise(x))
        x = x + y
        x = torch.cat([self.prelu(self.dilated(x)), x * 0.5], dim=1)
        x = nn.functional.max_pool2d(x, 3, stride=2, padding=1)
        x = self.project(nn.functional.avg_pool2d(x, 2, stride=1))
        return self.head(x.mean([2, 3]))  # type: ignore[no-any-return]


def residual(rows: int = 24, columns: int = 8) -> Graph:
    torch.manual_seed(0)
    return to_int8(lowered(Residual(), (1, 3, rows, columns)).graph)


GRAPH = residual()


def test_regions_end_where_one_tensor_carries_on() -> None:
    found = regions(GRAPH)
    assert found[0].result == GRAPH.ops[0].outputs[0]
    assert len(found) >= 4
    for region in found:
        inside = {name for op in region.ops for name in (*op.inputs, *op.outputs)}
        later = {name for op in GRAPH.ops[len(region.ops) :] for name in op.inputs}
        shared = {name for name in inside & later if GRAPH.tensors[name].data is None}
        assert shared == {region.result}


@pytest.mark.parametrize(("borders", "by_rows"), WAYS)
def test_every_region_and_count_gives_the_same_result(borders: Borders, by_rows: bool) -> None:
    inputs = random_samples(GRAPH, count=1)
    expected = run_samples(GRAPH, inputs)
    for region in regions(GRAPH):
        for count in range(2, GRAPH.tensors[region.result].shape[1] + 1):
            striped = stripe(GRAPH, region, count, borders, by_rows=by_rows)
            validate(striped, "stripe", quantized=True)
            found = run_samples(striped, inputs)
            for name in expected.keys() & found.keys():
                np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
            assert region.result in found


def chain(rows: int, layers: list[tuple[int, int, int, int]]) -> Graph:
    """Convolutions of kernel, stride, padding above and below, on maps one column wide."""
    generator = np.random.default_rng(0)
    quantization = Quantization(scales=(2.0**-4,))
    port = Port(tensor="x", name="x", shape=(1, rows, 1, 2), perm=(0, 1, 2, 3))
    tensors = {"x": Tensor(name="x", shape=port.shape, dtype=DType.INT8, quantization=quantization)}
    ops: list[Op] = []
    name = "x"
    for index, (kernel, stride, above, below) in enumerate(layers):
        height = (rows + above + below - kernel) // stride + 1
        if height < 1:
            break
        weights = generator.integers(-127, 128, (2, kernel, 1, 2)).astype(np.int8)
        scales = Quantization(scales=(2.0**-7, 2.0**-6), axis=0)
        names = (name, f"w{index}", f"b{index}")
        tensors[names[1]] = constant(names[1], weights, scales)
        bias_scales = Quantization(scales=(2.0**-11, 2.0**-10), axis=0)
        tensors[names[2]] = constant(names[2], np.array([40, -30], np.int32), bias_scales)
        name, rows = f"y{index}", height
        tensors[name] = Tensor(
            name=name, shape=(1, rows, 1, 2), dtype=DType.INT8, quantization=quantization
        )
        ops.append(
            Conv2D(
                name=f"conv{index}",
                inputs=names,
                outputs=(name,),
                stride=(stride, 1),
                padding=(above, 0, below, 0),
            )
        )
    output = Port(tensor=name, name="y", shape=(1, rows, 1, 2), perm=(0, 1, 2, 3))
    return Graph(name="chain", tensors=tensors, ops=tuple(ops), inputs=(port,), outputs=(output,))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(5, 40),
    layers=st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 3), st.integers(0, 3)),
        min_size=1,
        max_size=4,
    ),
    count=st.integers(2, 40),
    way=st.sampled_from(WAYS),
)
def test_any_size_gives_the_same_result(
    rows: int,
    layers: list[tuple[int, int, int, int]],
    count: int,
    way: tuple[Borders, bool],
) -> None:
    graph = validate(chain(rows, layers), "chain", quantized=True)
    inputs = random_samples(graph, count=1)
    expected = run_samples(graph, inputs)
    for region in regions(graph):
        striped = stripe(graph, region, count, way[0], by_rows=way[1])
        validate(striped, "stripe", quantized=True)
        found = run_samples(striped, inputs)
        for name in expected.keys() & found.keys():
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize(("borders", "by_rows"), WAYS)
def test_stripes_run_alike_everywhere(borders: Borders, by_rows: bool, tmp_path: Path) -> None:
    """NumPy, LiteRT, TFLM and C agree on every tensor, also with more parts than TFLM joins."""
    region = regions(GRAPH)[1]
    striped = stripe(GRAPH, region, 12, borders, by_rows=by_rows)
    assert len(bounds(GRAPH.tensors[region.result].shape[1], 12)) == 12
    found = check_everywhere(striped, tmp_path, sanitize=True)
    inputs = random_samples(GRAPH)
    output = GRAPH.outputs[0].tensor
    np.testing.assert_array_equal(found[output], run_samples(GRAPH, inputs)[output])


def test_weights_are_stored_once(tmp_path: Path) -> None:
    whole = write_folder(GRAPH, tmp_path / "whole")
    region = regions(GRAPH)[-1]
    striped = write_folder(stripe(GRAPH, region, 3, "keep"), tmp_path / "striped")
    assert striped.files["net.c"].count("_weights[") == whole.files["net.c"].count("_weights[")
    planned = [
        sum(layer.weight_bytes for layer in sources.code.values()) for sources in (whole, striped)
    ]
    assert planned[0] == planned[1]


def test_kept_borders_add_no_arithmetic() -> None:
    region = regions(GRAPH)[-1]
    whole = multiply_accumulates(GRAPH)
    assert multiply_accumulates(stripe(GRAPH, region, 3, "keep")) <= whole
    assert multiply_accumulates(stripe(GRAPH, region, 3, "recompute")) > whole


def arena(graph: Graph) -> int:
    return plan_arena(graph, CodeCache(target=CTarget()).code(graph)).arena_bytes


def test_a_network_that_fits_stays_as_it_is() -> None:
    assert fit_arena(GRAPH, CTarget(), arena(GRAPH)) is GRAPH


def test_a_network_that_does_not_fit_runs_by_stripes() -> None:
    graph = residual(64, 32)
    before = arena(graph)
    fitted = fit_arena(graph, CTarget(), before * 7 // 10)
    plan = recorded(fitted)
    assert plan is not None and plan["fits"]
    assert plan["arena_before_bytes"] == before
    assert plan["arena_bytes"] == arena(fitted) <= before * 7 // 10
    extra = multiply_accumulates(fitted) - multiply_accumulates(graph)
    assert plan["extra_macs"] == extra
    assert recorded(fit_arena(graph, CTarget(), before * 7 // 10)) == plan


def test_the_smallest_where_nothing_fits() -> None:
    graph = residual(64, 32)
    fitted = fit_arena(graph, CTarget(), 1)
    plan = recorded(fitted)
    assert plan is not None and not plan["fits"]
    assert plan["arena_bytes"] == arena(fitted)
    # Less than the input takes, which therefore comes row by row.
    assert plan["input_by_rows"]
    assert plan["arena_bytes"] < 3 * 64 * 32 < arena(graph)  # type: ignore[operator]


def test_rows_are_asked_for_once_from_top_to_bottom(tmp_path: Path) -> None:
    region = regions(GRAPH)[1]
    sources = write_folder(stripe(GRAPH, region, 4, "keep", by_rows=True), tmp_path)
    calls = re.findall(r"    rows\(context, (\d+), (\d+), ", sources.files["net.c"])
    starts = [int(first) for first, _ in calls]
    ends = [int(first) + int(count) for first, count in calls]
    assert starts == [0, *ends[:-1]]
    assert GRAPH.inputs[0].tensor not in sources.plan.offsets
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Werror"]
    program = tmp_path / "program.cpp"
    program.write_text('#include "net.h"\n#include "model_glue.h"\nint main() { return 0; }\n')
    for compiler, standard, source in (
        ("gcc", "c99", tmp_path / "net.c"),
        ("clang", "c99", tmp_path / "net.c"),
        ("g++", "c++11", program),
    ):
        flags = [f"-std={standard}", "-pedantic", *warnings, "-fsyntax-only"]
        run([require_tool(compiler), *flags, source], timeout_seconds=60)


def test_what_cannot_run_by_stripes_stays_as_it_is() -> None:
    torch.manual_seed(0)
    dense = to_int8(lowered(nn.Sequential(nn.Linear(8, 4), nn.ReLU()), (1, 8)).graph)
    assert regions(dense) == ()
    assert fit_arena(dense, CTarget(), 1) is dense


def test_row_windows_know_the_border() -> None:
    window = RowWindow(span=3, stride=2, pad=1, height=8)
    assert window.needs((0, 1)) == (0, 2)
    assert window.padding((0, 1)) == (1, 0)
    assert window.needs((1, 4)) == (1, 8)
    assert window.padding((3, 4)) == (0, 0)
    assert RowWindow(span=3, stride=1, pad=1, height=4).padding((0, 4)) == (1, 1)


def test_rows_that_do_not_start_at_words_are_copied(tmp_path: Path) -> None:
    graph = residual(24, 7)
    region = regions(graph)[1]
    check_everywhere(stripe(graph, region, 6, "keep"), tmp_path, sanitize=True)
