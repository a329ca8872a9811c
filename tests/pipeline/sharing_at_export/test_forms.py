"""Forms of a layer's weights: few values up to a factor a channel, and their way into a Graph."""

from __future__ import annotations

import numpy as np
import pytest

from edgefactor.export.encodings.vector_code import MOST_VECTORS
from edgefactor.export.weight_codes import quantize_weights
from edgefactor.pipeline.sharing_at_export.forms import forms_of

SHAPE = (48, 3, 3, 16)


def weights() -> np.ndarray:
    """Channels of very different sizes."""
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.normal(0, 1, (SHAPE[0], 1, 1, 1)))
    return (rng.standard_normal(SHAPE) * sizes).astype(np.float32)


def test_every_form_is_what_it_says() -> None:
    forms = forms_of(weights(), np.ones(SHAPE), depthwise=False)
    texts = [form.text for form in forms]
    assert texts == ["int8", *(f"{n} values" for n in (64, 32, 16, 8, 4, 2)), "vectors of 2"]
    for form in forms[1:]:
        number = int(form.text.split()[-1]) if "vectors" in form.text else 1
        shared = (form.weights / form.scale[:, None]).reshape(-1, number)
        distance = np.abs(shared[:, None] - form.codebook).max(axis=2).min(axis=1)
        assert distance.max() < 1e-5
        count = MOST_VECTORS if number > 1 else int(form.text.split()[0])
        assert len(form.codebook) <= count
        off = form.weights - weights().reshape(SHAPE[0], -1)
        assert form.error == pytest.approx((off**2).sum(), rel=1e-6)


def test_fewer_values_err_more() -> None:
    errors = [form.error for form in forms_of(weights(), np.ones(SHAPE), depthwise=True)]
    assert errors == sorted(errors)


def test_two_values_are_near_a_sign_and_a_size_for_each_channel() -> None:
    w = weights()
    found = next(f for f in forms_of(w, np.ones(SHAPE), depthwise=True) if f.text == "2 values")
    rows = w.reshape(SHAPE[0], -1).astype(np.float64)
    sizes = np.abs(rows).mean(axis=1, keepdims=True)
    best = ((rows - np.sign(rows) * sizes) ** 2).sum()
    assert found.error < 1.02 * best


def test_errors_count_as_their_inputs_say() -> None:
    cost = np.ones(SHAPE)
    cost[..., :4] = 100.0
    plain, weighed = (
        next(f for f in forms_of(weights(), c, depthwise=True) if f.text == "8 values")
        for c in (np.ones(SHAPE), cost)
    )
    off = [(f.weights.reshape(SHAPE) - weights())[..., :4] for f in (plain, weighed)]
    assert (off[1] ** 2).sum() < 0.95 * (off[0] ** 2).sum()


def test_values_stay_as_few_as_int8_codes() -> None:
    for form in forms_of(weights(), np.ones(SHAPE), depthwise=False)[1:]:
        codes, scales = quantize_weights(
            form.weights.astype(np.float32).reshape(SHAPE),
            np.zeros(SHAPE[0], np.float32),
            tuple(form.scale),
            0.1,
            1.0,
        )
        width = form.codebook.shape[1]
        assert len(np.unique(codes.reshape(-1, width), axis=0)) <= len(form.codebook)
        real = codes.reshape(SHAPE[0], -1) * np.array(scales)[:, None]
        step = np.abs(form.weights).max(axis=1) / 127
        assert (np.abs(real - form.weights) <= 3 * step[:, None] + 1e-9).all()
