"""PyTorch operators that its own ONNX exporter lacks or writes as loops, as ONNX operators.

``torch.onnx.export`` takes them as ``custom_translation_table``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnxscript
import torch

from edgefactor.errors import UnsupportedOperatorError

_op: Any = onnxscript.opset18
#: Factors of a running product that are worth nodes of their own.
_MOST_FACTORS = 64


def _ints(*values: int) -> Any:
    return _op.Constant(value_ints=list(values))


def _adaptive_max_pool2d(x: Any, output_size: Sequence[int]) -> tuple[Any, Any]:
    """Windows that start at floor(i * size / count) and end at ceil((i + 1) * size / count).

    A maximum over a rectangle is one over rows of those over columns. Where the indices are read,
    the export refuses NonZero, which stands for them.
    """
    rank = len(x.shape)
    sizes = [int(size) for size in x.shape[rank - 2 :]]
    if rank == 4 and all(s % c == 0 for s, c in zip(sizes, output_size, strict=True)):
        windows = [s // c for s, c in zip(sizes, output_size, strict=True)]
        value, indices = _op.MaxPool(x, kernel_shape=windows, strides=windows)
        return value, indices
    value = x
    for axis, count in zip((rank - 2, rank - 1), output_size, strict=True):
        size = sizes[axis - rank]
        parts = [
            _op.ReduceMax(
                _op.Slice(
                    value, _ints(i * size // count), _ints(-(-(i + 1) * size // count)), _ints(axis)
                ),
                _ints(axis),
                keepdims=1,
            )
            for i in range(count)
        ]
        value = parts[0] if count == 1 else _op.Concat(*parts, axis=axis)
    return value, _op.NonZero(x)


def _cumprod(x: Any, dim: int, dtype: int = -1) -> Any:
    """Running products along an axis, one factor after another."""
    if not x.shape:
        return _op.Identity(x)
    axis = dim % len(x.shape)
    length = int(x.shape[axis])
    if length > _MOST_FACTORS:
        raise UnsupportedOperatorError(
            f"cumprod cannot be exported: {length} factors, and each adds its rounding to int8",
            found=f"an axis of {length} elements",
            expected=f"at most {_MOST_FACTORS}",
            hint="use the exponential of a cumsum of logarithms",
        )
    parts = [_op.Slice(x, _ints(i), _ints(i + 1), _ints(axis)) for i in range(length)]
    for index in range(1, length):
        parts[index] = _op.Mul(parts[index - 1], parts[index])
    return _op.Concat(*parts, axis=axis)


def _cdist(x: Any, y: Any, p: float, compute_mode: int | None = None) -> Any:
    """Distances of every row of x [..., P, M] from every one of y [..., R, M]: [..., P, R]."""
    difference = _op.Sub(_op.Unsqueeze(x, _ints(-2)), _op.Unsqueeze(y, _ints(-3)))
    if p == 2:
        return _op.ReduceL2(difference, _ints(-1), keepdims=0)
    if p == 1:
        return _op.ReduceL1(difference, _ints(-1), keepdims=0)
    if p == float("inf"):
        return _op.ReduceMax(_op.Abs(difference), _ints(-1), keepdims=0)
    raise UnsupportedOperatorError(
        f"cdist cannot be exported: its norm is of order {p:g}",
        expected="1, 2 or infinity",
        hint="subtract, and use powers and a sum",
    )


def _embedding_bag(
    weight: Any,
    indices: Any,
    offsets: Any,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[Any, Any, Any, Any]:
    """One bag: a batch of 1 is one row of indices. Modes are 0 sum, 1 mean and 2 maximum."""
    bags = int(offsets.shape[0]) - bool(include_last_offset)
    if bags != 1 or padding_idx not in (None, -1):
        raise UnsupportedOperatorError(
            "EmbeddingBag cannot be exported: "
            + ("it has padding_idx" if bags == 1 else f"it makes {bags} bags"),
            expected="one row of indices, without padding_idx",
            hint="use Embedding, a mask where there is padding, and a sum or mean",
        )
    rows = _op.Gather(weight, indices)
    if per_sample_weights is not None:
        rows = _op.Mul(rows, _op.Unsqueeze(per_sample_weights, _ints(-1)))
    reduce = (_op.ReduceSum, _op.ReduceMean, _op.ReduceMax)[mode]
    value = reduce(rows, _ints(0), keepdims=1)
    # The other results are for the gradient: nobody reads them, and they do not stay.
    return value, _op.Identity(indices), _op.Identity(offsets), _op.Identity(offsets)


TRANSLATIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.adaptive_max_pool2d.default: _adaptive_max_pool2d,
    torch.ops.aten.cumprod.default: _cumprod,
    torch.ops.aten._cdist_forward.default: _cdist,
    torch.ops.aten.embedding_bag.padding_idx: _embedding_bag,
    torch.ops.aten._embedding_bag.default: _embedding_bag,
    torch.ops.aten._embedding_bag_forward_only.default: _embedding_bag,
}
