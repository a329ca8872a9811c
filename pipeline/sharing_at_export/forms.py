"""The forms that a layer's weights can take: few values or vectors, up to one factor a channel.

A form's weights are ``scale[channel] * codebook[index]``. The factor costs nothing on the device,
where every channel has a scale of its own, and at few bits it matters: two values a layer are then
a sign and a size for each channel (Rastegari et al. 2016, XNOR-Net, arXiv 1603.05279). Codebook and
factors are found in turn, at least error as the calibration inputs weigh it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgefactor.export.encodings.vector_code import MOST_VECTORS
from edgefactor.pipeline.sharing_at_export.share_codes import Floats, best_codes, code_weights
from edgefactor.pipeline.sharing_at_export.vector_codes import LEAST_REPETITION

VALUES = (64, 32, 16, 8, 4, 2)
WIDTHS = (2, 4, 8)
#: Channels with more values than this keep their largest weight at the end of the int8 range.
_MOST_COARSE = 16
_ROUNDS = 3
_LLOYD_ROUNDS = 12
_GRID = 127
_LEAST = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Form:
    """One form of one layer's weights.

    Attributes:
        text: What to call it.
        shape: Of the weights, output channels first.
        scale: Positive factor of each channel, [O]; empty for weights that share nothing.
        codebook: [K, width]; empty likewise.
        weights: As the form has them, [O, m].
        error: Weighted square of what they differ by.
    """

    text: str
    shape: tuple[int, ...]
    scale: Floats
    codebook: Floats
    weights: Floats
    error: float

    @property
    def is_shared(self) -> bool:
        """Whether the weights share anything."""
        return self.codebook.size > 0


def forms_of(weights: NDArray[np.float32], cost: Floats, *, depthwise: bool) -> tuple[Form, ...]:
    """The forms that a layer's weights can take; the first one leaves them as they are.

    Args:
        weights: Float, (O, kh, kw, I).
        cost: Of a unit error of each, above 0.
        depthwise: Vectors do not fit then.
    """
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    cost = cost.reshape(rows.shape)
    none = np.zeros(0)
    found = [
        Form(
            text="int8",
            shape=weights.shape,
            scale=none,
            codebook=none,
            weights=rows,
            error=0.0,
        )
    ]
    for values in VALUES:
        # As many values as weights of some size share nothing.
        if rows.size >= 4 * values:
            found.append(_fitted(f"{values} values", weights.shape, rows, cost, values, 1))
    for width in () if depthwise else WIDTHS:
        # A table of 256 vectors takes its place, too.
        if rows.shape[1] % width == 0 and rows.size >= LEAST_REPETITION * MOST_VECTORS * width:
            text = f"vectors of {width}"
            found.append(_fitted(text, weights.shape, rows, cost, MOST_VECTORS, width))
    return tuple(found)


def _fitted(
    text: str, shape: tuple[int, ...], rows: Floats, cost: Floats, count: int, width: int
) -> Form:
    largest = np.abs(rows).max(axis=1)
    coarse = width > 1 or count <= _MOST_COARSE
    scale = np.sqrt((rows**2).mean(axis=1)) if coarse else largest
    scale = np.where(scale > 0, scale, 1.0)
    best: Form | None = None
    for _ in range(_ROUNDS if width == 1 else 1):
        codebook, shared = _clustered(
            rows / scale[:, None], cost * scale[:, None] ** 2, count, width
        )
        # The factor of each channel at least error for these shared values.
        power = (cost * shared**2).sum(axis=1)
        better = (cost * shared * rows).sum(axis=1) / np.maximum(power, _LEAST)
        scale = np.where(better > 0, better, scale)
        made = shared * scale[:, None]
        error = float((cost * (made - rows) ** 2).sum())
        if best is None or error < best.error:
            best = Form(
                text=text, shape=shape, scale=scale, codebook=codebook, weights=made, error=error
            )
    assert best is not None
    return best


def _clustered(shared: Floats, cost: Floats, count: int, width: int) -> tuple[Floats, Floats]:
    """Codebook and shared values."""
    if width > 1:
        vectors = torch.tensor(shared.reshape(-1, width), dtype=torch.float32)
        weighed = torch.tensor(cost.reshape(-1, width) / cost.mean(), dtype=torch.float32)
        table, owner = _vectors(vectors, weighed, count)
        codebook = on_grid(table.double().numpy())
        return codebook, codebook[owner.numpy()].reshape(shared.shape)
    # On a grid as fine as int8 codes are the best values are known exactly.
    step = float(np.abs(shared).max()) / _GRID or 1.0
    codes = np.rint(shared / step).astype(np.int64)
    moved = best_codes(code_weights(codes, cost), count)
    values = np.unique(moved[codes + 128])
    codebook = on_grid(values[:, None] * step)
    return codebook, codebook[np.searchsorted(values, moved[codes + 128]), 0]


def on_grid(codebook: NDArray[np.floating]) -> Floats:
    """Values as int8 codes of one step can hold them, so that equal ones get equal codes."""
    step = float(np.abs(codebook).max(initial=0.0)) / _GRID or 1.0
    return np.asarray(np.rint(codebook / step) * step, np.float64)


def _vectors(vectors: Tensor, cost: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Lloyd's search from vectors drawn at random: [count, width], and the place of each."""
    generator = torch.Generator().manual_seed(0)
    distinct = torch.unique(vectors, dim=0)
    table = distinct[torch.randperm(len(distinct), generator=generator)[:count]]
    for _ in range(_LLOYD_ROUNDS):
        owner = _nearest(vectors, cost, table)
        sums = torch.zeros(2, *table.shape)
        sums[0].index_add_(0, owner, cost * vectors)
        sums[1].index_add_(0, owner, cost)
        table = torch.where(sums[1] > 0, sums[0] / sums[1].clamp_min(_LEAST), table)
    return table, _nearest(vectors, cost, table)


def _nearest(vectors: Tensor, cost: Tensor, table: Tensor) -> Tensor:
    owner: Tensor = (cost @ (table**2).T - 2 * (cost * vectors) @ table.T).argmin(1)
    return owner
