"""ReduceSum as a convolution with ones: every choice of axes."""

import itertools

import numpy as np
import pytest

from edgefactor.errors import UnsupportedOperatorError
from tests.export.ops.lowering import check_lowering, kinds, parse

SHAPES = ["1,3,4,5", "1,7,6", "1,5"]
CASES = [
    (shape, axes)
    for shape in SHAPES
    for count in (1, 2, 3)
    for axes in itertools.combinations(range(shape.count(",") + 1), count)
]


@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_axes(shape: str, axes: tuple[int, ...]) -> None:
    listed = f"a = Constant <value_ints = {list(axes)}> ()"
    keep = int(0 in axes or sum(axes) % 2)
    body = f"{listed} y = ReduceSum <keepdims = {keep}> (x, a)"
    sizes = [int(size) for size in shape.split(",")]
    graph = check_lowering(parse(f"float[{shape}] x", body))
    moved = any(sizes[axis] != 1 for axis in axes)
    assert ("Conv2D" in kinds(graph)) == moved


def test_over_a_map_stored_channels_last() -> None:
    body = (
        "p = MaxPool <kernel_shape = [2, 2]> (x) a = Constant <value_ints = [2, 3]> () "
        "y = ReduceSum (p, a)"
    )
    graph = check_lowering(parse("float[1,4,6,5] x", body))
    assert kinds(graph) == ["MaxPool2D", "Conv2D"]
    (weights,) = (t for t in graph.tensors.values() if t.name.endswith("weight"))
    np.testing.assert_array_equal(weights.values, np.ones((4, 5, 4, 1)))


def test_computed_axes_are_refused() -> None:
    model = parse("float[2,3] x, int64[1] a", "y = ReduceSum (x, a)")
    with pytest.raises(UnsupportedOperatorError, match="axes are computed"):
        check_lowering(model)
