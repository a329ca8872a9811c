"""int8 codes of weights that share few values up to a factor a channel."""

import numpy as np
import pytest

from edgefactor.export.encodings.codebook import uniform_encoding
from edgefactor.export.weight_codes import quantize_weights

FACTORS = (0.013, 0.7, 1.9, 0.25)


def codes_of(levels: np.ndarray) -> np.ndarray:
    """Codes of levels times the factor of each of four channels, (4, 1, 1, n)."""
    weights = np.float32(levels) * np.array(FACTORS, np.float32)[:, None, None, None]
    codes, _ = quantize_weights(weights, np.zeros(4, np.float32), FACTORS, 0.02, 0.05)
    return codes


@pytest.mark.parametrize("top", range(1, 8))
def test_even_levels_keep_even_codes(top: int) -> None:
    levels = np.random.default_rng(top).integers(-top, top + 1, (4, 1, 1, 200))
    codes = codes_of(levels)
    np.testing.assert_array_equal(codes, levels * (127 // top))
    encoding = uniform_encoding(codes)
    assert encoding is not None
    assert encoding.bits == (2 if top == 1 else 4)


def test_other_shared_values_reach_127() -> None:
    values = np.array([-1.0, -0.61, -0.2, 0.0, 0.13, 0.48, 0.9], np.float32)
    codes = codes_of(np.random.default_rng(0).choice(values, (4, 1, 1, 200)))
    assert int(codes.min()) == -127
    assert len(np.unique(codes)) == len(values)


def test_a_channel_switched_off_takes_kernel_rows_of_the_others() -> None:
    """Its factor is next to nothing beside its bias, so its step is larger than the others'."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(5, 3)).astype(np.float32)
    levels = rows[rng.integers(0, 5, (6, 3, 8))].transpose(0, 1, 3, 2)  # O, kh, kw, I
    factors = (0.4, 0.7, 1.9, 1e-9, 0.25, 1.0)
    weights = levels * np.array(factors, np.float32)[:, None, None, None]
    bias = np.full(6, 0.5, np.float32)
    codes, scales = quantize_weights(weights, bias, factors, 0.02, 0.05)
    assert scales[3] > 10 * factors[3]
    found = {tuple(row) for row in codes[[0, 1, 2, 4, 5]].swapaxes(2, 3).reshape(-1, 3).tolist()}
    assert len(found) == 5
    assert {tuple(row) for row in codes[3].swapaxes(1, 2).reshape(-1, 3).tolist()} <= found
    off = (codes[3] * np.float64(scales[3]) - weights[3]).sum()
    assert abs(off) * 0.02 * 255 < 0.005, "inputs that are alike move the output by next to nothing"


def test_a_channel_switched_off_takes_single_codes_where_rows_are_free() -> None:
    """Two values: all eight rows exist, nobody shared them."""
    rng = np.random.default_rng(4)
    levels = rng.choice(np.float32([-1, 0.37]), (6, 3, 3, 15))
    factors = (0.4, 0.7, 1.9, 1e-9, 0.25, 1.0)
    weights = levels * np.array(factors, np.float32)[:, None, None, None]
    codes, _ = quantize_weights(weights, np.full(6, 0.5, np.float32), factors, 0.02, 0.05)
    assert len(np.unique(codes)) == 2


def test_a_channel_switched_off_takes_vectors_where_each_serves_two_groups() -> None:
    """256 vectors of 4 for 504 groups, as in the smallest layers of ResNet-20."""
    rng = np.random.default_rng(5)
    table = rng.normal(size=(256, 4)).astype(np.float32)
    index = np.concatenate([np.arange(256), rng.integers(0, 256, 16 * 36 - 256)]).reshape(16, 36)
    levels = table[index].reshape(16, 3, 3, 16)
    factors = (1.0,) * 14 + (1e-9,) * 2
    weights = levels * np.array(factors, np.float32)[:, None, None, None]
    codes, _ = quantize_weights(weights, np.full(16, 0.5, np.float32), factors, 0.02, 0.05)
    kept = {tuple(vector) for vector in codes[:14].reshape(-1, 4).tolist()}
    assert {tuple(vector) for vector in codes[14:].reshape(-1, 4).tolist()} <= kept


def test_values_halfway_between_two_codes_get_one() -> None:
    """Multiplied by a channel's factor and divided by it again, they miss the middle by noise."""
    factors = tuple(
        float(f) for f in np.random.default_rng(6).uniform(0.1, 2, 64).astype(np.float32)
    )
    levels = np.float32([[127, 40.5, -17.5, 3]]).repeat(64, 0)
    weights = (levels * np.array(factors, np.float32)[:, None]).reshape(64, 1, 1, 4)
    codes, _ = quantize_weights(weights, np.zeros(64, np.float32), factors, 0.02, 0.05)
    assert np.unique(codes.reshape(-1, 4), axis=0).tolist() == [[127, 41, -18, 3]]
