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
