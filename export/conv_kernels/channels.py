"""The tables of what each output channel's sum goes through: bias, multiplier and shift.

``runtime/csrc/ef_channel.h`` is the reader of the packed form, which takes 7 bytes a channel
where the plain one takes 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code.layer_code import CArray

PLAIN_BYTES, PACKED_BYTES = 9, 7
_CODES = 8
_MOST_BIAS = 2**22


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelTables:
    """The arrays of a layer, and what its arguments say of them: 0, or the smallest shift."""

    arrays: tuple[CArray, ...]
    packed: int


def can_pack(
    bias: NDArray[np.int32], multipliers: NDArray[np.int32], shifts: NDArray[np.int8]
) -> bool:
    """Whether the packed form holds these numbers.

    Args:
        bias: int32 (O,), as the kernel wants it.
        multipliers: int32 (O,).
        shifts: (O,), positive to the left.
    """
    first, last = -int(shifts.max()), -int(shifts.min())
    return (
        first >= 1
        and last - first < _CODES
        and int(multipliers.min()) >= 2**30
        and -_MOST_BIAS <= int(bias.min())
        and int(bias.max()) < _MOST_BIAS
    )


def channel_tables(
    bias: NDArray[np.int32],
    multipliers: NDArray[np.int32],
    shifts: NDArray[np.int8],
    *,
    pack: bool,
) -> ChannelTables:
    """Plain tables, or packed ones where they hold the numbers.

    Args:
        bias: int32 (O,), as the kernel wants it.
        multipliers: int32 (O,).
        shifts: (O,), positive to the left.
        pack: Whether the kernel reads packed tables.
    """
    if not pack or not can_pack(bias, multipliers, shifts):
        arrays = (
            CArray(suffix="bias", ctype="int32_t", data=bias),
            CArray(suffix="multiplier", ctype="int32_t", data=multipliers),
            CArray(suffix="shift", ctype="int8_t", data=shifts),
        )
        return ChannelTables(arrays=arrays, packed=0)
    first = -int(shifts.max())
    codes = -shifts.astype(np.int32) - first
    both = 2 * bias + (codes >> 2)
    words = (multipliers.astype(np.uint32) & 0x3FFFFFFF) | (codes & 3).astype(np.uint32) << 30
    arrays = (
        CArray(suffix="bias", ctype="uint16_t", data=(both & 0xFFFF).astype(np.uint16)),
        CArray(suffix="multiplier", ctype="int32_t", data=words.view(np.int32)),
        CArray(suffix="shift", ctype="int8_t", data=(both >> 16).astype(np.int8)),
    )
    return ChannelTables(arrays=arrays, packed=first)
