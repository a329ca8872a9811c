"""Operations by formula: the lectures' numbers, and what modules really hold and do."""

import numpy as np
import pytest
import torch
from torch import nn

from edgefactor.pipeline.compress import accounting_ops as ops
from edgefactor.pipeline.compress.cp import Canonical
from edgefactor.pipeline.compress.spatial import Spatial
from edgefactor.pipeline.compress.tucker import Tucker
from edgefactor.pipeline.inspect import inspect_loaded
from edgefactor.pipeline.load import LoadedModel

SLIDE = ops.ConvShape(pixels=(5, 5), kernel=(3, 3), inputs=3, outputs=128)


def test_the_slide_of_depthwise_separable_convolutions():
    assert ops.convolution(SLIDE).multiplies == 86_400
    assert ops.depthwise_separable(SLIDE).multiplies == 10_275


def test_depthwise_separable_costs_one_over_outputs_plus_one_over_window():
    ratio = ops.depthwise_separable(SLIDE).multiplies / ops.convolution(SLIDE).multiplies
    assert ratio == pytest.approx(1 / 128 + 1 / 9)


def test_a_separable_kernel_has_six_weights_for_nine():
    one = ops.ConvShape(pixels=(1, 1), kernel=(3, 3), inputs=1, outputs=1)
    assert ops.convolution(one) == ops.Operations(parameters=9, multiplies=9, additions=8)
    # Two additions for the column, two for the row.
    assert ops.separable_kernels(one) == ops.Operations(parameters=6, multiplies=6, additions=4)


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_groups_divide_the_cost(groups):
    shape = ops.ConvShape(pixels=(7, 9), kernel=(3, 3), inputs=16, outputs=32)
    whole, part = ops.convolution(shape), ops.convolution(shape, groups=groups)
    assert part.parameters * groups == whole.parameters
    assert part.multiplies * groups == whole.multiplies


def test_additions_are_one_less_than_the_products_of_each_sum():
    assert ops.dense(300, 100) == ops.Operations(
        parameters=30_000, multiplies=30_000, additions=29_900
    )


def test_a_shift_costs_what_its_1x1_layer_does():
    shape = ops.ConvShape(pixels=(8, 8), kernel=(3, 3), inputs=16, outputs=32)
    assert ops.shifted(shape).parameters == 16 * 32
    assert ops.shifted(shape).multiplies * 9 == ops.convolution(shape).multiplies
    assert ops.shifted(shape, taps=2).parameters == 2 * 16 * 32


#: Method, ranks, formula.
FACTORS = {
    "tucker": (Tucker(), (6, 5), lambda s: ops.tucker(s, ranks=(6, 5))),
    "cp": (Canonical(), (7,), lambda s: ops.canonical(s, rank=7)),
    "spatial": (Spatial(), (9,), lambda s: ops.spatially_separable(s, rank=9)),
}


@pytest.mark.parametrize("case", FACTORS.values(), ids=FACTORS.keys())
def test_modules_hold_and_multiply_what_the_formula_says(case):
    method, ranks, formula = case
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 12, 3, padding=1)
    factors = method.build(layer, ranks, None)
    expected = formula(ops.ConvShape(pixels=(10, 10), kernel=(3, 3), inputs=8, outputs=12))
    weights = sum(part.weight.numel() for part in factors)
    assert weights == expected.parameters
    loaded = LoadedModel(kind="module", program=factors.eval())
    assert inspect_loaded(loaded, (torch.zeros(1, 8, 10, 10),)).macs == expected.multiplies


def test_alexnet_in_two_groups_by_hand():
    second = ops.ConvShape(pixels=(27, 27), kernel=(5, 5), inputs=96, outputs=256)
    assert ops.convolution(second, groups=2).parameters == 256 * 48 * 25
    assert np.isclose(ops.convolution(second, groups=2).multiplies, 223_948_800)
