"""Output scales at which LiteRT and TFLM, which compute multipliers differently, agree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgefactor.export.functions.tflite_builtins import product_is_settled
from edgefactor.export.ir import Graph
from edgefactor.export.numerics import choose_quantization
from edgefactor.export.reference import run_reference
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.quantize import quantize
from edgefactor.runtime.litert_runner import LiteRtRunner
from tests.export.ops.every_runtime import CODES, check_everywhere
from tests.export.ops.lowering import parse

ROWS, COLUMNS = (grid.reshape(1, 256, 256) for grid in np.meshgrid(CODES, CODES, indexing="ij"))
INPUTS = {"x": ROWS, "z": COLUMNS}


def unsettled_ranges(seed: int) -> dict[str, tuple[float, float]]:
    """Ranges of two factors and their product at whose scales the two do not agree."""
    generator = np.random.default_rng(seed)
    while True:
        a, b, c = generator.uniform(0.5, 8, 3)
        ranges = {"x": (-a, 0.9 * a), "z": (-0.7 * b, b), "y": (-c, c)}
        scales = [choose_quantization(*ranges[name]) for name in "xzy"]
        if not product_is_settled(*scales):
            return ranges


def product(ranges: dict[str, tuple[float, float]]) -> Graph:
    graph = lower(parse("float[1,256,256] x, float[1,256,256] z", "y = Mul (x, z)"), name="net")
    return quantize(graph, ranges)


@pytest.mark.parametrize("seed", range(3))
def test_the_scale_of_a_product_is_moved_until_all_agree(seed: int, tmp_path: Path) -> None:
    ranges = unsettled_ranges(seed)
    graph = product(ranges)
    x, z, y = (graph.tensors[name] for name in "xzy")
    first = choose_quantization(*ranges["y"])
    assert product_is_settled(x.quant, z.quant, y.quant)
    assert first.scale < y.quant.scale < first.scale * (1 + 3e-6)
    assert y.quant.zero_point == first.zero_point
    check_everywhere(graph, INPUTS, tmp_path)
    before = graph.edit(tensors={**graph.tensors, "y": replace(y, quantization=first)})
    found = LiteRtRunner(write_tflite(before)).run({n: c[None] for n, c in INPUTS.items()}, ["y"])
    differ = found["y"].reshape(ROWS.shape) != run_reference(before, INPUTS)["y"]
    assert 0 < differ.sum() < 100, "the scales are those at which they do not"


def test_the_scale_of_a_chain_moves_with_it() -> None:
    """What shares the scale of a product has the same one afterwards."""
    ranges = unsettled_ranges(3)
    body = "p = Mul (x, z) y = Concat <axis = 1> (p, x)"
    graph = lower(parse("float[1,256,256] x, float[1,256,256] z", body), name="net")
    wide = {"x": ranges["y"], "z": ranges["z"], "p": ranges["y"], "y": ranges["y"]}
    made = quantize(graph, wide)
    assert len({made.tensors[name].quant for name in ("x", "p", "y")}) == 1
    assert product_is_settled(*(made.tensors[name].quant for name in ("x", "z", "p")))
