"""Factorizations as steps of a recipe: what is replaced, fitted, balanced, refused."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from edgefactor.errors import BudgetError, OptionError
from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.balance import (
    Channels,
    choose_divisors,
    expected_error,
    reading_weights,
    scale_between,
)
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.layer_cost import cost_of_layer, target_of
from edgefactor.pipeline.compress.method import parse_options
from edgefactor.pipeline.compress.refit import refit_last
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.inputs.data import Dataset

IMAGES = np.random.default_rng(0).standard_normal((96, 8, 12, 12)).astype(np.float32)
INPUTS = (torch.from_numpy(IMAGES),)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The products are small: threads only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(8, 24, 3, padding=1), nn.ReLU(),
        nn.Conv2d(24, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 96, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96 * 4, 10),
    ).eval()  # fmt: skip


def context(*, data=True) -> Context:
    train = Dataset(inputs=(IMAGES,)) if data else None
    return Context(trainer=TorchTrainer(), train=train)


def apply(model, method, layers, where=None, **values):
    options = parse_options(BY_NAME[method].options, values, where="step 1")
    result = BY_NAME[method].apply(model, layers, options, where or context())
    model.eval()
    return result


def change(model) -> float:
    with torch.no_grad():
        wanted = network()(INPUTS[0])
        return float(((model(INPUTS[0]) - wanted) ** 2).sum() / (wanted**2).sum())


#: Method, layers, options; at full rank, or with as many windows as there are taps.
EXACT = {
    "svd": ("svd", ["4", "8"], {"rank": {"4": 32, "8": 10}}),
    "tucker": ("tucker", ["0", "2"], {"rank": {"0": 24, "2": 32}, "rank_in": {"0": 8, "2": 24}}),
    "spatial": ("spatial", ["0", "2"], {"rank": {"0": 24, "2": 72}}),
    "depthwise": ("depthwise", ["0", "2"], {"multiplier": 9}),
    "dictionary": ("dictionary", ["4"], {"atoms": 32, "nonzeros": 32}),
    "energy": ("svd", ["8"], {"energy": 1.0}),
}


@pytest.mark.parametrize("data", [True, False], ids=["data", "no data"])
@pytest.mark.parametrize("case", EXACT.values(), ids=EXACT.keys())
def test_full_size_keeps_the_network_through_refit_and_balance(case, data):
    method, layers, values = case
    model = network()
    result = apply(model, method, layers, context(data=data), must_save="nothing", **values)
    assert set(result.layers) == set(layers)
    assert all(isinstance(model.get_submodule(name), nn.Sequential) for name in layers)
    assert change(model) < 1e-6


@pytest.mark.parametrize(
    ("method", "layers", "values"),
    [
        ("svd", ["4", "8"], {"rank": 0.3}),
        ("tucker", ["0", "2"], {"rank": 0.4}),
        ("cp", ["0", "2"], {"rank": 16}),
        ("spatial", ["0", "2"], {"rank": 0.25}),
        ("depthwise", ["0", "2"], {}),
        ("grouped", ["0", "2"], {"groups": 4}),
        ("shift", ["0", "2"], {}),
    ],
)
def test_inputs_make_the_output_better(method, layers, values):
    fitted, plain = network(), network()
    result = apply(fitted, method, layers, must_save="nothing", **values)
    apply(plain, method, layers, must_save="nothing", refit=False, **values)
    assert change(fitted) < change(plain)
    for facts in result.layers.values():
        assert facts["output_error"] <= facts["output_error_unfitted"] + 1e-9


def test_same_inputs_same_result():
    models = [network(), network()]
    for model in models:
        apply(model, "tucker", ["0", "2"], rank=0.4)
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_sensitivity_keeps_the_budget_and_beats_equal_ranks():
    model = network()
    result = apply(model, "tucker", ["0", "2"], choose="sensitivity", budget=0.5)
    whole = 144 * 8 * 24 * 9 + 36 * 24 * 32 * 9
    saved = result.figures["multiplies"]
    assert whole - saved[0] + saved[1] <= 0.5 * whole
    with pytest.raises(BudgetError):
        apply(network(), "tucker", ["0", "2"], choose="sensitivity", budget=0.001)


def test_layers_that_a_budget_leaves_whole_are_named():
    result = apply(network(), "tucker", ["0", "2"], choose="sensitivity", budget=0.8)
    assert list(result.layers) == ["0"]
    assert len(result.notes) == 1 and result.notes[0].startswith("2 stays: the budget")


def test_what_does_not_pay_stays_with_the_figures():
    model = network()
    result = apply(model, "svd", ["4"], rank=32)
    assert isinstance(model[4], nn.Conv2d)
    assert result.layers == {}
    assert "4 stays" in result.notes[0] and "instructions" in result.notes[0]
    assert change(model) == 0


#: Method, layers, options, words of the error.
REFUSED = {
    "a rank larger than the layer": ("svd", ["4"], {"rank": 33}, "larger than the layer"),
    "more atoms than outputs": ("dictionary", ["4"], {"atoms": 97}, "does not fit"),
    "too many windows": ("depthwise", ["0"], {"multiplier": 10}, "does not fit"),
    "groups that do not divide": ("grouped", ["0"], {"groups": 3}, "No layer of the step"),
    "no layer it can do": ("svd", ["0"], {}, "No layer of the step"),
}


@pytest.mark.parametrize(
    ("method", "layers", "values", "words"), REFUSED.values(), ids=REFUSED.keys()
)
def test_refusals(method, layers, values, words):
    with pytest.raises(OptionError, match=words):
        apply(network(), method, layers, **values)


def test_kernels_of_all_inputs_one_by_one_are_refused_with_the_figures():
    with pytest.raises(OptionError, match="No layer of the step") as caught:
        apply(network(), "spatial", ["0"], kernels="each", must_save="nothing")
    assert "would need 192 maps" in caught.value.found
    assert "1,152 weights at rank 1 where the layer has 1,728" in caught.value.found


def test_groups_leave_out_layers_that_they_do_not_divide():
    result = apply(network(), "grouped", ["0", "4"], groups=32, must_save="nothing")
    assert set(result.layers) == {"4"}
    assert "do not divide 8 and 24" in result.notes[0]


def test_dictionary_codes_stay_sparse_while_the_model_trains():
    model = network()
    result = apply(model, "dictionary", ["4"], must_save="nothing", nonzeros=3)
    codes = model[4][1]
    zeros = codes.weight.detach() == 0
    assert result.layers["4"]["nonzeros"] <= 96 * 3
    torch.optim.SGD(model.parameters(), lr=0.1).zero_grad()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(INPUTS[0][:8]).square().mean().backward()
    optimizer.step()
    assert torch.all(codes.weight.detach()[zeros] == 0)
    assert torch.any(codes.weight.detach()[~zeros] != 0)


@pytest.mark.parametrize("groups", [1, 4])
def test_refit_is_the_least_squares_solution(groups):
    """Against NumPy, on a layer whose every position is looked at."""
    torch.manual_seed(2)
    original = nn.Sequential(nn.Conv2d(12, 8, 1))
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(12, 8, 1, bias=False), nn.Conv2d(8, 8, 1, groups=groups))
    )
    x = torch.randn(32, 12, 6, 6)
    found = refit_last(original, model, "0", (x,), torch.Generator().manual_seed(0))
    with torch.no_grad():
        middle = model[0][0](x).permute(0, 2, 3, 1).reshape(-1, 8).numpy()
        wanted = original(x).permute(0, 2, 3, 1).reshape(-1, 8).numpy()
        now = model(x).permute(0, 2, 3, 1).reshape(-1, 8).numpy()
    best = np.empty_like(wanted)
    for part in np.split(np.arange(8), groups):
        rows = np.concatenate([middle[:, part], np.ones((len(middle), 1))], axis=1)
        best[:, part] = rows @ np.linalg.lstsq(rows, wanted[:, part], rcond=None)[0]
    least = ((best - wanted) ** 2).sum() / (wanted**2).sum()
    assert ((now - wanted) ** 2).sum() / (wanted**2).sum() == pytest.approx(least, rel=1e-3)
    assert found.after == pytest.approx(least, rel=1e-3)
    assert found.after <= found.before


def quantized_error(first, second, x) -> float:
    """What int8 does to two layers: weights per output channel, the map between per tensor."""

    def round_rows(weight):
        step = weight.flatten(1).abs().amax(1).reshape(-1, 1, 1, 1) / 127
        return torch.round(weight / step) * step

    first, second = copy.deepcopy(first), copy.deepcopy(second)
    with torch.no_grad():
        wanted = second(first(x))
        first.weight.copy_(round_rows(first.weight))
        second.weight.copy_(round_rows(second.weight))
        middle = first(x)
        step = (middle.max() - middle.min()) / 255
        return float((second(torch.round(middle / step) * step) - wanted).square().mean())


@pytest.mark.parametrize("groups", [1, 16])
@pytest.mark.parametrize("seed", range(3))
def test_balance_keeps_the_product_and_lowers_the_error_of_int8(groups, seed):
    torch.manual_seed(seed)
    first = nn.Conv2d(8, 16, 1)
    second = nn.Conv2d(16, 16, 3, padding=1, groups=groups, bias=False)
    with torch.no_grad():
        # Factors as an SVD may leave them: sizes far apart.
        sizes = torch.logspace(1, -1.5, 16)
        first.weight.mul_(sizes.reshape(-1, 1, 1, 1))
        first.bias.mul_(sizes)
    x = torch.randn(64, 8, 6, 6)
    with torch.no_grad():
        wanted = second(first(x))
        rows = first(x).permute(0, 2, 3, 1).reshape(-1, 16)
    channels = Channels(
        low=rows.amin(0).clamp(max=0), high=rows.amax(0).clamp(min=0), power=rows.pow(2).mean(0)
    )
    weights = reading_weights(second, 16)
    divisor = choose_divisors(channels, weights)
    before = quantized_error(first, second, x)
    assert expected_error(channels, weights, divisor) < expected_error(
        channels, weights, torch.ones(16)
    )
    scale_between(first, second, divisor)
    torch.testing.assert_close(second(first(x)), wanted, rtol=1e-4, atol=1e-4)
    assert quantized_error(first, second, x) < before


def test_cost_follows_the_kernels_that_an_export_would_choose():
    layer = nn.Conv2d(16, 32, 3, padding=1)
    m4, m0 = (
        cost_of_layer(layer, (1, 16, 8, 8), target_of(name))
        for name in ("cortex-m4", "cortex-m0plus")
    )
    assert m4.multiplies == m0.multiplies == 64 * 32 * 144
    assert m4.parameters == 4608
    assert m4.instructions < m0.instructions
    assert m4.flash_bytes >= 4608
    pair = nn.Sequential(nn.Conv2d(16, 4, 1), nn.Conv2d(4, 32, 3, stride=2, padding=1))
    total = cost_of_layer(pair, (1, 16, 8, 8), target_of("cortex-m4"))
    assert total.multiplies == 64 * 64 + 16 * 32 * 36
