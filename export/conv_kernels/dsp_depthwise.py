"""The depthwise kernels for cores with SMLAD: by planes."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

from edgefactor.export.conv_kernels.costs import InstructionModel
from edgefactor.export.conv_kernels.dsp import CLAMP_SOURCES
from edgefactor.export.conv_kernels.geometry import ConvGeometry, reach
from edgefactor.export.conv_kernels.portable import (
    DEPTHWISE,
    plane_storage,
    plane_work,
    why_not_form,
)
from edgefactor.export.conv_kernels.variants import HEADERS, Variant, plane_fits_in_place

PLANE_WORDS = 4
"""Words of a kernel's line that depthwise loops know; a longer one is cut (EF_PLANE_WORDS)."""


def _along_and_across(geometry: ConvGeometry) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(outputs, kernel, stride, dilation) along the longer side of the output, and across."""
    columns = (geometry.out_w, geometry.k_w, geometry.stride_w, geometry.dilation_w)
    rows = (geometry.out_h, geometry.k_h, geometry.stride_h, geometry.dilation_h)
    return (rows, columns) if geometry.out_h > geometry.out_w else (columns, rows)


def _plane_bytes(geometry: ConvGeometry, strip: int) -> int:
    """The plane as int16 pairs along the longer side of the output."""
    along, across = _along_and_across(geometry)
    return 4 * (reach(*along) // 2 + 1) * reach(*across)


def windows_bytes(geometry: ConvGeometry, strip: int) -> int:
    """A plane for each phase of the dilation (phases_of in the C), and paired weights."""
    (outputs, kernel, stride, dilation), across = _along_and_across(geometry)
    phases = dilation // gcd(dilation, stride)
    length = reach(-(-outputs // phases), kernel, stride * phases // dilation, 1)
    planes = 4 * phases * (length // 2 + 1) * reach(*across)
    pairs = stride * phases == dilation
    words = kernel // 2 + 1 if pairs else (kernel + 1) // 2
    if across[1] == 1:
        pieces = -(-words // PLANE_WORDS)
        words = pieces * -(-words // pieces)
    return planes + (8 if pairs else 4) * words * across[1]


#: Of all kernels by planes, on int8 and on int16.
PLANE_SOURCES = (
    *HEADERS,
    "ef_simd.h",
    "ef_plane.h",
    "ef_plane_fill_loop.h",
    "ef_depthwise_planes.h",
    "ef_directions_of.c",
    "ef_plane_source_of.c",
)
#: Those of them that take windows besides.
WINDOWS_SOURCES = (
    *PLANE_SOURCES,
    "ef_attributes.h",
    "ef_depthwise_windows.h",
    "ef_plane_windows.h",
    "ef_plane_windows_loop.h",
)
DEPTHWISE_SOURCES = (*PLANE_SOURCES, *CLAMP_SOURCES, "ef_plane_fill.c")

DEPTHWISE_DSP = Variant(
    kernel="ef_depthwise_s8_dsp",
    sources=(*DEPTHWISE_SOURCES, "ef_plane_3x3_run.c", "ef_depthwise_s8_dsp.c"),
    needs_dsp=True,
    why_not=lambda geometry, proof, encoding: why_not_form(geometry, "3x3") or proof.doubled,
    order=DEPTHWISE.order,
    pack=DEPTHWISE.pack,
    value_offset=0,
    input_offset=0,
    storage=plane_storage,
    strips=lambda geometry, encoding: (1,),
    strip_bytes=_plane_bytes,
    work=plane_work,
    decoder=DEPTHWISE.decoder,
    model=InstructionModel(
        mac=1.15,
        gather=3.5,
        output=7.0,
        block=200.0,
        decode=dict.fromkeys(range(1, 7), 16.0),
    ),
    in_place=plane_fits_in_place,
    written=lambda geometry, strip: None,
)

DEPTHWISE_WINDOWS_DSP = replace(
    DEPTHWISE_DSP,
    kernel="ef_depthwise_s8_windows_dsp",
    sources=(
        *DEPTHWISE_SOURCES,
        *WINDOWS_SOURCES,
        "ef_plane_windows_run.c",
        "ef_depthwise_s8_windows_dsp.c",
    ),
    strip_bytes=windows_bytes,
    why_not=lambda geometry, proof, encoding: why_not_form(geometry, "windows") or proof.doubled,
    model=replace(DEPTHWISE_DSP.model, mac=1.35, output=10.0, block=400.0),
)
DEPTHWISE_DILATED_DSP = replace(
    DEPTHWISE_WINDOWS_DSP,
    why_not=lambda geometry, proof, encoding: why_not_form(geometry, "dilated") or proof.doubled,
    model=replace(DEPTHWISE_WINDOWS_DSP.model, block=1700.0),
)
"""The same kernel where another of its loops runs."""
