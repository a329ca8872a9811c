"""What is known of a convolution kernel of runtime/csrc, as data.

The kernels themselves are described in ``portable``, ``dsp``, ``mve`` and
``swar``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.conv_kernels.costs import (
    InstructionModel,
    Storage,
    Work,
    estimate_instructions,
)
from edgefactor.export.conv_kernels.decoders import Decoder
from edgefactor.export.conv_kernels.geometry import ConvGeometry, ConvProof
from edgefactor.export.conv_kernels.packing import BLOCK_CHANNELS, table_bytes
from edgefactor.export.encodings.codebook import SCALAR_NAMES, ByteArray, Encoding, Int8Array

# Among lengths of strips to choose from later, each takes so many times the scratch of the one
# before, and no more than this share of its instructions.
CHOICE_STEP, CHOICE_GAIN = 1.1, 0.998

HEADERS = ("ef_numerics.h", "ef_weights.h", "ef_conv2d.h", "ef_channel.h")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchLayout:
    """Where things lie in scratch, in bytes: look-up table, tile, strip."""

    tile_offset: int
    strip_offset: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One kernel function.

    Attributes:
        kernel: C function.
        sources: Files it needs, headers included.
        needs_dsp: Whether it wants the DSP instructions. It runs everywhere, only slowly.
        needs_mve: The same for the vector extension.
        needs_plain_multiply: Whether it pays only where nothing multiplies and adds at once.
        slower_than_mve: Whether the vector extension's kernels read the same weights faster.
        encodings: Names of those that it reads.
        plain_multiply_model: Instruction estimates where nothing multiplies and adds at once, if
            they are no multiple of the others.
        plain_multiply_factor: Where nothing multiplies and adds at once, it takes so many times the
            estimate, which is for larger cores.
        inline_table_bytes: Per value of a table that lies in front of the weights; 0 if it lies in
            an array of its own.
        why_not: (geometry, proof, encoding) -> why it cannot run the layer, or "".
        order: (codes, geometry, padding code) -> codes in the kernel's order.
        pack: (order, encoding) -> C type and elements of the weight array.
        value_offset: What is added to a weight where it is stored as a byte.
        input_offset: What the kernel adds to inputs, taken off again through the bias.
        storage: (geometry, encoding) -> what the weights become.
        strips: (geometry, encoding) -> strip lengths in output pixels to choose from, ascending.
        strip_bytes: (geometry, strip pixels) -> scratch of the strip.
        work: (geometry, strip pixels) -> what a call does.
        decoder: encoding -> the decoder to link.
        model: Instruction estimates.
        in_place: geometry -> whether the output may lie on the input.
        table_values: How many values of a table are stored; 0 for all.
        table: (order, encoding) -> what is stored in place of the values, as many bytes; None:
            the values.
        packs_channels: Whether it reads packed tables of biases, multipliers and shifts.
        copies_input: Bytes of the strip for each one of the input, if the kernel first of all
            copies the whole input there, front to back; 0 if it does not.
        written: (geometry, strip pixels) -> output pixels that are complete after each strip, in
            order, if a strip's inputs are all copied before its outputs are written; else None.
    """

    kernel: str
    sources: tuple[str, ...]
    needs_dsp: bool
    why_not: Callable[[ConvGeometry, ConvProof, Encoding], str]
    order: Callable[[Int8Array, ConvGeometry, int], Int8Array]
    pack: Callable[[Int8Array, Encoding], tuple[str, NDArray[np.integer]]]
    value_offset: int
    input_offset: int
    storage: Callable[[ConvGeometry, Encoding], Storage]
    strips: Callable[[ConvGeometry, Encoding], Sequence[int]]
    strip_bytes: Callable[[ConvGeometry, int], int]
    work: Callable[[ConvGeometry, int], Work]
    decoder: Callable[[Encoding], Decoder]
    model: InstructionModel
    in_place: Callable[[ConvGeometry], bool]
    written: Callable[[ConvGeometry, int], NDArray[np.int64] | None]
    needs_mve: bool = False
    needs_plain_multiply: bool = False
    slower_than_mve: bool = False
    encodings: tuple[str, ...] = SCALAR_NAMES
    inline_table_bytes: int = 0
    plain_multiply_factor: float = 1.0
    plain_multiply_model: InstructionModel | None = None
    table_values: int = 0
    table: Callable[[Int8Array, Encoding], ByteArray] | None = None
    packs_channels: bool = True
    copies_input: int = 0

    def flash_bytes(self, geometry: ConvGeometry, encoding: Encoding) -> int:
        """Weights with their table, and the decoder's code."""
        return (
            encoding.data_bytes(self.storage(geometry, encoding).codes)
            + (self.table_values or len(encoding.table)) * max(1, self.inline_table_bytes)
            + self.decoder(encoding).code_bytes
        )

    def stored_table(self, order: Int8Array, encoding: Encoding) -> ByteArray:
        """The bytes of the table's array; none if there is no such array."""
        if not encoding.table or self.inline_table_bytes:
            return np.zeros(0, np.uint8)
        if self.table is not None:
            return self.table(order, encoding)
        return table_bytes(encoding, self.value_offset)[: self.table_values or None]

    def scratch(self, geometry: ConvGeometry, encoding: Encoding, strip: int) -> ScratchLayout:
        """The scratch of the kernel for strips of so many output pixels."""
        storage = self.storage(geometry, encoding)
        lut_bytes = storage.lut_bytes + self.decoder(encoding).lut_bytes
        tile_offset = _aligned(lut_bytes)
        strip_offset = tile_offset + _aligned(storage.tile_bytes)
        return ScratchLayout(
            tile_offset=tile_offset,
            strip_offset=strip_offset,
            total_bytes=strip_offset + _aligned(self.strip_bytes(geometry, strip)),
        )

    def estimate(self, geometry: ConvGeometry, encoding: Encoding, strip: int) -> int:
        """Estimated instructions of one call with strips of so many output pixels."""
        return estimate_instructions(
            geometry,
            self.storage(geometry, encoding),
            self.work(geometry, strip),
            self.model,
            encoding,
            self.decoder(encoding),
        )

    def choose_strip(
        self, geometry: ConvGeometry, encoding: Encoding, limit: int, slack: float
    ) -> int:
        """The shortest strip that is nearly as fast as any within the limit.

        Args:
            geometry: The layer.
            encoding: Of its weights.
            limit: Scratch in bytes; if no strip keeps within it, the shortest is taken.
            slack: How many times the fewest instructions are still near enough.
        """
        strips = self.strips(geometry, encoding)
        fitting = [
            strip
            for strip in strips
            if self.scratch(geometry, encoding, strip).total_bytes <= limit
        ]
        costs = {strip: self.estimate(geometry, encoding, strip) for strip in fitting}
        near = slack * min(costs.values(), default=0)
        return next((strip for strip in fitting if costs[strip] <= near), strips[0])

    def strip_choices(self, geometry: ConvGeometry, encoding: Encoding, limit: int) -> list[int]:
        """Strip lengths worth a choice, ascending: each costs fewer instructions than the last.

        Args:
            geometry: The layer.
            encoding: Of its weights.
            limit: Scratch in bytes, as in ``choose_strip``.
        """
        chosen: list[int] = []
        held, cost = 0, 0
        strips = self.strips(geometry, encoding)
        for strip in strips:
            scratch = self.scratch(geometry, encoding, strip).total_bytes
            if chosen and (scratch > limit or scratch < CHOICE_STEP * held):
                continue
            instructions = self.estimate(geometry, encoding, strip)
            if not chosen or instructions < CHOICE_GAIN * cost:
                chosen.append(strip)
                held, cost = scratch, instructions
        return chosen

    def scratch_lead(self, geometry: ConvGeometry, encoding: Encoding, strip: int) -> int | None:
        """How far before the input scratch must start to lie over it, in bytes; None: it may not.

        The copy must never write what it has not read: the ends of strip and input meet.
        """
        if not self.copies_input:
            return None
        offset = self.scratch(geometry, encoding, strip).strip_offset
        return offset + (self.copies_input - 1) * geometry.taps

    def lead(self, geometry: ConvGeometry, strip: int) -> int | None:
        """How far before the input the output must start to lie over it, in bytes.

        After every strip, what was written must end before what later strips read. None: the
        two must not overlap.
        """
        written = self.written(geometry, strip)
        if written is None or geometry.groups != 1:
            return None
        g = geometry
        pixel = np.arange(g.pixels)
        y = np.maximum(pixel // g.out_w * g.stride_h - g.pad_top, 0)
        x = np.maximum(pixel % g.out_w * g.stride_w - g.pad_left, 0)
        read = (y * g.in_w + x) * g.in_c
        from_here_on = np.minimum.accumulate(read[::-1])[::-1]
        ends = written[:-1]
        # Nothing is read after the last strip: then the output may start anywhere.
        nothing = -g.in_h * g.in_w * g.in_c
        return int(np.max(ends * g.out_c - from_here_on[ends], initial=nothing))


def _aligned(size: int) -> int:
    return -(-size // 4) * 4


def flat_strips(geometry: ConvGeometry, strip: int) -> NDArray[np.int64]:
    """``Variant.written`` of strips that run on over the rows."""
    ends = np.arange(strip, geometry.pixels + strip, strip, dtype=np.int64)
    return np.minimum(ends, geometry.pixels)


def row_strips(geometry: ConvGeometry, strip: int) -> NDArray[np.int64]:
    """``Variant.written`` of strips that end with a row."""
    ends = np.arange(strip, geometry.out_w + strip, strip, dtype=np.int64)
    rows = np.arange(geometry.out_h, dtype=np.int64) * geometry.out_w
    return (rows[:, None] + np.minimum(ends, geometry.out_w)).reshape(-1)


def channel_blocks(geometry: ConvGeometry) -> int:
    """Blocks of output channels, all groups."""
    return geometry.groups * -(-(geometry.out_c // geometry.groups) // BLOCK_CHANNELS)


def strip_fits_in_place(geometry: ConvGeometry) -> bool:
    """Whether a kernel by strips may write in place.

    A strip is copied out before its outputs are written; what later strips read must still be
    there.
    """
    return geometry.is_pointwise and geometry.groups == 1 and geometry.out_c <= geometry.in_c


def plane_fits_in_place(geometry: ConvGeometry) -> bool:
    """Whether a kernel by planes may: its outputs must cover just the channel that was copied."""
    return (
        geometry.out_c == geometry.in_c
        and geometry.out_h == geometry.in_h
        and geometry.out_w == geometry.in_w
    )
