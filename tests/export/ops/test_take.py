"""Chosen elements along an axis: gathers, mirrored slices, repeats, edges that repeat."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.ops.take import Take
from edgefactor.pipeline.lower import lower
from tests.export.ops.every_runtime import activation, check_everywhere, graph_of, quantization
from tests.export.ops.lowering import check_lowering, kinds, parse

SCALE = quantization(0.05, -3)
#: Shape, axis, indices.
CASES = [
    ((1, 3, 4, 5), 3, (4, 0, 0, 2)),
    ((1, 3, 4, 5), 2, (3, 2, 1, 0)),
    ((1, 3, 4, 5), 1, (1,)),
    ((1, 3, 4, 5), 0, (0, 0)),
    ((1, 7), 1, (6, 6, 0)),
    ((2, 3, 2, 2, 2), 1, (2, 0)),
    ((1, 300, 2), 1, (299, 7, 256, 255)),
    ((5,), 0, (3, 1)),
]


def test_all_axes_everywhere(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    tensors, cases, inputs = [], [], {}
    for number, (shape, axis, indices) in enumerate(CASES):
        x, y = f"x{number}", f"y{number}"
        tensors.append(activation(x, shape, SCALE))
        inputs[x] = generator.integers(-128, 128, shape).astype(np.int8)
        op = Take(name=y, inputs=(x,), outputs=(y,), axis=axis, indices=indices)
        cases.append((op, SCALE))
    check_everywhere(graph_of(cases, tensors), inputs, tmp_path)


def ints(name: str, *values: int) -> str:
    return f"{name} = Constant <value_ints = {list(values)}> ()"


LAST = "p = MaxPool <kernel_shape = [1, 1]> (x)"
MIRROR = f"{ints('s', -1)} {ints('e', -100)} {ints('a', 2)} {ints('t', -2)}"
#: Inputs, body, operators that are left.
LOWERINGS = {
    "scattered": ("float[1,4,8,8] x", f"{ints('i', 0, 3, 1)} y = Gather <axis = 1> (x, i)", "Take"),
    "scattered channels": (
        "float[1,4,8,6] x",
        f"{LAST} {ints('i', 0, 3, 1)} y = Gather <axis = 1> (p, i)",
        "MaxPool2D Take",
    ),
    "mirrored, by two": ("float[1,4,7,6] x", f"{MIRROR} y = Slice (x, s, e, a, t)", "Take"),
    "mirrored and cut": (
        "float[1,4,7,6] x",
        f"{ints('s', 1, -1)} {ints('e', 3, -100)} {ints('a', 1, 2)} {ints('t', 1, -1)} "
        "y = Slice (x, s, e, a, t)",
        "Slice Take",
    ),
    "expand": ("float[1,4,1,3] x", f"{ints('s', 1, 4, 5, 3)} y = Expand (x, s)", "Take"),
    "expand channels last": (
        "float[1,4,1,3] x",
        f"{LAST} {ints('s', 1, 4, 5, 3)} y = Expand (p, s)",
        "MaxPool2D Take",
    ),
    "expand with new axes": (
        "float[3,1] x",
        f"{ints('s', 1, 2, 3, 4)} y = Expand (x, s)",
        "Reshape Take Take",
    ),
    "tile": ("float[1,2,3] x", f"{ints('r', 1, 2, 3)} y = Tile (x, r)", "Take Take"),
    "reflect": (
        "float[1,2,4,3] x",
        f'{ints("a", 0, 0, 2, 1, 0, 0, 1, 0)} y = Pad <mode = "reflect"> (x, a)',
        "Take Take",
    ),
    "edge, channels last": (
        "float[1,2,4,3] x",
        f'{LAST} {ints("a", 0, 0, 2, 1, 0, 0, -1, 0)} y = Pad <mode = "edge"> (p, a)',
        "MaxPool2D Take Take",
    ),
}


@pytest.mark.parametrize("case", LOWERINGS.values(), ids=LOWERINGS.keys())
def test_lowering(case: tuple[str, str, str]) -> None:
    inputs, body, expected = case
    assert kinds(check_lowering(parse(inputs, body))) == expected.split()


def test_indices_of_two_axes() -> None:
    model = parse("float[1,5,4] x", f"{ints('i', 0, 3, 1, 2, 2, 4)} y = Gather <axis = 1> (x, i)")
    (held,) = model.graph.initializer
    held.dims[:] = [2, 3]
    del model.graph.value_info[:], model.graph.output[0].type.tensor_type.shape.dim[:]
    for size in (1, 2, 3, 4):
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = size
    assert kinds(check_lowering(model)) == ["Take", "Reshape"]


#: Inputs, body, words of the message.
UNSUPPORTED = {
    "computed repeats": ("float[1,2] x, int64[2] r", "y = Tile (x, r)", "repeats are computed"),
    "a long axis": (
        "float[1,65537] x",
        f"{ints('i', 5, 3)} y = Gather <axis = 1> (x, i)",
        "chooses among 65537",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_what_cannot_be_done_is_refused(case: tuple[str, str, str]) -> None:
    inputs, body, words = case
    model = parse(inputs, body)
    if not model.graph.output[0].type.tensor_type.shape.dim:
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1
    for dim in model.graph.output[0].type.tensor_type.shape.dim:
        dim.dim_value = dim.dim_value or 2
    with pytest.raises(UnsupportedOperatorError, match=words) as caught:
        lower(model, name="net")
    assert caught.value.hint
