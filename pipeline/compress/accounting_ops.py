"""Parameters and operations of a layer and of what can take its place, by formula.

``N_ops = H_out W_out h w D_in D_out`` multiplications for a convolution; every method here shrinks
one of the factors. A sum of n products takes n - 1 additions and a bias one more. Biases are
counted apart from the parameters of the kernels, as papers do.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What one layer holds and does for one input.

    Attributes:
        parameters: Weights without biases.
        multiplies: Multiplications.
        additions: Additions, without those of biases.
    """

    parameters: int = 0
    multiplies: int = 0
    additions: int = 0

    def __add__(self, other: Operations) -> Operations:
        return Operations(
            parameters=self.parameters + other.parameters,
            multiplies=self.multiplies + other.multiplies,
            additions=self.additions + other.additions,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvShape:
    """A convolution with explicit sizes.

    Attributes:
        pixels: Rows and columns of the output.
        kernel: Rows and columns of the window.
        inputs: Input channels.
        outputs: Output channels.
    """

    pixels: tuple[int, int]
    kernel: tuple[int, int]
    inputs: int
    outputs: int


def _products(sums: int, length: int, parameters: int) -> Operations:
    """``sums`` sums of ``length`` products."""
    return Operations(
        parameters=parameters, multiplies=sums * length, additions=sums * (length - 1)
    )


def dense(inputs: int, outputs: int) -> Operations:
    """A fully connected layer."""
    return _products(outputs, inputs, inputs * outputs)


def convolution(shape: ConvShape, *, groups: int = 1) -> Operations:
    """A convolution; with groups each output sees a part of the inputs, and the cost is 1/G."""
    taps = shape.kernel[0] * shape.kernel[1] * shape.inputs // groups
    sums = shape.pixels[0] * shape.pixels[1] * shape.outputs
    return _products(sums, taps, taps * shape.outputs)


def depthwise_separable(shape: ConvShape, *, multiplier: int = 1) -> Operations:
    """A window per channel, then 1x1: 1 / D_out + 1 / (h w) of the convolution's cost."""
    middle = shape.inputs * multiplier
    window = ConvShape(
        pixels=shape.pixels, kernel=shape.kernel, inputs=shape.inputs, outputs=middle
    )
    mix = ConvShape(pixels=shape.pixels, kernel=(1, 1), inputs=middle, outputs=shape.outputs)
    return convolution(window, groups=shape.inputs) + convolution(mix)


def spatially_separable(
    shape: ConvShape, *, rank: int, pixels_before: tuple[int, int] | None = None
) -> Operations:
    """(h, 1) to ``rank`` maps, then (1, w).

    Args:
        shape: The convolution that is replaced.
        rank: Maps in between.
        pixels_before: Of the maps in between; they are wider than the output where the columns
            have a stride or lose their edges.
    """
    down = ConvShape(
        pixels=pixels_before or shape.pixels,
        kernel=(shape.kernel[0], 1),
        inputs=shape.inputs,
        outputs=rank,
    )
    across = ConvShape(
        pixels=shape.pixels, kernel=(1, shape.kernel[1]), inputs=rank, outputs=shape.outputs
    )
    return convolution(down) + convolution(across)


def separable_kernels(shape: ConvShape, *, rank: int = 1) -> Operations:
    """Every kernel on its own as ``rank`` columns times rows: h + w in place of h w."""
    kernels = shape.inputs * shape.outputs
    taps = rank * sum(shape.kernel)
    pixels = shape.pixels[0] * shape.pixels[1]
    return Operations(
        parameters=taps * kernels,
        multiplies=taps * kernels * pixels,
        additions=(taps * shape.inputs - shape.inputs * rank - 1) * shape.outputs * pixels,
    )


def tucker(
    shape: ConvShape, *, ranks: tuple[int, int], pixels_before: tuple[int, int] | None = None
) -> Operations:
    """1x1 to ``ranks[1]`` maps, the window to ``ranks[0]`` maps, 1x1 to the outputs."""
    outer, inner = ranks
    before = pixels_before or shape.pixels
    narrow = ConvShape(pixels=before, kernel=(1, 1), inputs=shape.inputs, outputs=inner)
    core = ConvShape(pixels=shape.pixels, kernel=shape.kernel, inputs=inner, outputs=outer)
    widen = ConvShape(pixels=shape.pixels, kernel=(1, 1), inputs=outer, outputs=shape.outputs)
    return convolution(narrow) + convolution(core) + convolution(widen)


def canonical(
    shape: ConvShape,
    *,
    rank: int,
    pixels_before: tuple[int, int] | None = None,
    pixels_between: tuple[int, int] | None = None,
) -> Operations:
    """1x1 to ``rank`` maps, a column and a row per map, 1x1 to the outputs (CP)."""
    narrow = ConvShape(
        pixels=pixels_before or shape.pixels, kernel=(1, 1), inputs=shape.inputs, outputs=rank
    )
    down = ConvShape(
        pixels=pixels_between or shape.pixels,
        kernel=(shape.kernel[0], 1),
        inputs=rank,
        outputs=rank,
    )
    across = ConvShape(pixels=shape.pixels, kernel=(1, shape.kernel[1]), inputs=rank, outputs=rank)
    widen = ConvShape(pixels=shape.pixels, kernel=(1, 1), inputs=rank, outputs=shape.outputs)
    return (
        convolution(narrow)
        + convolution(down, groups=rank)
        + convolution(across, groups=rank)
        + convolution(widen)
    )


def shifted(shape: ConvShape, *, taps: int = 1) -> Operations:
    """``taps`` weights a kernel: the shift itself has no parameters and no operations."""
    one = ConvShape(
        pixels=shape.pixels, kernel=(1, 1), inputs=shape.inputs * taps, outputs=shape.outputs
    )
    return convolution(one)
