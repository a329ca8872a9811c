"""The kernels' code for Arm, exact on the boards: all pairs of codes, rows of softmax, tables."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.ops.elementwise import Add, Mul, Sub
from edgefactor.export.ops.lookup import Lookup
from edgefactor.export.ops.prelu import PRelu
from edgefactor.export.ops.requantize import Requantize
from edgefactor.export.ops.softmax.family import Softmax
from edgefactor.export.reference import run_reference
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.targets.catalogue import load_target
from tests.export.ops.every_runtime import (
    CODES,
    activation,
    graph_of,
    held,
    quantization,
    write_sources,
)
from tests.tools import require_tool

#: One with neither long multiply nor saturation, one with the long multiply, two with DSP.
TARGETS = ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m33"]
PAIRS = tuple(grid.reshape(1, 256, 256, 1) for grid in np.meshgrid(CODES, CODES, indexing="ij"))


def everything():
    a, b = quantization(0.02378476969897747, 61), quantization(0.0068000308237969875, 3)
    slopes = np.array([-128, -60, 0, 127], np.int8).reshape(1, 1, 4)
    tensors = [
        activation("a", PAIRS[0].shape, a),
        activation("b", PAIRS[0].shape, b),
        activation("x", (1, 8, 8, 4), a),
        activation("row", (1, 1, 1, 4), b),
        activation("odds", (1, 3, 1, 7), b),
        activation("column", (1, 3, 1, 1), b),
        held("slopes", slopes, quantization(0.01, 3)),
        activation("logits", (6, 12), quantization(0.11, 4)),
        activation("scores", (30, 20), quantization(0.09, 4)),
    ]
    both = ("a", "b")
    cases = [
        (Add(name="sum", inputs=both, outputs=("sum",)), quantization(0.025, -7)),
        (
            # No linear form fits these scales.
            Add(name="rescaled", inputs=both, outputs=("rescaled",)),
            quantization(0.018602000549435616, -99),
        ),
        (
            Sub(name="clamped", inputs=both, outputs=("clamped",), activation="relu"),
            quantization(0.02, 9),
        ),
        (Mul(name="product", inputs=both, outputs=("product",)), quantization(0.013, 9)),
        (Mul(name="odd", inputs=("b", "b"), outputs=("odd",)), quantization(0.00371, -128)),
        (Mul(name="gated", inputs=("x", "row"), outputs=("gated",)), quantization(0.01, 9)),
        (Mul(name="wide", inputs=("x", "row"), outputs=("wide",)), quantization(1e-5, 9)),
        # Fours and a rest, with either operand repeated.
        (
            Mul(name="repeated", inputs=("odds", "column"), outputs=("repeated",)),
            quantization(0.01, 9),
        ),
        (
            Mul(name="first", inputs=("column", "odds"), outputs=("first",)),
            quantization(0.01, 9),
        ),
        (Add(name="shifted", inputs=("row", "x"), outputs=("shifted",)), quantization(0.02, 9)),
        (
            Lookup(name="gate", inputs=("x",), outputs=("gate",), function="sigmoid"),
            quantization(1.0, 0),
        ),
        (
            Lookup(name="linear", inputs=("x",), outputs=("linear",), function="relu"),
            quantization(0.015, -128),
        ),
        (Requantize(name="again", inputs=("x",), outputs=("again",)), quantization(0.011, 40)),
        (PRelu(name="prelu", inputs=("x", "slopes"), outputs=("prelu",)), quantization(0.02, 1)),
        (Softmax(name="soft", inputs=("logits",), outputs=("soft",)), quantization(1.0, 0)),
        (Softmax(name="table", inputs=("scores",), outputs=("table",)), quantization(1.0, 0)),
        (
            Softmax(name="logs", inputs=("logits",), outputs=("logs",), log=True),
            quantization(1.0, 0),
        ),
    ]
    return graph_of(cases, tensors)


@pytest.mark.parametrize("name", TARGETS)
def test_exact_on_the_board(name: str, tmp_path: Path) -> None:
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    graph = everything()
    generator = np.random.default_rng(9)
    inputs = {
        "a": PAIRS[0],
        "b": PAIRS[1],
        "x": CODES.reshape(1, 8, 8, 4),
        "row": generator.integers(-128, 128, (1, 1, 1, 4)).astype(np.int8),
        "odds": generator.integers(-128, 128, (1, 3, 1, 7)).astype(np.int8),
        "column": generator.integers(-128, 128, (1, 3, 1, 1)).astype(np.int8),
        "logits": generator.normal(0, 20, (6, 12)).astype(np.int8),
        "scores": generator.normal(0, 20, (30, 20)).astype(np.int8),
    }
    expected = run_reference(graph, inputs)
    flat = np.concatenate([inputs[port.tensor].reshape(-1) for port in graph.inputs])[None]
    folder = write_sources(graph, tmp_path, CTarget())
    names = [op.outputs[0] for op in graph.ops]
    with EmulatedRunner(folder, load_target(name)) as runner:
        found = runner.run(flat, names)
    for tensor in names:
        np.testing.assert_array_equal(found[tensor][0], expected[tensor].reshape(-1), tensor)
