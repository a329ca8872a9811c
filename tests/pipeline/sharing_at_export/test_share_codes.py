from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgefactor.errors import OptionError
from edgefactor.export.c_code.code_cache import CodeCache
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.ir import DType, Graph, Port, Quantization, Tensor, constant
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ports import decode_outputs
from edgefactor.export.reference import run_samples
from edgefactor.pipeline.sharing_at_export.share_codes import (
    Moments,
    best_codes,
    observe_inputs,
    share_codes,
)
from tests.export.bundles import check_everywhere
from tests.export.graphs import lowered, to_int8


def brute_force(levels: list[int], mass: list[float], values: int) -> float:
    """Least error over all ways to cut sorted levels into runs with integer centres."""
    best = np.inf
    for cuts in itertools.combinations(range(1, len(levels)), values - 1):
        ends = [0, *cuts, len(levels)]
        total = 0.0
        for start, end in itertools.pairwise(ends):
            run = np.array(levels[start:end], float)
            weight = np.array(mass[start:end])
            centre = np.rint((run * weight).sum() / weight.sum())
            total += float((weight * (run - centre) ** 2).sum())
        best = min(best, total)
    return best


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-128, 127), min_size=3, max_size=9, unique=True),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_the_partition_is_the_best_there_is(levels: list[int], values: int, random) -> None:
    levels = sorted(levels)
    values = min(values, len(levels))
    mass = [random.uniform(0.1, 3.0) for _ in levels]
    weights = np.zeros(256)
    weights[np.array(levels) + 128] = mass
    moved = best_codes(weights, values)[np.array(levels) + 128]
    assert len(np.unique(moved)) <= values
    error = float((np.array(mass) * (np.array(levels) - moved) ** 2).sum())
    # The search cuts by exact means and rounds them after; brute force rounds every cut's.
    slack = 0.5 * sum(mass)
    assert brute_force(levels, mass, values) - 1e-9 <= error
    assert error <= brute_force(levels, mass, values) + slack


def test_codes_that_are_few_enough_stay() -> None:
    weights = np.zeros(256)
    weights[[3, 77, 200]] = 1.0
    assert np.array_equal(best_codes(weights, 3), np.arange(-128, 128))


def network(groups: int = 1) -> Graph:
    generator = np.random.default_rng(1)
    depth = 8 // groups
    codes = generator.integers(-127, 128, (12 if groups == 1 else 8, 3, 3, depth)).astype(np.int8)
    scales = tuple(float(np.float32(s)) for s in generator.uniform(0.001, 0.02, len(codes)))
    x_scale = Quantization(scales=(0.05,), zero_point=-128)
    bias = np.zeros(len(codes), np.int32)
    bias_scales = tuple(float(np.float32(s * 0.05)) for s in scales)
    tensors = {
        "x": Tensor(name="x", shape=(1, 6, 6, 8), dtype=DType.INT8, quantization=x_scale),
        "w": constant("w", codes, Quantization(scales=scales, axis=0)),
        "b": constant("b", bias, Quantization(scales=bias_scales, axis=0)),
        "y": Tensor(
            name="y",
            shape=(1, 4, 4, len(codes)),
            dtype=DType.INT8,
            quantization=Quantization(scales=(0.5,), zero_point=0),
        ),
    }
    conv = Conv2D(name="conv", inputs=("x", "w", "b"), outputs=("y",), groups=groups)
    port = Port(tensor="x", name="x", shape=(1, 8, 6, 6), perm=(0, 2, 3, 1))
    out = Port(tensor="y", name="y", shape=(1, len(codes), 4, 4), perm=(0, 2, 3, 1))
    return Graph(name="net", tensors=tensors, ops=(conv,), inputs=(port,), outputs=(out,))


def seen(graph: Graph, inputs: np.ndarray) -> dict[str, Moments]:
    real = (inputs.astype(float) + 128) * graph.tensors["x"].quant.scale
    rows = real.reshape(-1, 8)
    return {"x": Moments(mean=rows.mean(axis=0), mean_square=(rows**2).mean(axis=0))}


@pytest.mark.parametrize(("groups", "values"), [(1, 4), (1, 16), (8, 4), (8, 8)])
def test_inputs_and_bias_make_the_output_better(groups: int, values: int) -> None:
    graph = network(groups)
    generator = np.random.default_rng(2)
    # Channels of very different strength, as after a ReLU.
    strength = generator.uniform(0.05, 1.0, 8)
    inputs = (generator.uniform(0, 255, (20, 1, 6, 6, 8)) * strength - 128).astype(np.int8)
    moments = seen(graph, inputs)
    flat = {"x": Moments(mean=np.zeros(8), mean_square=np.ones(8))}
    expected = decode_outputs(graph, run_samples(graph, {"x": inputs}))[0]
    errors = []
    for how in (flat, moments):
        shared = share_codes(graph, how, values=values)
        assert len(np.unique(shared.tensors["w"].values)) <= values
        found = decode_outputs(shared, run_samples(shared, {"x": inputs}))[0]
        errors.append(float(((found - expected) ** 2).mean()))
    assert errors[1] < 0.9 * errors[0]


def test_kept_and_small_layers_stay() -> None:
    graph = network()
    moments = {"x": Moments(mean=np.zeros(8), mean_square=np.ones(8))}
    kept = share_codes(graph, moments, values=16, keep=["co*"])
    assert np.array_equal(kept.tensors["w"].values, graph.tensors["w"].values)
    small = constant("w", graph.tensors["w"].values[:, :1, :1], graph.tensors["w"].quantization)
    little = replace(graph, tensors={**graph.tensors, "w": small})
    same = share_codes(little, moments, values=16)
    assert np.array_equal(same.tensors["w"].values, small.values)


@pytest.mark.parametrize(
    ("values", "keep", "word"), [(1, [], "2 to 64"), (65, [], "2 to 64"), (16, ["no*"], "conv")]
)
def test_wrong_options(values: int, keep: list[str], word: str) -> None:
    moments = {"x": Moments(mean=np.zeros(8), mean_square=np.ones(8))}
    with pytest.raises(OptionError) as caught:
        share_codes(network(), moments, values=values, keep=keep)
    assert word in str(caught.value)


class SixLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        widths = (3, 24, 24, 24, 32, 32, 32)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU())
                for a, b in itertools.pairwise(widths)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


@pytest.mark.slow
def test_one_to_six_bits_in_one_network_are_equal_everywhere(tmp_path: Path) -> None:
    float_graph = lowered(SixLayers(), (1, 3, 6, 6)).graph
    graph = to_int8(float_graph)
    rng = np.random.default_rng(1)
    name = float_graph.inputs[0].name
    samples = [{name: rng.standard_normal((1, 3, 6, 6)).astype(np.float32)}]
    moments = observe_inputs(float_graph, samples)
    layers = [op.name for op in graph.ops if isinstance(op, Conv2D)]
    for bits, layer in enumerate(layers, start=1):
        others = [other for other in layers if other != layer]
        graph = share_codes(graph, moments, values=2**bits, keep=others)
    found = {
        name: (code.encoding, code.bits)
        for name, code in CodeCache(target=CTarget()).code(graph).items()
    }
    assert [found[layer] for layer in layers] == [("codebook", bits) for bits in range(1, 7)]
    check_everywhere(graph, tmp_path)
