"""The layers that benchmarks/kernels.py counts, as one ONNX model of independent nodes.

Shapes are those of MLPerf Tiny's networks and of a MobileNet at 96x96, and one of each option.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

SAME3 = [1, 1, 1, 1]
LATER = [0, 0, 1, 1]
OPSET = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One node.

    Attributes:
        name: For people.
        group: "convolution", "depthwise", "dense" or "other".
        operator: Of ONNX.
        inputs: Shapes as ONNX has them (NCHW).
        weights: Shape of the weights; empty for none.
        constants: Further inputs, in order.
        attributes: Of the node.
    """

    name: str
    group: str
    operator: str
    inputs: tuple[tuple[int, ...], ...]
    weights: tuple[int, ...] = ()
    constants: tuple[NDArray[Any], ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()


def _conv(
    name: str,
    size: tuple[int, int, int],
    out: int,
    kernel: tuple[int, int] = (1, 1),
    *,
    pads: list[int] | None = None,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> Case:
    """``size`` is rows, columns, channels."""
    height, width, channels = size
    depthwise = groups == channels and groups > 1
    return Case(
        name=name,
        group="depthwise" if depthwise else "convolution",
        operator="Conv",
        inputs=((1, channels, height, width),),
        weights=(out, channels // groups, *kernel),
        attributes=(
            ("pads", pads or [0, 0, 0, 0]),
            ("strides", [stride, stride]),
            ("dilations", [dilation, dilation]),
            ("group", groups),
        ),
    )


def _dense(inputs: int, outputs: int) -> Case:
    return Case(
        name=f"dense {inputs}->{outputs}",
        group="dense",
        operator="Gemm",
        inputs=((1, inputs),),
        weights=(outputs, inputs),
        attributes=(("transB", 1),),
    )


def _other(name: str, operator: str, *inputs: tuple[int, ...], **attributes: Any) -> Case:
    return Case(
        name=name,
        group="other",
        operator=operator,
        inputs=inputs,
        attributes=tuple(attributes.items()),
    )


_MAP = (1, 16, 32, 32)
_EMPTY = np.array([], np.float32)
_TWICE = np.array([1, 1, 2, 2], np.float32)

CASES: tuple[Case, ...] = (
    _conv("1x1 64->64 25x5", (25, 5, 64), 64),
    _conv("1x1 128->256 6x6", (6, 6, 128), 256),
    _conv("1x1 16->32 /2 32x32", (32, 32, 16), 32, stride=2),
    _conv("1x1 8->16 48x48", (48, 48, 8), 16),
    _conv("3x3 3->16 32x32", (32, 32, 3), 16, (3, 3), pads=SAME3),
    _conv("3x3 16->16 32x32", (32, 32, 16), 16, (3, 3), pads=SAME3),
    _conv("3x3 32->64 /2 16x16", (16, 16, 32), 64, (3, 3), stride=2, pads=LATER),
    _conv("3x3 64->64 8x8", (8, 8, 64), 64, (3, 3), pads=SAME3),
    _conv("10x4 1->64 /2 49x10", (49, 10, 1), 64, (10, 4), stride=2, pads=[4, 1, 5, 1]),
    _conv("5x5 16->32 /2 16x16", (16, 16, 16), 32, (5, 5), stride=2, pads=[2, 2, 2, 2]),
    _conv("3x3 32->32 of 4 groups 16x16", (16, 16, 32), 32, (3, 3), groups=4, pads=SAME3),
    _conv("3x3 16->16 dilated 2 32x32", (32, 32, 16), 16, (3, 3), dilation=2, pads=[2, 2, 2, 2]),
    _conv("1x9 16->32 1x128", (1, 128, 16), 32, (1, 9), pads=[0, 4, 0, 4]),
    _conv("depthwise 3x3 64 25x5", (25, 5, 64), 64, (3, 3), groups=64, pads=SAME3),
    _conv("depthwise 3x3 8 48x48", (48, 48, 8), 8, (3, 3), groups=8, pads=SAME3),
    _conv("depthwise 3x3 16 /2 48x48", (48, 48, 16), 16, (3, 3), groups=16, stride=2, pads=LATER),
    _conv("depthwise 5x5 32 12x12", (12, 12, 32), 32, (5, 5), groups=32, pads=[2, 2, 2, 2]),
    _conv("depthwise 5x5 16 /2 24x24", (24, 24, 16), 16, (5, 5), groups=16, stride=2,
          pads=[1, 1, 2, 2]),
    _conv("depthwise 7x7 32 8x8", (8, 8, 32), 32, (7, 7), groups=32, pads=[3, 3, 3, 3]),
    _conv("depthwise 1x9 32 1x128", (1, 128, 32), 32, (1, 9), groups=32, pads=[0, 4, 0, 4]),
    _conv("depthwise 1x3 32 dilated 4 1x128", (1, 128, 32), 32, (1, 3), groups=32, dilation=4,
          pads=[0, 4, 0, 4]),
    _conv("depthwise 3x3 16 x2 12x12", (12, 12, 16), 32, (3, 3), groups=16, pads=SAME3),
    _conv("depthwise 3x3 32 dilated 2 12x12", (12, 12, 32), 32, (3, 3), groups=32, dilation=2,
          pads=[2, 2, 2, 2]),
    _dense(640, 128),
    _dense(128, 128),
    _dense(128, 640),
    _dense(64, 10),
    _dense(8, 128),
    _other("max pool 2x2 16 32x32", "MaxPool", _MAP, kernel_shape=[2, 2], strides=[2, 2]),
    _other("average pool 2x2 16 32x32", "AveragePool", _MAP, kernel_shape=[2, 2], strides=[2, 2]),
    _other("average pool 8x8 64", "AveragePool", (1, 64, 8, 8), kernel_shape=[8, 8]),
    _other("add 16 32x32", "Add", _MAP, _MAP),
    _other("mul 16 32x32", "Mul", _MAP, _MAP),
    _other("mul 16 32x32 by channel", "Mul", _MAP, (1, 16, 1, 1)),
    _other("concat 16+16 32x32", "Concat", _MAP, _MAP, axis=1),
    Case(name="pad 1 16 32x32", group="other", operator="Pad", inputs=(_MAP,),
         constants=(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),)),
    Case(name="resize nearest x2 16 32x32", group="other", operator="Resize", inputs=(_MAP,),
         constants=(_EMPTY, _TWICE), attributes=(
             ("mode", "nearest"), ("nearest_mode", "floor"),
             ("coordinate_transformation_mode", "asymmetric"))),
    _other("table (sigmoid) 16 32x32", "Sigmoid", _MAP),
    _other("tanh 16 32x32", "Tanh", _MAP),
    _other("relu 16 32x32", "Relu", _MAP),
    _other("softmax 12", "Softmax", (1, 12), axis=1),
    _other("softmax 100", "Softmax", (1, 100), axis=1),
    _other("softmax 64 of 64", "Softmax", (1, 64, 64), axis=2),
    Case(name="layer norm 64 of 64", group="other", operator="LayerNormalization",
         inputs=((1, 64, 64),), constants=(np.ones(64, np.float32), np.zeros(64, np.float32))),
    _other("matmul 64x16x64 of 4", "MatMul", (1, 4, 64, 16), (1, 4, 16, 64)),
    _other("matmul 64x64x16 of 4", "MatMul", (1, 4, 64, 64), (1, 4, 64, 16)),
)  # fmt: skip


def model_of(cases: tuple[Case, ...]) -> onnx.ModelProto:
    """One ONNX model with every case between inputs and an output of its own.

    Input *j* of case *i* is ``x<i>_<j>``, its output ``y<i>``; weights are seeded.
    """
    generator = np.random.default_rng(0)
    nodes, inputs, outputs, initializers = [], [], [], []
    for index, case in enumerate(cases):
        names = [f"x{index}_{place}" for place in range(len(case.inputs))]
        inputs += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip(names, case.inputs, strict=True)
        ]
        constants = list(case.constants)
        if case.weights:
            constants.append(generator.normal(size=case.weights).astype(np.float32))
            constants.append(generator.normal(size=case.weights[0]).astype(np.float32))
        for place, array in enumerate(constants):
            names.append(f"c{index}_{place}")
            initializers.append(numpy_helper.from_array(array, names[-1]))
        output = f"y{index}"
        nodes.append(
            helper.make_node(
                case.operator, names, [output], name=f"case{index}", **dict(case.attributes)
            )
        )
        outputs.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    graph = helper.make_graph(nodes, "kernels", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
