"""Shift convolutions: fixed, and learned by attention until one tap a kernel is left."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.freezing import freeze
from edgefactor.pipeline.compress.method import Need, parse_options
from edgefactor.pipeline.compress.shift import (
    assign_taps,
    equal_groups,
    moves_of,
    shifted_layers,
)
from edgefactor.pipeline.compress.shift_attention import ShiftAttention, attach, harden
from edgefactor.pipeline.compress.shift_map import ShiftMap
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.inputs.data import Dataset

IMAGES = np.random.default_rng(0).standard_normal((64, 9, 8, 8)).astype(np.float32)
SHIFT = BY_NAME["shift"]


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(9, 20, 3, padding=1), nn.ReLU(),
        nn.Conv2d(20, 12, 3, stride=2, padding=1, bias=False), nn.ReLU(),
        nn.Flatten(), nn.Linear(192, 4),
    ).eval()  # fmt: skip


def apply(model, **values):
    options = parse_options(SHIFT.options, {"must_save": "nothing", **values}, where="step 1")
    context = Context(
        trainer=TorchTrainer(), train=Dataset(inputs=(IMAGES,)), teacher=copy.deepcopy(model)
    )
    return SHIFT.apply(model, ["0", "2"], options, context)


def generator():
    return torch.Generator().manual_seed(0)


def test_map_moves_by_whole_pixels():
    x = torch.randn(2, 3, 5, 6)
    found = ShiftMap(((1, 0), (0, -2), (0, 0)))(x)
    torch.testing.assert_close(found[:, 0], F.pad(x[:, 0, 1:], (0, 0, 0, 1)))
    torch.testing.assert_close(found[:, 1], F.pad(x[:, 1, :, :-2], (2, 0)))
    torch.testing.assert_close(found[:, 2], x[:, 2])


def test_map_has_nothing_to_train():
    assert list(ShiftMap(((0, 1),)).parameters()) == []


@pytest.mark.parametrize("channels", [9, 16, 27, 83])
def test_every_direction_gets_as_many_channels(channels):
    counts = np.bincount(equal_groups(channels, 9), minlength=9)
    assert counts[[0, 1, 2, 3, 5, 6, 7, 8]].tolist() == [channels // 9] * 8
    assert counts.sum() == channels
    energy = np.random.default_rng(0).random((channels, 9))
    counts = np.bincount(assign_taps(energy), minlength=9)
    assert counts.max() <= -(-channels // 9)


def test_assignment_keeps_the_most():
    energy = np.random.default_rng(1).random((18, 9))
    taps = assign_taps(energy)
    kept = energy[np.arange(18), taps].sum()
    swapped = [energy[np.arange(18), np.random.default_rng(s).permutation(taps)].sum()
               for s in range(200)]  # fmt: skip
    assert kept >= max(swapped)


def test_moves_follow_window_and_dilation():
    assert moves_of(np.array([0, 4, 5, 7]), (3, 3), (1, 1)) == ((-1, -1), (0, 0), (0, 1), (1, 0))
    assert moves_of(np.array([0, 8]), (3, 3), (2, 2)) == ((-2, -2), (2, 2))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(6, 5, 3, padding=1),
        nn.Conv2d(6, 5, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(6, 5, 3, padding=2, dilation=2),
        nn.Conv2d(6, 5, (3, 5), padding="same"),
    ],
)
def test_a_convolution_of_one_tap_a_channel_is_a_shift_and_a_1x1_layer(layer):
    taps = np.array([0, 3, 4, 7, 8, 2])
    with torch.no_grad():
        mask = torch.zeros_like(layer.weight).flatten(2)
        mask[:, torch.arange(6), torch.from_numpy(taps)] = 1
        layer.weight.mul_(mask.reshape(layer.weight.shape))
    x = torch.randn(2, 6, 9, 8)
    torch.testing.assert_close(shifted_layers(layer, taps)(x), layer(x))


@pytest.mark.parametrize("order", ["weights", "neighbours"])
def test_fixed_shift_has_one_weight_for_nine(order):
    model = network()
    result = apply(model, order=order)
    for name, inputs, outputs in (("0", 9, 20), ("2", 20, 12)):
        part = model.get_submodule(name)
        assert isinstance(part[0], ShiftMap)
        assert part[1].weight.shape == (outputs, inputs, 1, 1)
        assert result.layers[name]["parameters"] == (inputs * outputs * 9, inputs * outputs)
        assert result.layers[name]["multiplies"][0] == 9 * result.layers[name]["multiplies"][1]
    assert model(torch.from_numpy(IMAGES)).shape == (64, 4)


def test_attention_is_the_softmax_of_the_paper():
    layer = nn.Conv2d(3, 4, 3)
    weight = layer.weight.detach().clone()
    attention = attach(layer, heads=1, shared=False, temperature=7.0, generator=generator())
    a = attention.attention.detach()[0]
    spread = a.std(dim=-1, keepdim=True)
    expected = torch.exp(7 * a / spread)
    expected = (expected / expected.sum(-1, keepdim=True)).reshape(weight.shape)
    torch.testing.assert_close(layer.weight.detach(), weight * expected)


def test_hot_attention_is_the_hardened_one():
    layer = nn.Conv2d(3, 4, 3)
    attention = attach(layer, heads=1, shared=False, temperature=1e4, generator=generator())
    soft = layer.weight.detach().clone()
    harden(layer, attention)
    torch.testing.assert_close(layer.weight.detach(), soft)


#: Kind of taps, taps left of each kernel, whether all outputs look at the same ones.
HARDENED = [("attention", 1, False), ("attention-2", 2, False)]


@pytest.mark.parametrize(("taps", "kept", "shared"), HARDENED)
def test_learned_taps_are_as_many_as_asked_for(taps, kept, shared):
    model = network()
    result = apply(model, taps=taps, training={"epochs": 1, "batch": 32})
    for name in ("0", "2"):
        counts = (model.get_submodule(name).weight != 0).flatten(2).sum(-1)
        assert torch.all(counts == kept)
        total = int(counts.sum())
        assert result.layers[name]["weights"] == (counts.numel() * 9, total)
        assert result.layers[name]["counted_parameters"] == total * 36 / 32
    freeze(model)
    assert isinstance(model[0], nn.Conv2d)
    assert torch.all((model[0].weight != 0).flatten(2).sum(-1) == kept)


def test_shared_taps_become_a_shift():
    model = network()
    apply(model, taps="attention-shared", training={"epochs": 1, "batch": 32})
    assert isinstance(model[0][0], ShiftMap)
    assert isinstance(model[2][1], nn.Conv2d)
    assert model[2][1].stride == (2, 2)


def test_temperature_grows_by_a_constant_factor():
    seen = []

    class Spy(TorchTrainer):
        def fit(self, model, options, context, *, after_step=None, **rest):
            for done in (0, 5, 10):
                after_step(done, 10)
                seen.extend(float(m.temperature) for m in model.modules()
                            if isinstance(m, ShiftAttention))  # fmt: skip
            return ()

    model = network()
    options = parse_options(SHIFT.options, {"taps": "attention"}, where="step 1")
    context = Context(trainer=Spy(), train=Dataset(inputs=(IMAGES,)))
    SHIFT.apply(model, ["0"], options, context)
    np.testing.assert_allclose(seen, [20, (20 * 70) ** 0.5, 70], rtol=1e-5)


def test_83_maps_count_as_in_the_paper():
    """ResNet-20 of 83 feature maps: 3x3 kernels one weight of 36 bits, the rest 32."""
    widths = (83, 166, 332)
    shifted = dense = 0
    channels = widths[0]
    dense += 3 * 83 * 9
    for stage, width in enumerate(widths):
        for block in range(3):
            shifted += channels * width + width * width
            if block == 0 and stage:
                dense += channels * width
            channels = width
    norms = 2 * (83 + 6 * (83 + 166 + 332)) + 2 * (166 + 332)
    dense += 332 * 10 + 10
    assert shifted * 36 / 32 + dense + norms == pytest.approx(981_610, abs=0.5)


def test_needs_and_refusals():
    fixed = parse_options(SHIFT.options, {}, where="step 1")
    learned = parse_options(SHIFT.options, {"taps": "attention"}, where="step 1")
    assert SHIFT.needs(fixed) is Need.NOTHING
    assert SHIFT.needs(learned) is not Need.NOTHING
    assert "no middle" in SHIFT.fits(nn.Conv2d(3, 4, 2, padding=1))
    assert "padding" in SHIFT.fits(nn.Conv2d(3, 4, 3))
    with pytest.raises(OptionError):
        parse_options(SHIFT.options, {"final_temperature": 1.0}, where="step 1")
