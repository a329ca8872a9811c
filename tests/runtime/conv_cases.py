"""The layers that every convolution kernel is tried on (style rule 14)."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import OptionError
from edgefactor.export.c_code.layer_code import IsaFeatures, LayerCode
from edgefactor.export.conv_kernels.choice import choose_conv
from edgefactor.export.conv_kernels.geometry import ConvGeometry
from edgefactor.export.encodings.codebook import fitting_encodings
from tests.runtime.conv_reference import ConvLayer, conv, convolve, make_layer

DSP = IsaFeatures(dsp=True, unaligned=True)
PLAIN = IsaFeatures()
ALL = IsaFeatures(dsp=True, mve=True, unaligned=True)

MOST_BITWISE = 300_000
"""Weights times products of a layer whose Huffman codes the plain kernel reads bit by bit."""

SAME3 = (1, 1, 1, 1)


def depthwise_windows() -> dict[str, ConvGeometry]:
    """Kernel sizes, strides and dilations with loops of their own, odd and even outputs."""
    table = {
        f"depthwise {kernel}x{kernel} stride {stride}": conv(
            (kernel + 5, kernel + 6, 2),
            2,
            (kernel, kernel),
            stride=(stride, stride),
            pads=(kernel // 2, kernel // 2, kernel // 2, 0),
            groups=2,
            in_zero_point=-128,
        )
        for kernel, stride in [(2, 2), (4, 1), (4, 2), (5, 2), (6, 1), (7, 1), (7, 2), (8, 2)]
    }
    return table | {
        "depthwise 9x9": conv((10, 11, 2), 2, (9, 9), pads=(4, 4, 4, 4), groups=2),
        "depthwise 9x9 stride 3": conv((14, 15, 2), 4, (9, 9), stride=(3, 3), groups=2),
        "depthwise 1x9": conv((1, 30, 3), 3, (1, 9), pads=(0, 4, 0, 4), groups=3, in_zero_point=9),
        "depthwise 31x1": conv((40, 1, 2), 2, (31, 1), pads=(15, 0, 15, 0), groups=2),
        "depthwise 1x10 stride 2": conv((1, 31, 2), 2, (1, 10), stride=(1, 2), groups=2),
        "depthwise 1x3 dilation 8": conv(
            (1, 21, 2), 2, (1, 3), dilation=(1, 8), pads=(0, 16, 0, 0), groups=2, in_zero_point=-7
        ),
        "depthwise fewer outputs than dilation": conv(
            (3, 12, 2), 2, (3, 3), dilation=(1, 5), pads=(1, 0, 1, 0), groups=2
        ),
        "depthwise dilation 3 stride 2": conv(
            (12, 15, 2), 2, (3, 3), stride=(2, 2), dilation=(3, 3), pads=(3, 4, 2, 1), groups=2
        ),
        "depthwise dilation 4 stride 2": conv(
            (12, 19, 2), 2, (3, 3), stride=(2, 2), dilation=(2, 4), pads=(2, 4, 2, 4), groups=2
        ),
    }


def cases() -> tuple[ConvLayer, ...]:
    """Named layers: sizes around the tiles of 4 channels, 4 taps and 2 pixels, and all options."""
    geometries = {
        "one of everything": conv((1, 1, 1), 1),
        "exact tile": conv((1, 2, 4), 4),
        "tile - 1": conv((1, 1, 3), 3),
        "tile + 1": conv((1, 3, 5), 5),
        "pointwise": conv((5, 5, 16), 8, in_zero_point=-128, out_zero_point=-128),
        "pointwise narrow": conv((4, 3, 8), 12),
        "pointwise stride 2": conv((7, 7, 8), 12, stride=(2, 2), in_zero_point=3),
        "3x3 same": conv((6, 5, 8), 8, (3, 3), pads=SAME3, in_zero_point=-128, out_zero_point=-128),
        "3x3 stride 2": conv((8, 8, 4), 8, (3, 3), stride=(2, 2), pads=(0, 0, 1, 1)),
        "3x3 three channels": conv((6, 6, 3), 8, (3, 3), pads=SAME3, in_zero_point=-7),
        "3x3 one channel": conv((6, 6, 1), 5, (3, 3), pads=SAME3, in_zero_point=9),
        "10x4 stride 2": conv((13, 8, 1), 6, (10, 4), stride=(2, 2), pads=(4, 1, 5, 1)),
        "dilation": conv(
            (9, 9, 4),
            4,
            (3, 3),
            dilation=(2, 3),
            pads=(2, 3, 2, 3),
            in_zero_point=127,
            out_zero_point=127,
        ),
        "padding wider than the map": conv(
            (1, 1, 2), 3, (5, 5), pads=(2, 2, 2, 2), in_zero_point=-128, out_zero_point=-128
        ),
        "groups": conv((4, 4, 12), 8, (3, 3), pads=SAME3, groups=4, in_zero_point=-128),
        "groups of one channel out": conv((4, 4, 8), 4, (2, 2), groups=4),
        "1-D": conv((1, 20, 4), 6, (1, 5), pads=(0, 2, 0, 2), in_zero_point=-1),
        "1-D stride": conv((1, 21, 3), 4, (1, 3), stride=(1, 2)),
        "tall": conv((20, 1, 2), 3, (4, 1), pads=(1, 0, 2, 0)),
        "depthwise 3x3": conv(
            (6, 5, 7), 7, (3, 3), pads=SAME3, groups=7, in_zero_point=-128, out_zero_point=-128
        ),
        "depthwise 3x3 even": conv(
            (4, 6, 4), 4, (3, 3), pads=SAME3, groups=4, in_zero_point=127, out_zero_point=127
        ),
        "depthwise stride 2": conv((9, 8, 4), 4, (3, 3), stride=(2, 2), pads=SAME3, groups=4),
        "depthwise multiplier": conv(
            (5, 5, 3), 6, (3, 3), pads=SAME3, groups=3, in_zero_point=-128, out_zero_point=-128
        ),
        "depthwise 5x5": conv((7, 7, 3), 3, (5, 5), pads=(2, 2, 2, 2), groups=3),
        "depthwise dilation": conv(
            (9, 9, 2), 2, (3, 3), dilation=(2, 2), pads=(2, 2, 2, 2), groups=2
        ),
        "depthwise 1-D": conv((1, 11, 4), 4, (1, 3), pads=(0, 1, 0, 1), groups=4),
        "depthwise 1x1": conv((3, 3, 4), 4, groups=4),
        "depthwise 16 channels": conv((5, 4, 16), 16, (3, 3), pads=SAME3, groups=16),
        "depthwise 37 channels": conv(
            (7, 6, 37), 37, (3, 3), stride=(2, 1), pads=SAME3, groups=37, in_zero_point=-128
        ),
        "depthwise 20 channels, dilation": conv(
            (9, 8, 20), 20, (3, 2), dilation=(2, 3), pads=(3, 1, 0, 2), groups=20, in_zero_point=5
        ),
        "depthwise rows apart": conv((11, 5, 18), 18, (2, 2), stride=(4, 3), groups=18),
        "depthwise 3x3 stride 2, odd rows": conv(
            (9, 7, 3), 3, (3, 3), stride=(2, 2), pads=SAME3, groups=3, in_zero_point=-128
        ),
        "depthwise one row": conv((1, 7, 4), 4, (3, 3), pads=SAME3, groups=4, in_zero_point=77),
        "depthwise one pixel": conv((1, 1, 5), 5, (3, 3), pads=SAME3, groups=5),
        "depthwise to one": conv((5, 4, 3), 3, (5, 4), groups=3),
        **depthwise_windows(),
        "dense": conv((1, 1, 64), 10),
        "dense small": conv((1, 1, 16), 4),
        "dense odd": conv((1, 1, 37), 13, in_zero_point=-128, out_zero_point=-128),
        "dense by a kernel as large as the map": conv((3, 2, 5), 6, (3, 2), in_zero_point=4),
        "dense one": conv((1, 1, 1), 4),
        "relu": conv((5, 5, 8), 8, (3, 3), clamp_min=-20, out_zero_point=-20),
        "relu6": conv(
            (5, 5, 8),
            8,
            (3, 3),
            clamp_min=-128,
            clamp_max=90,
            in_zero_point=-128,
            out_zero_point=-128,
        ),
        "depthwise relu6": conv((5, 5, 4), 4, (3, 3), groups=4, clamp_min=-5, clamp_max=60),
        "dense clamped": conv((1, 1, 16), 8, clamp_min=-3, clamp_max=5),
    }
    layers = [
        make_layer(name, geometry, seed=seed)
        for seed, (name, geometry) in enumerate(geometries.items())
    ]
    layers += [
        make_layer(
            "extremes",
            conv((4, 4, 32), 8, (3, 3), pads=SAME3, in_zero_point=-128, out_zero_point=-128),
            extreme=True,
        ),
        make_layer(
            "extremes dense",
            conv((1, 1, 200), 9, in_zero_point=127, out_zero_point=127),
            extreme=True,
        ),
        make_layer(
            "extremes depthwise", conv((4, 4, 3), 3, (3, 3), pads=SAME3, groups=3), extreme=True
        ),
        make_layer("shift to the left", conv((3, 3, 4), 5, (2, 2)), spread=3.0e6),
        make_layer("no shift", conv((3, 3, 4), 5, (2, 2)), spread=1.0e4),
        make_layer("left, depthwise", conv((3, 3, 4), 4, (2, 2), groups=4), spread=3.0e6),
        far_apart(make_layer("scales far apart", conv((3, 5, 8), 8, (3, 3), pads=SAME3))),
        far_apart(make_layer("scales far apart, dense", conv((1, 1, 32), 8))),
        far_apart(make_layer("scales far apart, depthwise", conv((4, 4, 4), 4, (3, 3), groups=4))),
        make_layer("vanishing", conv((3, 3, 4), 5, (2, 2)), spread=1.0e-3),
    ]
    return tuple(layers)


def with_codes(layer: ConvLayer, name: str, codes: NDArray[np.int8]) -> ConvLayer:
    """The layer with other weights."""
    numbers = (codes, layer.bias, layer.multipliers, layer.shifts)
    output = convolve(layer.geometry, *numbers, layer.input)
    return replace(layer, name=f"{layer.name}, {name}", codes=codes, output=output)


def far_apart(layer: ConvLayer) -> ConvLayer:
    """The layer with scales that no packed table holds."""
    shifts = layer.shifts.copy()
    shifts[::2] -= 9
    numbers = (layer.codes, layer.bias, layer.multipliers, shifts)
    return replace(layer, shifts=shifts, output=convolve(layer.geometry, *numbers, layer.input))


def uniform(layer: ConvLayer, step: int, seed: int = 0, bits: int = 4) -> ConvLayer:
    """Weights in arithmetic progression of 16, or of 4."""
    rng = np.random.default_rng(seed)
    top = 2**bits - 1
    low = int(rng.integers(-127, 128 - top * step))
    digits = rng.integers(0, top + 1, layer.codes.shape)
    return with_codes(
        layer, f"uniform step {step}, {bits} bits", (low + step * digits).astype(np.int8)
    )


def ternary(layer: ConvLayer, step: int, seed: int = 0, share: float = 0.6) -> ConvLayer:
    """Weights -step, 0 and step; this share of them is not 0."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-step, step], layer.codes.shape)
    codes = np.where(rng.random(layer.codes.shape) < share, signs, 0)
    return with_codes(layer, f"ternary {step}", codes.astype(np.int8))


def largest_digits(layer: ConvLayer) -> ConvLayer:
    """Nearly all weights at the end of a progression of 4, all inputs at the end of int8."""
    codes = np.full(layer.codes.shape, 63, np.int8)
    codes.reshape(len(codes), -1)[:, 0] = 0
    codes.reshape(-1)[-1] = 21
    data = np.full(layer.input.shape, -128, np.int8)
    numbers = (codes, layer.bias, layer.multipliers, layer.shifts)
    output = convolve(layer.geometry, *numbers, data)
    return replace(
        layer, name=f"{layer.name}, largest digits", codes=codes, input=data, output=output
    )


def of_vectors(layer: ConvLayer, width: int, vectors: int = 256, seed: int = 0) -> ConvLayer:
    """Weights in vectors; the taps of an output channel must be a multiple of the width."""
    rng = np.random.default_rng(seed)
    pool = rng.integers(-127, 128, (vectors, width))
    codes = pool[rng.integers(0, vectors, layer.codes.size // width)].astype(np.int8)
    return with_codes(layer, f"vectors of {width}", codes.reshape(layer.codes.shape))


def sparse(layer: ConvLayer, values: int, density: float, seed: int = 0) -> ConvLayer:
    """Pruned weights."""
    rng = np.random.default_rng(seed)
    pool = rng.choice(np.setdiff1d(np.arange(-127, 128), [0]), values, replace=False)
    codes = np.where(
        rng.random(layer.codes.shape) < density, rng.choice(pool, layer.codes.shape), 0
    )
    return with_codes(layer, f"{values} values, density {density}", codes.astype(np.int8))


def skewed(layer: ConvLayer, values: int, seed: int = 0) -> ConvLayer:
    """Weights of which each value is half as frequent as the one before, but the last two."""
    rng = np.random.default_rng(seed)
    pool = rng.choice(np.arange(-127, 128), values, replace=False)
    shares = 0.5 ** np.minimum(np.arange(1, values + 1), values - 1)
    codes = rng.choice(pool, layer.codes.shape, p=shares / shares.sum())
    return with_codes(layer, f"skewed {values}", codes.astype(np.int8))


def encoded_cases() -> tuple[ConvLayer, ...]:
    """Layers whose weights fit the encodings that random weights do not fit."""
    table = {layer.name: layer for layer in cases()}
    wide = make_layer("dense wide", conv((1, 1, 700), 5, in_zero_point=-128), seed=3)
    deep = make_layer("pointwise deep", conv((3, 2, 600), 3, in_zero_point=5), seed=4)
    odd = make_layer("pointwise odd stride", conv((5, 4, 7), 3, stride=(2, 3)), seed=5)
    dense = ("tile + 1", "dense", "dense small", "dense odd", "dense one", "dense clamped")
    windows = (
        "3x3 same", "pointwise", "pointwise stride 2", "3x3 stride 2", "10x4 stride 2",
        "3x3 three channels", "3x3 one channel", "groups", "1-D", "relu6", "dilation",
    )  # fmt: skip
    groups = make_layer("groups of 4", conv((4, 5, 8), 8, (3, 2), groups=2), seed=6)
    deep_window = make_layer("deep window", conv((3, 4, 40), 7, (3, 3), pads=SAME3), seed=7)
    far = [
        make_layer(name, geometry, spread=1.0)
        for name, geometry in (
            ("far, pointwise", conv((3, 2, 200), 6)),
            ("far, window", conv((3, 4, 40), 5, (1, 3))),
            ("far, dense", conv((1, 1, 900), 10)),
            ("farther, pointwise", conv((3, 2, 1100), 6)),
            ("farther, window", conv((3, 3, 400), 4, (2, 2))),
            ("farther, dense", conv((1, 1, 1201), 9)),
        )
    ]
    tiled = ("pointwise", "3x3 same", "3x3 stride 2", "groups of one channel out", "dense", "1-D")
    return (
        *(uniform(table[name], step) for name in dense for step in (1, 5)),
        uniform(wide, 16),
        *(uniform(table[name], 40, bits=2) for name in dense),
        uniform(wide, 1, bits=2),
        *(uniform(table[name], 3) for name in windows),
        *(uniform(table[name], 21, bits=2) for name in windows),
        *(ternary(table[name], 100) for name in (*windows, *dense)),
        *(
            change(layer)
            for layer in far
            for change in (largest_digits, partial(ternary, step=5, share=1.0))
        ),
        uniform(groups, 9),
        uniform(groups, 9, bits=2),
        uniform(deep_window, 15),
        uniform(deep_window, 15, bits=2),
        ternary(deep_window, 127, share=1.0),
        *(of_vectors(table[name], width) for name in tiled for width in (2, 4)),
        *(of_vectors(table[name], 8) for name in ("pointwise", "3x3 same", "dense")),
        of_vectors(wide, 4),
        of_vectors(table["10x4 stride 2"], 2, 9),
        *(
            skewed(table[name], values)
            for name in ("3x3 same", "groups", "dense odd", "tile + 1")
            for values in (2, 9, 20)
        ),
        of_vectors(make_layer("dense of 6", conv((1, 1, 6), 7)), 2, 5),
        *(
            sparse(layer, values, density)
            for layer in (wide, deep, odd, *(table[name] for name in (*dense, "pointwise")))
            for values, density in ((15, 0.1), (3, 0.004), (25, 0.3), (200, 0.02), (1, 0.0))
        ),
    )


def kernels_of(
    layer: ConvLayer, name: str, features: IsaFeatures | None = None, scratch_limit: int = 1024
) -> Iterator[LayerCode]:
    """The kernel of that name in every encoding that holds the layer's codes, if it can run it.

    Without features it is for a target that the kernel is made for.
    """
    features = features or (ALL if "mve" in name else PLAIN if "swar" in name else DSP)
    for encoding in fitting_encodings(layer.codes):
        if encoding.width > 1 and f"vectors of {encoding.width}" not in layer.name:
            continue  # every small layer is one of few vectors
        bitwise = encoding.lengths and name.endswith("_ref")
        if bitwise and layer.codes.size * layer.geometry.macs > MOST_BITWISE:
            continue  # it begins at the first bit for every product
        try:
            yield choose_conv(
                layer.geometry,
                layer.codes,
                layer.bias,
                layer.multipliers,
                layer.shifts,
                input_name="in",
                features=features,
                encoding=encoding.name,
                kernel=name,
                scratch_limit=scratch_limit,
            )
        except OptionError:
            continue
