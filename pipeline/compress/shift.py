"""Shift convolutions: every channel moves by one tap of the window, then a 1x1 layer mixes them.

Fixed shift (Wu et al. 2017, arXiv 1711.08141) gives every direction as many channels. The start
from a trained convolution keeps, for each input channel, the weights of its tap; which channel
gets which tap is the assignment that keeps most of the squared weights, and the 1x1 layer is then
fitted to the outputs. The shift attention layer, which learns the taps, is in
``shift_attention.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgefactor.pipeline.compress import shift_attention
from edgefactor.pipeline.compress.context import Context, TrainingOptions
from edgefactor.pipeline.compress.conv_parts import conv_part, plain_window, weights_of
from edgefactor.pipeline.compress.factorization import Factorization, FactorOptions, Site
from edgefactor.pipeline.compress.method import Need, StepResult, check_range
from edgefactor.pipeline.compress.shift_map import ShiftMap

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftOptions(FactorOptions):
    """Options of the shifts.

    Attributes:
        taps: "fixed" gives all directions as many channels, "attention" learns one tap for each
            kernel (SAL), "attention-2" two (SAL2), "attention-shared" one for each input channel.
        order: Which channel moves where, for "fixed": neighbours alike ("neighbours", the paper's,
            cheapest to move), or as keeps most of the weights ("weights").
        temperature: Of the attention at the start.
        final_temperature: At the end.
        training: How the attention is learned.
    """

    taps: Literal["fixed", "attention", "attention-2", "attention-shared"] = "fixed"
    order: Literal["weights", "neighbours"] = "weights"
    temperature: float = 20.0
    final_temperature: float = 70.0
    training: TrainingOptions = field(default_factory=lambda: TrainingOptions(epochs=1))

    def __post_init__(self) -> None:
        FactorOptions.__post_init__(self)
        check_range("temperature", self.temperature, 0, 1e6, open_low=True)
        check_range("final_temperature", self.final_temperature, self.temperature, 1e6)


def equal_groups(channels: int, taps: int) -> NDArray[np.intp]:
    """The tap of each channel: as many channels for each, what is left over for the middle."""
    size = channels // taps
    return np.concatenate(
        [np.repeat(np.arange(taps), size), np.full(channels - size * taps, taps // 2)]
    ).astype(np.intp)


def assign_taps(energy: FloatArray) -> NDArray[np.intp]:
    """The tap of each channel that keeps most, with about as many channels for each tap.

    Args:
        energy: [channels, taps], squared weights of each channel at each tap.

    Returns:
        Per channel its tap; none has more than channels / taps, rounded up.
    """
    from scipy.optimize import linear_sum_assignment

    channels, taps = energy.shape
    seats = np.tile(np.arange(taps), -(-channels // taps))
    rows, columns = linear_sum_assignment(-energy[:, seats])
    chosen = np.empty(channels, np.intp)
    chosen[rows] = seats[columns]
    return chosen


def moves_of(
    taps: NDArray[np.intp], kernel: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """Rows and columns that each channel moves by, from the number of its tap in the window."""
    rows, columns = np.unravel_index(taps, kernel)
    down = (rows - kernel[0] // 2) * dilation[0]
    right = (columns - kernel[1] // 2) * dilation[1]
    return tuple((int(a), int(b)) for a, b in zip(down, right, strict=True))


def shifted_layers(layer: nn.Conv2d, taps: NDArray[np.intp]) -> nn.Sequential:
    """A shift and a 1x1 layer with the weights that a convolution has at one tap a channel."""
    weights = weights_of(layer)
    flat = weights.reshape(*weights.shape[:2], -1)
    kept = flat[:, np.arange(len(taps)), taps][:, :, None, None]
    # The window's padding is in the shift; the 1x1 layer has the stride.
    mix = conv_part(layer, kept, rows=True, columns=True, bias=layer.bias)
    mix.padding, mix.dilation = (0, 0), (1, 1)
    mix._reversed_padding_repeated_twice = [0, 0, 0, 0]
    kernel, dilation = tuple(layer.kernel_size), tuple(layer.dilation)
    return nn.Sequential(ShiftMap(moves_of(taps, kernel, dilation)).to(layer.weight.device), mix)


class ShiftConv(Factorization):
    """A shift and a 1x1 layer for a convolution, or kernels of one or two taps."""

    name = "shift"
    summary = "channels that move by a pixel and a 1x1 layer in place of a convolution"
    options = ShiftOptions

    def needs(self, options: Any) -> Need:
        return Need.NOTHING if options.taps == "fixed" else Need.DATA

    def fits(self, layer: nn.Module, options: Any = None) -> str:
        reason = plain_window(layer)
        if reason:
            return reason
        assert isinstance(layer, nn.Conv2d)
        middle = tuple(d * (k // 2) for d, k in zip(layer.dilation, layer.kernel_size, strict=True))
        if any(size % 2 == 0 for size in layer.kernel_size):
            return f"its window {layer.kernel_size} has no middle"
        if layer.padding not in (middle, "same"):
            return f"its padding is {layer.padding}, a shift keeps the size of the map"
        return ""

    def apply(
        self, model: nn.Module, layer_names: Sequence[str], options: Any, context: Context
    ) -> StepResult:
        """Replaces at once, or learns taps first."""
        reasons = {name: self.fits(model.get_submodule(name)) for name in layer_names}
        names = [name for name in layer_names if not reasons[name]]
        if options.taps != "fixed" and names:
            shift_attention.learn_taps(model, names, options, context)
        if options.taps in ("fixed", "attention-shared") or not names:
            return super().apply(model, layer_names, options, context)
        notes = tuple(f"{name} stays: {reason}" for name, reason in reasons.items() if reason)
        return StepResult(layers=shift_attention.figures(model, names), notes=notes)

    def replacements(
        self, model: nn.Module, names: Sequence[str], options: Any, site: Site
    ) -> dict[str, tuple[nn.Sequential, dict[str, Any]]]:
        result = {}
        for name in names:
            layer = model.get_submodule(name)
            assert isinstance(layer, nn.Conv2d)
            weights = weights_of(layer)
            energy = (weights**2).sum(axis=0).reshape(weights.shape[1], -1)
            if options.taps == "attention-shared":
                taps = energy.argmax(axis=1)
            elif options.order == "weights":
                taps = assign_taps(energy)
            else:
                taps = equal_groups(*energy.shape)
            kept = energy[np.arange(len(taps)), taps].sum() / max(energy.sum(), 1e-30)
            result[name] = (shifted_layers(layer, taps), {"weight_error": 1 - float(kept)})
        return result
