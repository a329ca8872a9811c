"""PyTorch operators that its own ONNX exporter lacks, written as ONNX operators.

``torch.onnx.export`` takes them as ``custom_translation_table``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnxscript
import torch

_op: Any = onnxscript.opset18


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
                    value,
                    _op.Constant(value_ints=[i * size // count]),
                    _op.Constant(value_ints=[-(-(i + 1) * size // count)]),
                    _op.Constant(value_ints=[axis]),
                ),
                _op.Constant(value_ints=[axis]),
                keepdims=1,
            )
            for i in range(count)
        ]
        value = parts[0] if count == 1 else _op.Concat(*parts, axis=axis)
    return value, _op.NonZero(x)


TRANSLATIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.adaptive_max_pool2d.default: _adaptive_max_pool2d,
}
