"""Padding by name (``auto_pad``) written as numbers, as ONNX Runtime wants it of dilated windows.

TorchScript's exporter writes ``padding="same"`` so. PyTorch allows it for stride 1 alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import helper

_SAME = ("SAME_UPPER", "SAME_LOWER")


def make_padding_explicit(model: onnx.ModelProto) -> None:
    """Replace ``auto_pad`` of convolutions of stride 1, in place.

    The output is as large as the input: ``dilation * (kernel - 1)`` is spread over both sides, and
    an odd one more goes to the end for SAME_UPPER (ONNX, operator Conv).
    """
    shapes = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        mode = attributes.get("auto_pad", b"NOTSET").decode()
        window = attributes.get("kernel_shape") or shapes.get(node.input[1], ())[2:]
        if mode not in _SAME or not window or set(attributes.get("strides", [1])) != {1}:
            continue
        _replace(node, _pads(mode, list(window), attributes))


def _pads(mode: str, window: list[int], attributes: Mapping[str, Any]) -> list[int]:
    dilations = attributes.get("dilations") or [1] * len(window)
    totals = [d * (size - 1) for d, size in zip(dilations, window, strict=True)]
    smaller, larger = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return smaller + larger if mode == "SAME_UPPER" else larger + smaller


def _replace(node: onnx.NodeProto, pads: list[int]) -> None:
    kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads")]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("pads", pads)])
