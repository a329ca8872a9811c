"""The layers that every convolution kernel is tried on (style rule 14)."""

from collections.abc import Iterator

from edgefactor.errors import OptionError
from edgefactor.export.codebook import find_encodings
from edgefactor.export.kernels import choose_conv
from edgefactor.export.layer_code import IsaFeatures, LayerCode
from tests.runtime.conv_reference import ConvLayer, conv, make_layer

DSP = IsaFeatures(dsp=True, unaligned=True)
ALL = IsaFeatures(dsp=True, mve=True, unaligned=True)

SAME3 = (1, 1, 1, 1)


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
        "depthwise one pixel": conv((1, 1, 5), 5, (3, 3), pads=SAME3, groups=5),
        "depthwise to one": conv((5, 4, 3), 3, (5, 4), groups=3),
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
        make_layer("vanishing", conv((3, 3, 4), 5, (2, 2)), spread=1.0e-3),
    ]
    return tuple(layers)


def kernels_of(
    layer: ConvLayer, name: str, features: IsaFeatures = ALL, scratch_limit: int = 1024
) -> Iterator[LayerCode]:
    """The kernel of that name in every encoding that holds the layer's codes, if it can run it."""
    for encoding in find_encodings(layer.codes):
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
