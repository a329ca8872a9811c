"""Bilinear resizing: all runtimes alike, and within its rounding of ONNX Runtime."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.ir import Graph
from edgefactor.export.ops.resize_bilinear import ResizeBilinear, positions
from edgefactor.export.reference import run_reference
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.pipeline.lower import lower
from tests.export.ops.every_runtime import activation, check_everywhere, graph_of, quantization
from tests.export.ops.lowering import check_lowering, kinds, parse
from tests.export.ops.oracles import run_litert, run_tflm

SCALE = quantization(0.05, -3)
FLAGS = [(False, False), (True, False), (False, True)]
#: Shape of the map, rows and columns of the result.
CASES = [
    ((1, 3, 5, 4), (6, 10)),
    ((1, 3, 5, 3), (7, 3)),
    ((1, 8, 8, 1), (4, 4)),
    ((1, 9, 7, 2), (4, 13)),
    ((1, 1, 6, 5), (1, 12)),
    ((1, 1, 1, 3), (4, 5)),
    ((1, 5, 6, 2), (1, 1)),
    ((1, 2, 2, 8), (2, 2)),
    ((1, 17, 3, 1), (33, 96)),
]


def resize(name: str, x: str, size: tuple[int, int], flags: tuple[bool, bool]) -> ResizeBilinear:
    return ResizeBilinear(
        name=name,
        inputs=(x,),
        outputs=(name,),
        size=size,
        align_corners=flags[0],
        half_pixel=flags[1],
    )


def test_everywhere(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    tensors, cases, inputs = [], [], {}
    for number, (shape, size) in enumerate(CASES):
        x = f"x{number}"
        tensors.append(activation(x, shape, SCALE))
        inputs[x] = generator.integers(-128, 128, shape).astype(np.int8)
        for flags in FLAGS:
            cases.append((resize(f"y{len(cases)}", x, size, flags), SCALE))
    check_everywhere(graph_of(cases, tensors), inputs, tmp_path)


def single(shape: tuple[int, ...], size: tuple[int, int], flags: tuple[bool, bool]) -> Graph:
    return graph_of([(resize("y", "x", size, flags), SCALE)], [activation("x", shape, SCALE)])


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from(FLAGS),
    st.integers(0, 2**16),
)
def test_any_size(
    shape: tuple[int, int, int], size: tuple[int, int], flags: tuple[bool, bool], seed: int
) -> None:
    graph = single((1, *shape), size, flags)
    (op,) = graph.ops
    assert isinstance(op, ResizeBilinear)
    if any((positions(op, n, new) >= 1024 * n).any() for n, new in zip(shape, size, strict=False)):
        return
    x = np.random.default_rng(seed).integers(-128, 128, (1, *shape)).astype(np.int8)
    expected = run_reference(graph, {"x": x})["y"]
    file = write_tflite(graph)
    np.testing.assert_array_equal(run_litert(file, {"x": x}), expected)
    np.testing.assert_array_equal(run_tflm(file, [x]), expected)


def scaled(*scales: float, **attributes: str) -> str:
    names = "".join(f', {key} = "{value}"' for key, value in attributes.items())
    return (
        f"s = Constant <value_floats = {list(scales)}> () "
        f'y = Resize <mode = "linear"{names}> (x, , s)'
    )


def sized(*sizes: int, mode: str) -> str:
    return (
        f"s = Constant <value_ints = {list(sizes)}> () "
        f'y = Resize <mode = "linear", coordinate_transformation_mode = "{mode}"> (x, , , s)'
    )


#: Inputs, body, flags.
LOWERINGS = {
    "by 2": ("float[1,4,5,6] x", scaled(1.0, 1.0, 2.0, 2.0), (False, True)),
    "PyTorch's": (
        "float[1,4,5,6] x",
        sized(1, 4, 10, 9, mode="pytorch_half_pixel"),
        (False, True),
    ),
    "align corners": ("float[1,4,5,6] x", sized(1, 4, 9, 11, mode="align_corners"), (True, False)),
    "asymmetric": ("float[1,4,5,6] x", sized(1, 4, 10, 12, mode="asymmetric"), (False, False)),
    "smaller": ("float[1,4,8,6] x", sized(1, 4, 4, 3, mode="half_pixel"), (False, True)),
    "a line": ("float[1,4,6] x", sized(1, 4, 12, mode="half_pixel"), (False, True)),
}


@pytest.mark.parametrize("case", LOWERINGS.values(), ids=LOWERINGS.keys())
def test_lowering(case: tuple[str, str, tuple[bool, bool]]) -> None:
    inputs, body, flags = case
    graph = check_lowering(parse(inputs, body))
    op = next(op for op in graph.ops if isinstance(op, ResizeBilinear))
    assert (op.align_corners, op.half_pixel) == flags
    assert kinds(graph).count("ResizeBilinear") == 1


#: Inputs, body, words of the message.
UNSUPPORTED = {
    "cubic": (
        "float[1,4,8,8] x",
        's = Constant <value_floats = [1.0,1.0,2.0,2.0]> () y = Resize <mode = "cubic"> (x, , s)',
        "mode is cubic",
    ),
    "smoothing": (
        "float[1,4,8] x",
        "s = Constant <value_floats = [1.0,1.0,0.5]> () "
        'y = Resize <mode = "linear", antialias = 1> (x, , s)',
        "smoothes",
    ),
    "a scale that is no quotient": ("float[1,4,4,4] x", scaled(1.0, 1.0, 0.6, 0.6), "none that"),
    "past the end": (
        "float[1,1,3,4] x",
        sized(1, 1, 124, 4, mode="asymmetric"),
        "leave the map",
    ),
    "channels": ("float[1,4,8,8] x", scaled(1.0, 2.0, 1.0, 1.0), "it resizes"),
}


@pytest.mark.parametrize("case", UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_what_cannot_be_done_is_refused(case: tuple[str, str, str]) -> None:
    inputs, body, words = case
    with pytest.raises(UnsupportedOperatorError, match=words) as caught:
        lower(parse(inputs, body), name="net")
    assert caught.value.hint
