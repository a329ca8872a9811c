"""Convolutions and dense layers whose weights are decoded from Huffman codes once, at start-up.

A kernel then reads the decoded bytes in RAM, in any form that it reads in flash: raw ones are fast
and large, indices into a table or sparse entries take a fraction of them. Which of these offers is
taken, if any, depends on the RAM that is left: ``export/start_up.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from edgefactor.export.c_code.layer_code import IsaFeatures, LayerCode
from edgefactor.export.conv_kernels.build import Candidate, Layer, build_layer, operand_of
from edgefactor.export.encodings.encoding import INDEX_BITS, Encoding
from edgefactor.export.encodings.start_up_code import (
    PLAIN,
    SIGNED_LOW,
    TURNED_SIGN,
    pack_bytes,
)

PREFIX = "huffman-"
"""In front of the name of the encoding that is decoded to."""
PACKED_STRUCT_BYTES = 24
MOST_STORED = 0.97
"""Codes that leave more than this share of the bytes are not worth a word."""
_WORD_TYPE = "uint32_t"


def at_start(
    usable: Iterable[Candidate],
    layer: Layer,
    input_name: str,
    scratch_limit: int,
    features: IsaFeatures,
    most_stored: float = MOST_STORED,
) -> tuple[LayerCode, ...]:
    """What a layer could be with decoded weights: the fastest kernel of each encoding.

    Args:
        usable: What could run the layer from flash.
        layer: The layer.
        input_name: Graph tensor that the call reads.
        scratch_limit: As in ``choose_conv``.
        features: What the target offers.
        most_stored: What codes may leave of the bytes.

    Returns:
        The offers that take less flash than the same bytes in flash.
    """
    fastest: dict[str, Candidate] = {}
    for item in usable:
        if item.encoding.lengths:
            continue
        best = fastest.setdefault(item.encoding.name, item)
        if item.option.instructions < best.option.instructions:
            fastest[item.encoding.name] = item
    offers = (
        _offer(item, layer, input_name, scratch_limit, features, most_stored)
        for item in fastest.values()
    )
    return tuple(offer for offer in offers if offer is not None)


def _offer(
    item: Candidate,
    layer: Layer,
    input_name: str,
    scratch_limit: int,
    features: IsaFeatures,
    most_stored: float,
) -> LayerCode | None:
    operand = operand_of(item, layer)
    plain = np.ascontiguousarray(operand.data).view(np.uint8)
    fix = _fix(item, operand.ctype)
    packed = pack_bytes(plain, bits=_unit_bits(item.encoding), fix=fix)
    if packed is None or packed.stored_bytes + PACKED_STRUCT_BYTES > most_stored * plain.nbytes:
        return None
    option = replace(
        item.option,
        encoding=PREFIX + item.encoding.name,
        flash_bytes=item.option.flash_bytes
        - plain.nbytes
        + packed.stored_bytes
        + PACKED_STRUCT_BYTES,
        weights_ram_bytes=packed.ram_bytes,
    )
    return build_layer(
        replace(item, option=option),
        layer,
        operand,
        input_name,
        (option,),
        scratch_limit,
        features,
        packed,
    )


def _unit_bits(encoding: Encoding) -> int:
    """Of the values that the bytes hold: indices of one weight, or whole bytes."""
    if encoding.gap_bits or encoding.width > 1:
        return INDEX_BITS
    return encoding.bits


def _fix(item: Candidate, ctype: str) -> int:
    """What tells every second byte of words of weights from the others."""
    if ctype != _WORD_TYPE or item.encoding.width > 1:
        return PLAIN
    return SIGNED_LOW if item.encoding.name == "raw" else TURNED_SIGN
