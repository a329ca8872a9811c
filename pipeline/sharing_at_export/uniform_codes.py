"""Weights rounded to evenly spaced int8 codes: 2 or 4 bits a weight that need no table.

One step and one offset a layer; both lie on the int8 grid and are found by trying all of them. What
an error costs is weighed by the calibration inputs, as in ``share_codes``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.ir import Graph
from edgefactor.export.ops.conv import Conv2D
from edgefactor.pipeline.sharing_at_export.share_codes import (
    Codes,
    Floats,
    Moments,
    change_codes,
    code_weights,
)

_LEAST_WEIGHTS = 128


def best_progression(weights: Floats, bits: int) -> NDArray[np.int64]:
    """The new code of each code -128..127, at least weighted squared error.

    Args:
        weights: Weight of each code -128..127, [256]; 0 for codes that do not occur.
        bits: The progression has 2**bits codes.
    """
    codes = np.arange(-128, 128)
    present = codes[weights > 0]
    mass = weights[weights > 0]
    top = 2**bits - 1
    best: tuple[float, int, int] | None = None
    for step in range(1, 254 // top + 1):
        lows = np.arange(-127, 127 - step * top + 1)
        digits = np.clip(np.rint((present - lows[:, None]) / step), 0, top)
        errors = ((lows[:, None] + step * digits - present) ** 2 * mass).sum(axis=1)
        at = int(np.argmin(errors))
        if best is None or errors[at] < best[0]:
            best = float(errors[at]), step, int(lows[at])
    assert best is not None
    _, step, low = best
    return low + step * np.clip(np.rint((codes - low) / step), 0, top).astype(np.int64)


def share_uniform(
    graph: Graph, moments: Mapping[str, Moments], *, bits: int, keep: Sequence[str] = ()
) -> Graph:
    """Round the weights of every convolution and dense layer to 2**bits evenly spaced codes.

    Args:
        graph: int8 Graph.
        moments: Of the input of each convolution, by tensor name.
        bits: 2 or 4.
        keep: Patterns of layer names that stay as they are.

    Raises:
        OptionError: A pattern matches no layer.
    """

    def change(op: Conv2D, codes: Codes, cost: Floats) -> Codes | None:
        if codes.size < _LEAST_WEIGHTS:
            return None
        return best_progression(code_weights(codes, cost), bits)[codes + 128]

    return change_codes(graph, moments, change, keep=keep)
