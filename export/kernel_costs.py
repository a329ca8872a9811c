"""What a convolution kernel costs: flash, scratch and instructions, before it is chosen.

Instruction figures are fits to counts on an emulated Cortex-M4 (kernels with SMLAD) and M0+
(portable ones), benchmarks/kernels; they rank kernels and size strips, and are not reported as
measurements. Code sizes are for arm-none-eabi-gcc 12.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgefactor.export.codebook import Encoding
from edgefactor.export.conv_geometry import ConvGeometry

CHANNEL_BYTES = 9  # bias, multiplier, shift
ARGS_BYTES = 72  # ef_conv2d_args


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelShape:
    """What one kernel needs for one layer, apart from its weights.

    Attributes:
        stored_codes: Codes in flash, with the layout's padding.
        tile_codes: Codes decoded at a time.
        tile_bytes: Scratch for a decoded tile.
        lut_bytes: Scratch for the decoder's look-up table.
        pixel_bytes: Scratch for one gathered output pixel, or for the plane.
        strip_step: Strips are a multiple of this many pixels.
        max_strip: No more pixels than this are of use.
        row_bytes: Scratch for gathering, whatever the strip's length.
    """

    stored_codes: int
    tile_codes: int
    tile_bytes: int
    lut_bytes: int
    pixel_bytes: int
    strip_step: int = 1
    max_strip: int = 1
    row_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionModel:
    """Instructions per unit of work; see the module's text for where they come from.

    Attributes:
        mac: Per multiply-accumulate of the padded shape.
        gather: Per element copied into the strip.
        output: Per output element.
        block: Per block of output channels and strip.
        decode: Per code decoded, by bits.
        lut: Per call, for filling the decoder's table.
    """

    mac: float
    gather: float
    output: float
    block: float
    decode: dict[int, float]
    lut: float = 0.0


def strip_pixels(shape: KernelShape, scratch_limit: int) -> int:
    """The most output pixels that fit the limit; at least one step, even if that does not."""
    fixed = shape.lut_bytes + shape.tile_bytes + shape.row_bytes
    fitting = max(scratch_limit - fixed, 0) // shape.pixel_bytes
    wanted = min(fitting, shape.max_strip)
    return max(wanted // shape.strip_step, 1) * shape.strip_step


def estimate_instructions(
    geometry: ConvGeometry,
    shape: KernelShape,
    model: InstructionModel,
    encoding: Encoding,
    strip: int,
) -> int:
    """Estimated instructions of one call."""
    pixels = geometry.out_h * geometry.out_w
    strips = -(-pixels // strip)
    macs = shape.stored_codes * pixels
    blocks = -(-shape.stored_codes // shape.tile_codes)
    total = (
        model.mac * macs
        + model.gather * pixels * geometry.taps * geometry.groups
        + model.output * pixels * geometry.out_c
        + model.block * blocks * strips
    )
    if encoding.bits < 8:
        total += model.decode[encoding.bits] * shape.stored_codes * strips + model.lut
    return round(total)
