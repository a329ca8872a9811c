"""Which C kernel and which weight encoding a convolution or dense layer gets, and why.

``choose_conv`` is the one place where this is decided, from the layer's shape, its integer codes,
the target's instruction set and the policy. What the kernels are is data, listed in ``catalogue``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import OptionError
from edgefactor.export.c_code.layer_code import (
    Alternative,
    IsaFeatures,
    LayerCode,
)
from edgefactor.export.conv_kernels.at_start import PREFIX as START_UP_PREFIX
from edgefactor.export.conv_kernels.at_start import at_start
from edgefactor.export.conv_kernels.build import (
    Candidate,
    Layer,
    build_layer,
    channel_bytes,
    operand_of,
)
from edgefactor.export.conv_kernels.catalogue import ALL_VARIANTS, VARIANTS
from edgefactor.export.conv_kernels.costs import ARGS_BYTES
from edgefactor.export.conv_kernels.geometry import ConvGeometry, prove_ranges
from edgefactor.export.conv_kernels.variants import Variant
from edgefactor.export.encodings.codebook import Encoding, Int8Array, find_encodings, named_encoding

__all__ = ["ConvGeometry", "choose_conv"]

POLICIES = ("balanced", "speed", "size")
DEFAULT_SCRATCH_BYTES = 8192
# A shorter strip is taken if it costs no more than this many times the fewest instructions.
STRIP_SLACK = {"speed": 1.0, "balanced": 1.05, "size": 1.25}
# "balanced" takes the smallest flash, or nearly so, among the options that are no slower than this.
BALANCED_SLOWDOWN = 2.5
# "size" takes Huffman codes, which are slow, where they leave no more than this of the flash.
HUFFMAN_GAIN = 0.9
# Both take the fastest of the options that need no more than a little above the least: padding of a
# few bytes a layer is not worth several times its instructions.
FLASH_SLACK = {"speed": math.inf, "balanced": 0.05, "size": 0.01}
FLASH_SLACK_BYTES = 48
# ... if it is faster by more than estimates err.
WORTHWHILE = 0.8


def choose_conv(
    geometry: ConvGeometry,
    codes: Int8Array,
    bias: NDArray[np.int32],
    multipliers: NDArray[np.int32],
    shifts: NDArray[np.int32],
    *,
    input_name: str,
    features: IsaFeatures,
    optimize: str = "balanced",
    encoding: str | None = None,
    kernel: str | None = None,
    scratch_limit: int = DEFAULT_SCRATCH_BYTES,
    by_tile: bool = True,
    start_up: bool = False,
) -> LayerCode:
    """Chooses kernel and encoding of a convolution or dense layer.

    Args:
        geometry: Shapes, padding and output range.
        codes: int8 (O, kh, kw, I/groups).
        bias: int32 (O,), not folded.
        multipliers: int32 (O,), in [2^30, 2^31).
        shifts: (O,), positive to the left.
        input_name: Graph tensor that the call reads.
        features: What the target offers.
        optimize: "size" takes the least flash or, within a hundredth of it, what takes a fifth
            fewer instructions; "speed" the fewest instructions; "balanced" the least flash that
            costs no more than 2.5 times the fewest instructions or, within a twentieth of it, what
            takes a fifth fewer instructions. Only "size" takes Huffman codes, where they
            save a tenth, or who asks for them: they are decoded again for every strip.
        encoding: Only this encoding, with "huffman-" in front of its name in Huffman codes that are
            decoded at start-up; None lets the cost model choose.
        kernel: Only this C function; None lets the cost model choose.
        scratch_limit: Scratch in bytes that may be used to be faster; less is taken where that
            costs next to nothing. A kernel that needs more to work at all still gets it.
        by_tile: Whether Huffman codes that are decoded tile by tile may be chosen.
        start_up: Whether to offer, in ``at_start``, what the layer could be with weights that are
            decoded once.

    Returns:
        The kernel's call, constants and memory. ``alternatives`` holds everything that was
        considered, the chosen option first, and why the others cannot be used if so.

    Raises:
        OptionError: An unknown policy, encoding or kernel, or a kernel that does not fit.
        DataError: The codes do not fit the encoding asked for.
        ModelError: An accumulator can leave int32.
    """
    if optimize not in POLICIES:
        raise OptionError("There is no such policy.", found=optimize, expected=", ".join(POLICIES))
    layer = Layer(
        geometry=geometry,
        codes=codes,
        proof=prove_ranges(geometry, codes, bias, shifts),
        multipliers=multipliers.astype(np.int32),
        shifts=shifts.astype(np.int8),
    )
    if encoding is None:
        found = find_encodings(codes)
        encodings = tuple(item for item in found if by_tile or not item.lengths)
    else:
        encodings = (named_encoding(encoding.removeprefix(START_UP_PREFIX), codes),)
    considered = _distinct(_consider(layer, features, encodings, scratch_limit, optimize, kernel))
    usable = [item for item in considered if isinstance(item, Candidate)]
    if not usable:
        raise OptionError(
            "No such kernel can run this layer.",
            found=str(kernel),
            expected="; ".join(f"{o.kernel}: {o.rejected}" for o in map(_option, considered))
            or "a kernel that reads the encoding",
        )
    if encoding is not None and encoding.startswith(START_UP_PREFIX):
        return _decoded(usable, layer, input_name, scratch_limit, features)
    chosen = _best(usable, optimize)
    others = tuple(_option(item) for item in considered if item is not chosen)
    options = (chosen.option, *others)
    operand = operand_of(chosen, layer)
    code = build_layer(chosen, layer, operand, input_name, options, scratch_limit, features)
    if not start_up or encoding is not None or kernel is not None:
        return code
    offers = at_start(usable, layer, input_name, scratch_limit, features)
    return replace(code, at_start=offers)


def _decoded(
    usable: list[Candidate],
    layer: Layer,
    input_name: str,
    scratch_limit: int,
    features: IsaFeatures,
) -> LayerCode:
    """Decoded at start-up because it was asked for, whatever it takes."""
    offers = at_start(usable, layer, input_name, scratch_limit, features, most_stored=math.inf)
    if not offers:
        raise OptionError(
            "The weights cannot be decoded at start-up.",
            found="codes by tile, or bytes that are all different",
            expected=f"{START_UP_PREFIX}raw, {START_UP_PREFIX}codebook and others",
        )
    return offers[0]


def _consider(
    layer: Layer,
    features: IsaFeatures,
    encodings: tuple[Encoding, ...],
    scratch_limit: int,
    optimize: str,
    kernel: str | None,
) -> Iterator[Candidate | Alternative]:
    """Every variant with every encoding: a candidate, or an option with the reason against it."""
    named = [variant for variant in ALL_VARIANTS if variant.kernel == kernel]
    geometry = layer.geometry
    for variant in VARIANTS if kernel is None else named:
        for encoding in encodings:
            option = Alternative(
                encoding=encoding.name,
                bits=encoding.bits,
                kernel=variant.kernel,
                flash_bytes=0,
                instructions=0,
            )
            if encoding.name not in variant.encodings:
                continue
            if variant.needs_dsp and not features.dsp:
                reason = "the target has no DSP instructions"
            elif variant.needs_mve and not features.mve:
                reason = "the target has no vector extension"
            elif variant.slower_than_mve and kernel is None and features.mve:
                reason = "the vector extension's kernels are faster"
            elif variant.needs_plain_multiply and kernel is None and not features.plain_multiply:
                reason = "the target multiplies and adds in one instruction"
            else:
                reason = variant.why_not(geometry, layer.proof, encoding)
            if reason:
                yield replace(option, rejected=reason)
                continue
            strip = variant.choose_strip(geometry, encoding, scratch_limit, STRIP_SLACK[optimize])
            yield Candidate(
                option=replace(
                    option,
                    flash_bytes=variant.flash_bytes(geometry, encoding)
                    + channel_bytes(layer, variant, features) * geometry.out_c
                    + ARGS_BYTES,
                    instructions=_instructions(variant, geometry, encoding, strip, features),
                    scratch_bytes=variant.scratch(geometry, encoding, strip).total_bytes,
                ),
                variant=variant,
                encoding=encoding,
                strip=strip,
            )


def _instructions(
    variant: Variant, geometry: ConvGeometry, encoding: Encoding, strip: int, features: IsaFeatures
) -> int:
    """Estimate of one call on this core."""
    if not features.plain_multiply:
        return variant.estimate(geometry, encoding, strip)
    if variant.plain_multiply_model is not None:
        variant = replace(variant, model=variant.plain_multiply_model)
    return round(variant.estimate(geometry, encoding, strip) * variant.plain_multiply_factor)


def _distinct(
    considered: Iterable[Candidate | Alternative],
) -> tuple[Candidate | Alternative, ...]:
    """One entry a kernel and encoding: figures of another of its loops are no reason against it."""
    found: dict[tuple[str, str], Candidate | Alternative] = {}
    for item in considered:
        option = _option(item)
        key = option.kernel, option.encoding
        if key not in found or isinstance(item, Candidate):
            found[key] = item
    return tuple(found.values())


def _option(item: Candidate | Alternative) -> Alternative:
    return item.option if isinstance(item, Candidate) else item


def _best(usable: list[Candidate], optimize: str) -> Candidate:
    """The policy, in one place."""
    coded = [item for item in usable if item.encoding.lengths]
    others = [item for item in usable if not item.encoding.lengths]
    if coded and others:
        least, without = (min(c.option.flash_bytes for c in part) for part in (coded, others))
        worth = optimize == "size" and least <= HUFFMAN_GAIN * without
        usable = coded if worth else others
    fastest = min(item.option.instructions for item in usable)
    if optimize == "balanced":
        limit = BALANCED_SLOWDOWN * fastest
        usable = [item for item in usable if item.option.instructions <= limit]
    least = min(item.option.flash_bytes for item in usable)
    limit = least + max(FLASH_SLACK_BYTES, FLASH_SLACK[optimize] * least)
    usable = [item for item in usable if item.option.flash_bytes <= limit]
    fast = min(usable, key=lambda c: (c.option.instructions, c.option.flash_bytes))
    small = min(usable, key=lambda c: (c.option.flash_bytes, c.option.instructions))
    faster = fast.option.instructions < WORTHWHILE * small.option.instructions
    return fast if faster or optimize == "speed" else small
