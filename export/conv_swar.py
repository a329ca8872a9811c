"""The convolution kernels for cores whose only multiplication is 32 x 32 -> 32 bits (Armv6-M)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgefactor.export.codebook import Encoding
from edgefactor.export.conv_geometry import ConvGeometry
from edgefactor.export.conv_portable import CONV
from edgefactor.export.conv_variants import HEADERS
from edgefactor.export.kernel_costs import InstructionModel, Work

# Strips of raw weights: what is saved beyond this many pixels is not worth the RAM.
ENOUGH_RAW_PIXELS = 2


def _even(count: int) -> int:
    return count + count % 2


def _strips(geometry: ConvGeometry, encoding: Encoding) -> Sequence[int]:
    longest = _even(geometry.pixels)
    if encoding.bits == 8:
        longest = min(longest, ENOUGH_RAW_PIXELS)
    return range(2, longest + 1, 2)


CONV_SWAR = replace(
    CONV,
    kernel="ef_conv2d_s8_swar",
    sources=(
        *HEADERS,
        "ef_attributes.h",
        "ef_swar.h",
        "ef_swar_finish.c",
        "ef_swar_pairs.c",
        "ef_conv2d_s8_swar.c",
    ),
    needs_plain_multiply=True,
    why_not=lambda geometry, proof, encoding: (
        "one pixel is no pair" if geometry.pixels == 1 else proof.doubled
    ),
    strips=_strips,
    # Two sums and a word for every tap, for every pair of pixels.
    strip_bytes=lambda geometry, strip: _even(strip) // 2 * 4 * (geometry.taps + 2),
    work=lambda geometry, strip: Work(
        pixels=_even(geometry.pixels),
        strips=-(-geometry.pixels // strip),
        gathered=_even(geometry.pixels) * geometry.taps * geometry.groups,
    ),
    model=InstructionModel(
        mac=2.75,
        gather=5.5,
        output=50.0,
        block=60.0,
        strip=150.0,
        decode=CONV.model.decode,
        lut=CONV.model.lut,
    ),
)
