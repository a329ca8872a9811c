"""Weights shared at export as evenly spaced values and as vectors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.errors import OptionError
from edgefactor.export.encodings.codebook import find_encodings, uniform_encoding
from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.sharing_at_export.choice import sharing_of
from edgefactor.pipeline.sharing_at_export.uniform_codes import best_progression
from edgefactor.pipeline.sharing_at_export.vector_codes import best_vectors, nearest


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.sampled_from([2, 4]), st.integers(1, 120))
def test_progression_is_the_best_there_is(seed: int, bits: int, reach: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(-reach, reach + 1, 40)
    weights = np.zeros(256)
    np.add.at(weights, codes + 128, rng.uniform(0.1, 2.0, codes.size))
    moved = best_progression(weights, bits)[codes + 128]
    encoding = uniform_encoding(moved.astype(np.int8))
    assert encoding is not None
    assert encoding.bits <= bits

    def error(new: np.ndarray) -> float:
        return float((weights * (new - np.arange(-128, 128)) ** 2).sum())

    found = error(best_progression(weights, bits))
    top = 2**bits - 1
    for step, low in itertools.product(range(1, 254 // top + 1, 3), range(-127, 128, 5)):
        if low + step * top <= 127:
            digits = np.clip(np.rint((np.arange(-128, 128) - low) / step), 0, top)
            assert found <= error(low + step * digits) + 1e-9


def test_codes_in_progression_stay() -> None:
    weights = np.zeros(256)
    weights[np.arange(16) * 7 + 20] = 1.0
    moved = best_progression(weights, 4)
    levels = np.arange(16) * 7 + 20
    np.testing.assert_array_equal(moved[levels], levels - 128)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_vectors_are_few_and_near(width: int) -> None:
    rng = np.random.default_rng(width)
    vectors = np.clip(rng.normal(0, 40, (2000, width)).round(), -127, 127).astype(np.int64)
    cost = rng.uniform(0.5, 2.0, vectors.shape)
    new = best_vectors(vectors, cost, 32)
    table = np.unique(new, axis=0).astype(np.float64)
    assert len(table) <= 32
    # Every vector went to the nearest of those that are left.
    owner = nearest(vectors.astype(np.float64), cost, table)
    best = (cost * (vectors - table[owner]) ** 2).sum()
    assert (cost * (vectors - new) ** 2).sum() <= best * (1 + 1e-9)
    # Far better than one vector for all.
    assert best < 0.9 * (cost * (vectors - vectors.mean(axis=0)) ** 2).sum()


def test_few_vectors_stay() -> None:
    vectors = np.array([[1, 2], [3, 4], [1, 2]])
    np.testing.assert_array_equal(best_vectors(vectors, np.ones((3, 2)), 2), vectors)


def test_shared_vectors_are_found_by_the_exporter() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-127, 128, (64, 128))
    new = best_vectors(codes.reshape(-1, 4), np.ones((2048, 4)), 256)
    found = {encoding.name for encoding in find_encodings(new.reshape(64, 128).astype(np.int8))}
    assert "vector4" in found


def test_one_form_at_a_time() -> None:
    assert sharing_of(ExportOptions(model="m.pt")) is None
    chosen = sharing_of(ExportOptions(model="m.pt", share_vectors=4))
    assert chosen is not None
    assert "vectors of 4" in chosen.text
    assert sharing_of(ExportOptions(model="m.pt", share="auto")) is None
    with pytest.raises(OptionError, match="one way"):
        sharing_of(ExportOptions(model="m.pt", share="auto", bits=4))
    with pytest.raises(OptionError, match="one way"):
        sharing_of(ExportOptions(model="m.pt", share=16, bits=4))
