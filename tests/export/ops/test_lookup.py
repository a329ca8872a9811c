"""Functions of one tensor: all 256 codes, many scales, in every runtime; and the real function."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.ops.lookup import FUNCTIONS, Lookup
from tests.export.ops.every_runtime import (
    CODES,
    activation,
    check_everywhere,
    graph_of,
    last_only,
    near,
    quantization,
    random_quantization,
)

SHAPE = (1, 8, 8, 4)
FIELDS = {
    "clip": {"low": -0.7, "high": 1.3},
    "leaky_relu": {"alpha": 0.1},
    "hard_sigmoid": {"alpha": 1 / 6, "beta": 0.5},
}
REAL = {
    "relu": lambda x: np.maximum(x, 0),
    "clip": lambda x: np.clip(x, -0.7, 1.3),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.1 * x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "abs": np.abs,
    "neg": np.negative,
}


def lookup(function: str, name: str = "y", source: str = "x", **fields: float | None) -> Lookup:
    return Lookup(
        name=name,
        inputs=(source,),
        outputs=(name,),
        function=function,
        **(fields or FIELDS.get(function, {})),
    )


@pytest.mark.parametrize("seed", range(2))
def test_every_function_at_many_scales(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    tensors, cases, inputs = [], [], {}
    for number in range(6):
        x = random_quantization(generator)
        tensors.append(activation(f"x{number}", SHAPE, x))
        inputs[f"x{number}"] = CODES.reshape(SHAPE)
        for function in FUNCTIONS:
            op = lookup(function, f"{function}{number}", f"x{number}")
            cases.append((op, near(x, generator)))
    graph = graph_of(cases, tensors)
    results = check_everywhere(graph, inputs, tmp_path)
    for op in graph.ops:
        x, output = graph.tensors[op.inputs[0]].quant, graph.tensors[op.outputs[0]].quant
        real = REAL[op.function]((CODES.astype(np.float64) - x.zero_point) * x.scale)
        codes = np.clip(np.rint(real / output.scale) + output.zero_point, -128, 127)
        # One code for the rounding of an intermediate result.
        assert np.abs(results[op.outputs[0]].reshape(-1) - codes).max() <= 1, op


#: Scales at which the runtimes' own LOGISTIC, TANH or HARD_SWISH disagree, found by search.
DISAGREEMENTS = [
    ("hard_swish", quantization(0.07932109385728836, -118), quantization(0.31356197595596313, 5)),
    ("hard_swish", quantization(0.25, 120), quantization(0.0018, -120)),
    ("sigmoid", quantization(0.004251239355653524, 122), quantization(1.0, 0)),
    ("silu", quantization(0.021712228655815125, -106), quantization(0.02, 1)),
    ("tanh", quantization(0.0181938037276268, 24), quantization(1.0, 0)),
]


def test_scales_at_which_runtimes_disagree(tmp_path: Path) -> None:
    tensors, cases, inputs = [], [], {}
    for number, (function, x, output) in enumerate(DISAGREEMENTS):
        tensors.append(activation(f"x{number}", SHAPE, x))
        inputs[f"x{number}"] = CODES.reshape(SHAPE)
        cases.append((lookup(function, f"y{number}", f"x{number}"), output))
    check_everywhere(graph_of(cases, tensors), inputs, tmp_path)


@pytest.mark.parametrize(
    ("fields", "output", "kernel"),
    [
        ({"low": 0.0, "high": 6.0}, quantization(6 / 255, -128), "ef_linear_s8"),
        ({"low": 0.0, "high": None}, quantization(6 / 255, -128), "ef_linear_s8"),
        ({"low": None, "high": 1.0}, quantization(6 / 255, 0), "ef_lookup_s8"),
        ({"low": 0.5, "high": 6.0}, quantization(6 / 255, -128), "ef_lookup_s8"),
    ],
)
def test_clips(fields, output, kernel, tmp_path: Path) -> None:
    op = lookup("clip", **fields)
    graph = graph_of([(op, output)], [activation("x", SHAPE, quantization(0.05, 3))])
    code = ops.family_of(op).layer_code(op, graph, CTarget())
    assert [call.function for call in code.calls] == [kernel]
    check_everywhere(graph, {"x": CODES.reshape(SHAPE)}, tmp_path)


def test_speed_takes_the_table() -> None:
    op = lookup("relu")
    graph = graph_of(
        [(op, quantization(0.05, -128))], [activation("x", SHAPE, quantization(0.05, 3))]
    )
    code = ops.family_of(op).layer_code(op, graph, CTarget(optimize="speed"))
    assert [call.function for call in code.calls] == ["ef_lookup_s8"]
    assert [array.data.size for array in code.arrays] == [256]


def test_a_chain_in_place(tmp_path: Path) -> None:
    cases = [
        (lookup("silu", "a", "x"), quantization(0.03, -100)),
        (lookup("relu", "b", "a"), quantization(0.03, -128)),
        (lookup("sigmoid", "c", "b"), quantization(0.03, -100)),
    ]
    graph = last_only(graph_of(cases, [activation("x", SHAPE, quantization(0.05, 3))]))
    check_everywhere(graph, {"x": CODES.reshape(SHAPE)}, tmp_path)
