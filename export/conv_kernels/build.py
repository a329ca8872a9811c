"""From a chosen kernel and encoding to a layer's call, constants and memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code.layer_code import (
    Alternative,
    Call,
    CArray,
    CSymbol,
    CValue,
    IsaFeatures,
    LayerCode,
    Ref,
    ScratchChoice,
)
from edgefactor.export.conv_kernels.channels import (
    PACKED_BYTES,
    PLAIN_BYTES,
    can_pack,
    channel_tables,
)
from edgefactor.export.conv_kernels.geometry import UINT16_MAX, ConvGeometry, ConvProof
from edgefactor.export.conv_kernels.packing import padding_code
from edgefactor.export.conv_kernels.variants import Variant
from edgefactor.export.encodings.codebook import Encoding, Int8Array
from edgefactor.export.encodings.start_up_code import PackedBytes

START_UP_SOURCES = ("ef_prepared.h", "ef_conv2d_prepared.c", "ef_unpack.h", "ef_unpack.c")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """An option that can be used, with what is needed to build it."""

    option: Alternative
    variant: Variant
    encoding: Encoding
    strip: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """The numbers of one layer."""

    geometry: ConvGeometry
    codes: Int8Array
    proof: ConvProof
    multipliers: NDArray[np.int32]
    shifts: NDArray[np.int8]


def _packs(variant: Variant, features: IsaFeatures) -> bool:
    """Whether tables are packed: on targets whose best kernels all read that."""
    return variant.packs_channels and not (features.plain_multiply or features.mve)


def channel_bytes(layer: Layer, variant: Variant, features: IsaFeatures) -> int:
    """Flash of one channel's numbers; a kernel changes its bias by too little to matter here."""
    packs = _packs(variant, features) and can_pack(
        layer.proof.folded_bias, layer.multipliers, layer.shifts
    )
    return PACKED_BYTES if packs else PLAIN_BYTES


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operand:
    """The weights of one layer as a kernel reads them.

    Attributes:
        order: Codes in the kernel's order.
        ctype: C type of the elements.
        data: Elements.
    """

    order: Int8Array
    ctype: str
    data: NDArray[np.integer]


def operand_of(item: Candidate, layer: Layer) -> Operand:
    """The weights as an option reads them."""
    variant, encoding = item.variant, item.encoding
    order = variant.order(layer.codes, layer.geometry, padding_code(encoding))
    ctype, data = variant.pack(order, encoding)
    return Operand(order=order, ctype=ctype, data=data)


def build_layer(
    chosen: Candidate,
    layer: Layer,
    operand: Operand,
    input_name: str,
    alternatives: tuple[Alternative, ...],
    scratch_limit: int,
    features: IsaFeatures,
    packed: PackedBytes | None = None,
) -> LayerCode:
    """Packs the other operands and lays out the scratch of the chosen option.

    Args:
        chosen: The option.
        layer: What it is for.
        operand: Its weights as the option reads them.
        input_name: Graph tensor that the call reads.
        alternatives: The option, and what else was considered.
        scratch_limit: As in ``choose_conv``.
        features: What the target offers.
        packed: The weights in Huffman codes, if they are decoded at start-up.
    """
    variant, encoding, geometry = chosen.variant, chosen.encoding, layer.geometry
    decoder = variant.decoder(encoding)
    layout = variant.scratch(geometry, encoding, chosen.strip)
    sums = layer.codes.reshape(geometry.out_c, -1).sum(axis=1, dtype=np.int32)
    bias = layer.proof.folded_bias - variant.input_offset * sums
    channels = channel_tables(bias, layer.multipliers, layer.shifts, pack=_packs(variant, features))
    arrays = [*channels.arrays]
    if packed is None:
        arrays.insert(0, _weights(operand))
    choices = tuple(
        _scratch_choice(variant, geometry, encoding, strip)
        for strip in variant.strip_choices(geometry, encoding, scratch_limit)
    )
    table = variant.stored_table(operand.order, encoding)
    if table.size:
        arrays.append(CArray(suffix="table", ctype="uint8_t", data=table, section="weights"))
    weights: dict[str, CValue] = {
        "data": Ref(suffix="weights") if packed is None else CSymbol(name="NULL"),
        "table": Ref(suffix="table") if table.size else CSymbol(name="NULL"),
        "decoder": CSymbol(name=f"&{decoder.symbol}" if decoder.symbol else "NULL"),
        "bits": encoding.code_bits,
        "width": encoding.width,
        "gap_bits": encoding.gap_bits,
    }
    args: dict[str, CValue] = {
        "weights": weights,
        "bias": Ref(suffix="bias"),
        "multiplier": Ref(suffix="multiplier"),
        "shift": Ref(suffix="shift"),
        "tile_offset": layout.tile_offset,
        "strip_offset": layout.strip_offset,
        **_strip_fields(chosen.strip),
        **geometry.window_fields,
        "groups": geometry.groups,
        **geometry.range_fields,
        "packed": channels.packed,
    }
    call = Call(
        function=variant.kernel,
        struct="ef_conv2d_args",
        args=args,
        inputs=(input_name,),
        scratch=True,
    )
    return LayerCode(
        calls=(call,),
        sources=(*variant.sources, *decoder.sources, *(START_UP_SOURCES if packed else ())),
        arrays=tuple(arrays),
        scratch_bytes=layout.total_bytes,
        in_place=(0,) if variant.in_place(geometry) else (),
        overlaps=_overlaps(variant, geometry, chosen.strip),
        scratch_choices=choices if len(choices) > 1 else (),
        scratch_lead=variant.scratch_lead(geometry, encoding, chosen.strip),
        encoding=chosen.option.encoding,
        bits=encoding.bits,
        distinct_values=len(np.unique(layer.codes)),
        weight_bytes=(packed.stored_bytes if packed else operand.data.nbytes) + table.nbytes,
        alternatives=alternatives,
        packed=packed,
    )


def _weights(operand: Operand) -> CArray:
    return CArray(suffix="weights", ctype=operand.ctype, data=operand.data, section="weights")


def _strip_fields(strip: int) -> dict[str, CValue]:
    return {"strip_pixels": min(strip, UINT16_MAX)}


def _overlaps(variant: Variant, geometry: ConvGeometry, strip: int) -> tuple[tuple[int, int], ...]:
    lead = variant.lead(geometry, strip)
    return () if lead is None else ((0, lead),)


def _scratch_choice(
    variant: Variant, geometry: ConvGeometry, encoding: Encoding, strip: int
) -> ScratchChoice:
    return ScratchChoice(
        scratch_bytes=variant.scratch(geometry, encoding, strip).total_bytes,
        instructions=variant.estimate(geometry, encoding, strip),
        args=_strip_fields(strip),
        overlaps=_overlaps(variant, geometry, strip),
    )
