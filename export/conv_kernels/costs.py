"""What a convolution kernel costs: flash, scratch and instructions, before it is chosen.

Instruction figures are fits to counts on an emulated Cortex-M4 (kernels with SMLAD) and M0+
(portable ones), see benchmarks/kernels.py; they rank kernels and size strips, and are not
reported as measurements. Code sizes are for arm-none-eabi-gcc 12.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgefactor.export.conv_kernels.decoders import Decoder
from edgefactor.export.conv_kernels.geometry import ConvGeometry
from edgefactor.export.encodings.codebook import Encoding

ARGS_BYTES = 76  # ef_conv2d_args


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What the weights of one layer become in a kernel's layout.

    Attributes:
        codes: Codes in flash, with the layout's padding.
        tile_codes: Codes of a block of output channels, which are decoded together.
        tile_bytes: Scratch for a decoded block; 0 if nothing is decoded.
        lut_bytes: Scratch for a look-up table of the kernel's own, beside the decoder's.
    """

    codes: int
    tile_codes: int
    tile_bytes: int = 0
    lut_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one call does with strips of a given length.

    Attributes:
        pixels: Output pixels computed, those that only fill a tile included.
        strips: Strips, that is, how often the weights are decoded.
        gathered: Input elements copied.
    """

    pixels: int
    strips: int
    gathered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionModel:
    """Instructions per unit of work; see the module's text for where they come from.

    Attributes:
        mac: Per multiply-accumulate of the padded shape.
        gather: Per element copied into the strip.
        output: Per output element.
        block: Per block of output channels and strip.
        strip: Per strip.
        decode: Per code decoded, by bits.
        lut: Per call, for filling a table of the kernel's own.
        decode_vector: Per weight decoded from vectors.
    """

    mac: float
    gather: float
    output: float
    block: float
    decode: Mapping[int, float]
    strip: float = 0.0
    lut: float = 0.0
    decode_vector: float = 0.0


def estimate_instructions(
    geometry: ConvGeometry,
    storage: Storage,
    work: Work,
    model: InstructionModel,
    encoding: Encoding,
    decoder: Decoder,
) -> int:
    """Estimated instructions of one call."""
    blocks = -(-storage.codes // storage.tile_codes)
    total = (
        model.mac * storage.codes * work.pixels
        + model.gather * work.gathered
        + model.output * geometry.out_h * geometry.out_w * geometry.out_c
        + model.block * blocks * work.strips
        + model.strip * work.strips
    )
    if encoding.width > 1:
        total += model.decode_vector * storage.codes * work.strips
    elif encoding.bits < 8:
        total += model.decode[encoding.bits] * storage.codes * work.strips + model.lut
    return round(total + decoder.lut_instructions)
