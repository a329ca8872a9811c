"""Storage of a compressed model, counted as Deep Compression's tables do and as a device stores it.

One accounting for all methods, so that their rates compare. As the paper counts
(arXiv 1510.00149): a weight is 32 bits in the original; a kept one is an index of log2 K bits and,
in a pruned layer, the distance to the one before in a fixed number of bits, with a filler zero
wherever a distance does not fit; a codebook entry is 32 bits. Biases and batch norm are not counted
on either side; channel scales, which the paper does not have, are, with 32 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.encodings.codebook import find_encodings
from edgefactor.pipeline.compress import huffman
from edgefactor.pipeline.compress.records import WeightRecord

FLOAT_BITS = 32
_DEVICE_MAX = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStorage:
    """One layer's storage; bits unless said otherwise.

    Attributes:
        name: The layer's path.
        kind: `WeightRecord.kind`.
        weights: Weights of the layer as it is now.
        kept: Fraction of them that is not pruned.
        entries: Stored indices: kept weights (or groups) and fillers.
        fillers: Zeros stored because a distance was too long.
        values: Entries of the codebook.
        weight_bits: Of one index, fixed length.
        weight_bits_huffman: Of one index on average, Huffman coded.
        gap_bits: Of one distance, fixed length; 0 for dense layers.
        gap_bits_huffman: Of one distance on average.
        codebook_bits: Codebook and channel scales.
        fixed_bits: All of it with fixed lengths ("P+Q" in the paper).
        huffman_bits: All of it with Huffman codes ("P+Q+H").
        device_bytes: On the device: the smallest encoding of the int8 codes, table included.
    """

    name: str
    kind: str
    weights: int
    kept: float
    entries: int
    fillers: int
    values: int
    weight_bits: int
    weight_bits_huffman: float
    gap_bits: int
    gap_bits_huffman: float
    codebook_bits: int
    fixed_bits: int
    huffman_bits: int
    device_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A model's weights in storage.

    Attributes:
        original_weights: Weights of the model before compression, 32 bits each.
        layers: The layers that have weights now.
        entropy_coded: Whether the recipe ends in Huffman coding; decides what `rate` counts.
    """

    original_weights: int
    layers: tuple[LayerStorage, ...]
    entropy_coded: bool = False

    @property
    def stored_bits(self) -> int:
        """All layers, as `entropy_coded` says."""
        fixed = sum(layer.fixed_bits for layer in self.layers)
        return sum(layer.huffman_bits for layer in self.layers) if self.entropy_coded else fixed

    @property
    def rate(self) -> float:
        """Original bits over stored bits, counted as the paper does."""
        return FLOAT_BITS * self.original_weights / max(self.stored_bits, 1)

    @property
    def device_weight_bytes(self) -> int:
        """Weights and their tables on the device."""
        return sum(layer.device_bytes for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "original_weights": self.original_weights,
            "stored_bytes": -(-self.stored_bits // 8),
            "rate": self.rate,
            "device_weight_bytes": self.device_weight_bytes,
            "layers": [asdict(layer) for layer in self.layers],
        }


def sharing_rate(weights: int, values: int, bits: int = FLOAT_BITS) -> float:
    """``n b / (n log2 k + k b)``: equation 1 of Deep Compression, for a dense shared layer."""
    return weights * bits / (weights * index_bits(values) + values * bits)


def index_bits(values: int) -> int:
    """Bits that tell `values` things apart; 0 for a single one."""
    return max(0, (values - 1).bit_length())


def relative_positions(
    mask: NDArray[np.bool_], gap_bits: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Kept positions as distances to the one before.

    Args:
        mask: True where a weight is kept.
        gap_bits: A distance counts 0 to ``2**gap_bits - 1`` skipped zeros.

    Returns:
        (zeros skipped before each entry, whether the entry is a filler).
    """
    span = 1 << gap_bits
    positions = np.flatnonzero(mask.reshape(-1))
    skipped = np.diff(positions, prepend=-1) - 1
    fillers = skipped // span
    ends = np.cumsum(fillers + 1) - 1
    gaps = np.full(int(fillers.sum()) + len(positions), span - 1, np.int64)
    is_filler = np.ones(len(gaps), np.bool_)
    gaps[ends], is_filler[ends] = skipped % span, False
    return gaps, is_filler


def layer_storage(name: str, record: WeightRecord, weight: NDArray[np.float32]) -> LayerStorage:
    """Counts one layer.

    Args:
        name: The layer's path.
        record: What is stored of it.
        weight: Its values, in `record.shape`.
    """
    device_bytes = _device_bytes(weight, record)
    scale_bits = 0 if record.scale is None else FLOAT_BITS * len(record.scale)
    if record.index is not None and record.codebook is not None:
        each = index_bits(record.values)
        codebook_bits = FLOAT_BITS * record.codebook.size + scale_bits
        symbols = record.index
    else:
        each = record.bits
        codebook_bits = scale_bits
        symbols = None
    gaps, gap_bits, fillers = None, 0, 0
    kept = 1.0
    entries = record.weights if record.index is None else len(record.index)
    if record.mask is not None:
        gap_bits = record.gap_bits or 8
        gaps, is_filler = relative_positions(record.mask, gap_bits)
        entries, fillers = len(gaps), int(is_filler.sum())
        kept = float(record.mask.mean())
        if symbols is not None:
            coded = np.zeros(entries, np.int64)
            coded[~is_filler] = symbols[record.mask.reshape(-1)]
            symbols = coded
    weight_coded = entries * each
    if symbols is not None and entries:
        weight_coded = min(huffman.coded_bits(symbols), weight_coded)
    gap_coded = huffman.coded_bits(gaps) if gaps is not None and entries else 0
    return LayerStorage(
        name=name,
        kind=record.kind,
        weights=record.weights,
        kept=kept,
        entries=entries,
        fillers=fillers,
        values=record.values,
        weight_bits=each,
        weight_bits_huffman=weight_coded / max(entries, 1),
        gap_bits=gap_bits,
        gap_bits_huffman=gap_coded / max(entries, 1),
        codebook_bits=codebook_bits,
        fixed_bits=entries * (each + gap_bits) + codebook_bits,
        huffman_bits=weight_coded + gap_coded + codebook_bits,
        device_bytes=device_bytes,
    )


def device_codes(
    weight: NDArray[np.float32], scale: NDArray[np.float32] | None, *, shared: bool
) -> NDArray[np.int8]:
    """int8 codes as the exporter makes them, ``(outputs, ...)`` in the device's order.

    Args:
        weight: PyTorch's layout.
        scale: Factor of each output channel, or None.
        shared: Whether the layer has one step for all channels (times `scale`), or each its own.
    """
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    if scale is not None:
        rows = rows / scale[:, None].astype(np.float64)
    largest = np.abs(rows).max(axis=None if shared else 1, initial=1e-12, keepdims=True)
    exact = rows / largest * _DEVICE_MAX
    # As `weight_codes` does: values that are shared up to noise get one code.
    codes_as_made = numerics.round_half_away(np.round(exact, 3) if shared else exact)
    rounded = codes_as_made.astype(np.int8).reshape(weight.shape)
    order = (0, 2, 3, 1) if rounded.ndim == 4 else tuple(range(rounded.ndim))
    codes: NDArray[np.int8] = rounded.transpose(order)
    return codes


def _device_bytes(weight: NDArray[np.float32], record: WeightRecord) -> int:
    codes = device_codes(weight, record.scale, shared=record.codebook is not None)
    if not codes.size:
        return 0
    encodings = find_encodings(np.ascontiguousarray(codes))
    return min(
        encoding.data_bytes(codes.size) + len(encoding.table)
        for encoding in encodings
        if not encoding.lengths  # only --optimize size takes Huffman codes
    )


def total(
    layers: Mapping[str, tuple[WeightRecord, NDArray[np.float32]]],
    original_weights: int,
    *,
    entropy_coded: bool = False,
) -> Storage:
    """Counts a model.

    Args:
        layers: Path -> (record, values) of every layer with weights.
        original_weights: Weights before compression.
        entropy_coded: See `Storage`.
    """
    counted = tuple(layer_storage(name, *entry) for name, entry in layers.items())
    return Storage(original_weights=original_weights, layers=counted, entropy_coded=entropy_coded)
