from __future__ import annotations

import math

import numpy as np
import pytest

from edgefactor.pipeline.compress import accounting
from edgefactor.pipeline.compress.records import WeightRecord


def test_positions_of_figure_2_of_deep_compression() -> None:
    # Kept at 1, 4 and 15 with 3 index bits: 15 is 11 after 4, so a filler is stored 8 after it.
    mask = np.zeros(16, bool)
    mask[[1, 4, 15]] = True
    gaps, fillers = accounting.relative_positions(mask, 3)
    assert gaps.tolist() == [1, 2, 7, 2]
    assert fillers.tolist() == [False, False, True, False]


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_positions_can_be_decoded(keep: float, bits: int) -> None:
    mask = np.random.default_rng(bits).random(5000) < keep
    gaps, fillers = accounting.relative_positions(mask, bits)
    assert gaps.max(initial=0) < 2**bits
    positions = np.cumsum(gaps + 1) - 1
    assert np.array_equal(positions[~fillers], np.flatnonzero(mask))


def test_a_pruned_shared_layer_by_hand() -> None:
    weight = np.zeros((4, 25), np.float32)
    weight.flat[[3, 10, 50, 99]] = [0.5, -0.5, 0.5, 0.5]
    index = np.zeros(100, np.int64)
    index[[3, 10, 50, 99]] = [1, 2, 1, 1]
    record = WeightRecord(
        kind="shared",
        shape=(4, 25),
        index=index,
        codebook=np.array([[0.0], [0.5], [-0.5]], np.float32),
        mask=weight != 0,
        gap_bits=4,
    )
    stored = accounting.layer_storage("fc", record, weight)
    # Skipped zeros 3, 6, 39 = 2 * 16 + 7, 48 = 3 * 16: five fillers.
    assert (stored.entries, stored.fillers) == (9, 5)
    assert stored.fixed_bits == 9 * (2 + 4) + 3 * 32
    # Codes: filler x 5 -> 1 bit, entry 1 x 3 -> 2 bits, entry 2 x 1 -> 2 bits.
    # Gaps 3, 6, 15 x 5, 7, 0: 1 bit for 15; four others share the rest, 3 bits each.
    assert stored.huffman_bits == (5 + 3 * 2 + 2) + (5 + 4 * 3) + 3 * 32
    # Sparse on the device: a count of two bytes a row, a byte an entry, a table of four.
    assert stored.device_bytes == 4 * 2 + 4 + 4


def test_dense_and_pruned_layers() -> None:
    weight = np.random.default_rng(0).standard_normal((8, 50)).astype(np.float32)
    dense = accounting.layer_storage("a", WeightRecord(kind="dense", shape=(8, 50)), weight)
    assert dense.fixed_bits == dense.huffman_bits == 400 * 32
    assert dense.device_bytes == 400
    mask = np.abs(weight) > 1
    record = WeightRecord(kind="pruned", shape=(8, 50), mask=mask, gap_bits=8)
    pruned = accounting.layer_storage("a", record, weight * mask)
    assert pruned.fixed_bits == int(mask.sum()) * 40


@pytest.mark.parametrize("values", [1, 2, 3, 16, 17])
def test_rate_follows_equation_1(values: int) -> None:
    index = np.arange(600) % values
    codebook = np.linspace(-1, 1, values, dtype=np.float32)[:, None]
    record = WeightRecord(kind="shared", shape=(20, 30), index=index, codebook=codebook)
    weight = codebook[index].reshape(20, 30)
    storage = accounting.total({"a": (record, weight)}, 600)
    each = math.ceil(math.log2(values)) if values > 1 else 0
    assert storage.rate == pytest.approx(600 * 32 / (600 * each + values * 32))
