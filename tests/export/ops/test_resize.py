"""Nearest upsampling by whole factors."""

import numpy as np
import pytest

from edgefactor.export.ops.family import Node
from edgefactor.export.ops.resize import ResizeNearest, source_indices
from tests.export.ops.oracles import activation, check, graph_of

FACTORS = [(1, 1), (2, 2), (1, 3), (3, 1), (5, 7), (6, 10), (11, 13)]
#: Sizes at which float32 scales such as 1/3 could pick the wrong neighbour.
SHAPES = [(1, 1, 1, 1), (1, 5, 4, 3), (1, 1, 97, 2), (1, 41, 3, 1)]


@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("shape", SHAPES)
def test_resize(shape, factors):
    op = ResizeNearest(name="y", inputs=("x",), outputs=("y",), factors=factors)
    check(graph_of(op, [activation(shape)]))


@pytest.mark.parametrize("factor", range(1, 20))
def test_asymmetric_floor_repeats_elements(factor):
    attributes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    node = Node(op_type="Resize", name="r", inputs=("x",), outputs=("y",), attributes=attributes)
    found = source_indices(node, 50, 50 * factor, float(np.float32(factor)))
    np.testing.assert_array_equal(found, np.arange(50 * factor) // factor)
