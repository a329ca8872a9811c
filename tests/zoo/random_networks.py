"""Small random networks of all claimed operators, as ONNX models.

Several inputs and outputs, branches that meet again, odd sizes, tensors that several operators
read, constants of every broadcast shape, any order of axes. What is drawn comes from hypothesis,
which can shrink it, or from a seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

T = TypeVar("T")
Shape = tuple[int, ...]
Real = NDArray[np.float32]
OPSET = 18
#: Elements that a tensor may have, at most.
LARGEST = 600


class Draw(Protocol):
    """Where decisions come from."""

    def integer(self, low: int, high: int) -> int:
        """A number in [low, high]."""


@dataclass(frozen=True, slots=True)
class SeededDraw:
    """Decisions from a generator."""

    generator: np.random.Generator

    def integer(self, low: int, high: int) -> int:
        return int(self.generator.integers(low, high + 1))


@dataclass(frozen=True, slots=True)
class HypothesisDraw:
    """Decisions from hypothesis; ``draw`` is what a composite strategy is given."""

    draw: Callable[..., Any]

    def integer(self, low: int, high: int) -> int:
        from hypothesis import strategies as st

        return int(self.draw(st.integers(low, high)))


@dataclass(slots=True)
class Network:
    """A network while it grows.

    Attributes:
        draw: Decides.
        generator: Gives weights.
        shapes: Shape of every activation, in order.
        truths: Those that are truth values or indices.
    """

    draw: Draw
    generator: np.random.Generator
    shapes: dict[str, Shape] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    truths: set[str] = field(default_factory=set)

    def choose(self, options: Sequence[T]) -> T:
        return options[self.draw.integer(0, len(options) - 1)]

    def flag(self) -> bool:
        return bool(self.draw.integer(0, 1))

    def constant(self, array: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def normal(self, *shape: int) -> str:
        return self.constant(self.generator.standard_normal(shape).astype(np.float32))

    def node(self, kind: str, inputs: Sequence[str], *shapes: Shape, **attributes: Any) -> str:
        names = [f"v{len(self.shapes) + index}" for index in range(len(shapes))]
        number = len(self.nodes)
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"n{number}", **attributes))
        self.shapes.update(zip(names, shapes, strict=True))
        return names[0]

    def truth(self, kind: str, inputs: Sequence[str], shape: Shape, **attributes: Any) -> str:
        """A node of truth values or indices, which few operators take."""
        self.truths.add(name := self.node(kind, inputs, shape, **attributes))
        return name

    @property
    def numbers(self) -> dict[str, Shape]:
        """The activations that any operator takes."""
        return {name: shape for name, shape in self.shapes.items() if name not in self.truths}

    def shape(self, value: str) -> Shape:
        return self.shapes[value]

    def model(self, outputs: Sequence[str], opset: int = OPSET) -> onnx.ModelProto:
        model = helper.make_model(
            helper.make_graph(
                self.nodes,
                "network",
                [self._info(name) for name in self.inputs],
                [self._info(name) for name in outputs],
                self.constants,
            ),
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=9,
        )
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)

    def _info(self, name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, self.shape(name))


def _window(net: Network, size: int) -> tuple[int, int, int, int, int]:
    """Kernel, stride, dilation, padding before and behind, for one axis."""
    kernel = net.draw.integer(1, min(size, 4))
    dilation = net.draw.integer(1, 2) if (kernel - 1) * 2 < size else 1
    before = net.draw.integer(0, min(kernel - 1, 2))
    behind = net.draw.integer(0, min(kernel - 1, 2))
    return kernel, net.draw.integer(1, 3), dilation, before, behind


def _spatial(size: int, window: tuple[int, int, int, int, int]) -> int:
    kernel, stride, dilation, before, behind = window
    return (size + before + behind - (kernel - 1) * dilation - 1) // stride + 1


def _conv(net: Network, x: str) -> None:
    n, channels, *sizes = net.shape(x)
    windows = [_window(net, size) for size in sizes]
    groups = net.choose([g for g in range(1, channels + 1) if channels % g == 0])
    out = groups * net.draw.integer(1, 3)
    kernel = [w[0] for w in windows]
    inputs = [x, net.normal(out, channels // groups, *kernel)]
    if net.flag():
        inputs.append(net.normal(out))
    net.node(
        "Conv",
        inputs,
        (n, out, *map(_spatial, sizes, windows)),
        group=groups,
        strides=[w[1] for w in windows],
        dilations=[w[2] for w in windows],
        pads=[*(w[3] for w in windows), *(w[4] for w in windows)],
        kernel_shape=kernel,
    )


def _conv_transpose(net: Network, x: str) -> None:
    n, channels, *sizes = net.shape(x)
    kernel = [net.draw.integer(1, 4) for _ in sizes]
    stride = [net.draw.integer(1, 3) for _ in sizes]
    before = [net.draw.integer(0, (k - 1) // 2) for k in kernel]
    behind = [net.draw.integer(0, (k - 1) // 2) for k in kernel]
    added = [net.draw.integer(0, s - 1) for s in stride]
    numbers = zip(sizes, kernel, stride, before, behind, added, strict=True)
    grown = [(size - 1) * s + k - b - e + a for size, k, s, b, e, a in numbers]
    groups, out = net.choose([(1, 1), (1, 2), (channels, 1)])
    if min(grown) < 1 or groups * out * int(np.prod(grown)) > LARGEST:
        return
    net.node(
        "ConvTranspose",
        [x, net.normal(channels, out, *kernel), net.normal(groups * out)],
        (n, groups * out, *grown),
        group=groups,
        strides=stride,
        pads=[*before, *behind],
        output_padding=added,
        kernel_shape=kernel,
    )


def _pool(net: Network, x: str) -> None:
    n, channels, *sizes = net.shape(x)
    kind = net.choose(["MaxPool", "AveragePool"])
    windows = [(k, s, 1, b, e) for k, s, _, b, e in (_window(net, size) for size in sizes)]
    attributes: dict[str, Any] = {}
    if kind == "AveragePool":
        attributes["count_include_pad"] = net.draw.integer(0, 1)
    net.node(
        kind,
        [x],
        (n, channels, *map(_spatial, sizes, windows)),
        kernel_shape=[w[0] for w in windows],
        strides=[w[1] for w in windows],
        pads=[*(w[3] for w in windows), *(w[4] for w in windows)],
        **attributes,
    )


def _global_pool(net: Network, x: str) -> None:
    shape = net.shape(x)
    kind = net.choose(["GlobalAveragePool", "GlobalMaxPool"])
    net.node(kind, [x], (*shape[:2], *(1 for _ in shape[2:])))


def _batch_norm(net: Network, x: str) -> None:
    channels = net.shape(x)[1]
    rows = net.generator.uniform(0.5, 1.5, (2, channels)).astype(np.float32)
    values = [net.constant(rows[0]), net.normal(channels), net.normal(channels)]
    net.node("BatchNormalization", [x, *values, net.constant(rows[1])], net.shape(x))


def _resize(net: Network, x: str) -> None:
    n, channels, height, width = net.shape(x)
    rows, columns = net.draw.integer(1, 3), net.draw.integer(1, 3)
    if n * channels * height * rows * width * columns > LARGEST:
        return
    if net.flag():
        size = net.draw.integer(1, 2 * height), net.draw.integer(1, 2 * width)
        mode = net.choose(["linear", "nearest"])
        transformation = net.choose(["half_pixel", "align_corners", "asymmetric"])
        if n * channels * size[0] * size[1] <= LARGEST:
            sizes = net.constant(np.array([n, channels, *size], np.int64))
            net.node(
                "Resize",
                [x, "", "", sizes],
                (n, channels, *size),
                mode=mode,
                coordinate_transformation_mode=transformation,
            )
        return
    net.node(
        "Resize",
        [x, "", net.constant(np.array([1, 1, rows, columns], np.float32))],
        (n, channels, height * rows, width * columns),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _blocks(net: Network, x: str) -> None:
    n, channels, height, width = net.shape(x)
    if channels % 4 == 0:
        mode = net.choose(["DCR", "CRD"])
        shape = (n, channels // 4, 2 * height, 2 * width)
        net.node("DepthToSpace", [x], shape, blocksize=2, mode=mode)
    elif height % 2 == width % 2 == 0:
        net.node("SpaceToDepth", [x], (n, 4 * channels, height // 2, width // 2), blocksize=2)


def _dense(net: Network, x: str) -> None:
    shape = net.shape(x)
    out = net.draw.integer(1, 6)
    if len(shape) == 2 and net.flag():
        net.node("Gemm", [x, net.normal(out, shape[1]), net.normal(out)], (shape[0], out), transB=1)
    else:
        net.node("MatMul", [x, net.normal(shape[-1], out)], (*shape[:-1], out))


def _norm(net: Network, x: str) -> None:
    shape = net.shape(x)
    kind = net.choose(["LayerNormalization", "InstanceNormalization"])
    if kind == "InstanceNormalization":
        if len(shape) > 2 and min(np.prod(shape[2:]), 2) > 1:
            net.node(kind, [x, net.normal(shape[1]), net.normal(shape[1])], shape, epsilon=1e-3)
        return
    axis = net.draw.integer(1, len(shape) - 1)
    affine = [net.normal(*shape[axis:])]
    if net.flag():
        affine.append(net.normal(*shape[axis:]))
    net.node(kind, [x, *affine], shape, axis=axis, epsilon=1e-3)


def _product(net: Network, x: str) -> None:
    """With itself, transposed, or with any value that fits; sometimes as attention does it."""
    shape = net.shape(x)
    swap = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    fitting = [
        name
        for name, other in net.numbers.items()
        if len(other) == len(shape) > 1
        and other[-2] == shape[-1]
        and _broadcasts((*shape[:-2], 1, 1), (*other[:-2], 1, 1))
    ]
    other = net.choose([*fitting, ""])
    if not other:
        turned = tuple(shape[axis] for axis in swap)
        other = net.node("Transpose", [x], turned, perm=list(swap))
    batch = np.broadcast_shapes(shape[:-2], net.shape(other)[:-2])
    out = (*batch, shape[-2], net.shape(other)[-1])
    if np.prod(out) > LARGEST:
        return
    scores = net.node("MatMul", [x, other], out)
    if net.flag():
        scaled = net.node("Mul", [scores, net.constant(np.float32(0.3))], out)
        net.node("Softmax", [scaled], out, axis=len(out) - 1)


def _unary(net: Network, x: str) -> None:
    kind = net.choose(["Relu", "Sigmoid", "Tanh", "HardSwish", "Abs", "Neg", "Identity"])
    net.node(kind, [x], net.shape(x))


def _table(net: Network, x: str) -> None:
    """Functions that are finite everywhere, and some made of several operators."""
    shape = net.shape(x)
    kind = net.choose(["Erf", "Softplus", "Elu", "Selu", "Celu", "Softsign", "Sin", "GELU", "Root"])
    if kind == "GELU":
        inner = net.node("Erf", [x], shape)
        one = net.constant(np.float32(1))
        net.node("Mul", [x, net.node("Add", [inner, one], shape)], shape)
    elif kind == "Root":
        square = net.node("Mul", [x, x], shape)
        more = net.node("Add", [square, net.constant(np.float32(0.5))], shape)
        net.node("Div", [x, net.node("Sqrt", [more], shape)], shape)
    else:
        net.node(kind, [x], shape)


def _unary_with_numbers(net: Network, x: str) -> None:
    kind = net.choose(["Clip", "LeakyRelu", "HardSigmoid", "SiLU", "PRelu"])
    shape = net.shape(x)
    if kind == "SiLU":
        net.node("Mul", [x, net.node("Sigmoid", [x], shape)], shape)
    elif kind == "PRelu":
        if len(shape) > 2:
            net.node("PRelu", [x, net.normal(shape[1], *(1 for _ in shape[2:]))], shape)
    elif kind == "Clip":
        ends = sorted(net.generator.uniform(-1, 1, 2))
        net.node("Clip", [x, *(net.constant(np.float32(end)) for end in ends)], shape)
    else:
        net.node(kind, [x], shape, alpha=float(net.generator.uniform(0.05, 0.5)))


def _softmax(net: Network, x: str) -> None:
    kind = net.choose(["Softmax", "Softmax", "LogSoftmax", "Hardmax"])
    rank = len(net.shape(x))
    net.node(kind, [x], net.shape(x), axis=net.draw.integer(1, rank - 1))


def _transpose(net: Network, x: str) -> None:
    shape = net.shape(x)
    rest = list(range(1, len(shape)))
    perm = [0]
    while rest:
        perm.append(rest.pop(net.draw.integer(0, len(rest) - 1)))
    net.node("Transpose", [x], tuple(shape[axis] for axis in perm), perm=perm)


def _reshape(net: Network, x: str) -> None:
    left = int(np.prod(net.shape(x)))
    sizes = [1]
    for _ in range(net.draw.integer(0, 2)):
        size = net.choose([s for s in range(1, left + 1) if left % s == 0])
        sizes.append(size)
        left //= size
    new = (*sizes, left)
    net.node("Reshape", [x, net.constant(np.array(new, np.int64))], new)


def _slice(net: Network, x: str) -> None:
    shape = list(net.shape(x))
    axis = net.draw.integer(1, len(shape) - 1)
    start = net.draw.integer(0, shape[axis] - 1)
    end, step = net.draw.integer(start + 1, shape[axis]), net.draw.integer(1, 3)
    numbers = [net.constant(np.array([n], np.int64)) for n in (start, end, axis, step)]
    shape[axis] = -(-(end - start) // step)
    net.node("Slice", [x, *numbers], tuple(shape))


def _take(net: Network, x: str) -> None:
    """Elements in any order; mirrored; repeated; edges that repeat."""
    shape = list(net.shape(x))
    axis = net.draw.integer(1, len(shape) - 1)
    kind = net.choose(["Gather", "Slice", "Tile", "Pad"])
    size = shape[axis]
    if kind == "Gather":
        chosen = [net.draw.integer(-size, size - 1) for _ in range(net.draw.integer(1, 4))]
        shape[axis] = len(chosen)
        net.node(kind, [x, net.constant(np.array(chosen, np.int64))], tuple(shape), axis=axis)
    elif kind == "Slice":
        numbers = [net.constant(np.array([n], np.int64)) for n in (-1, -size - 1, axis, -1)]
        net.node(kind, [x, *numbers], tuple(shape))
    elif kind == "Tile":
        repeats = np.array([1 + (a == axis) for a in range(len(shape))], np.int64)
        shape[axis] *= 2
        if np.prod(shape) <= LARGEST:
            net.node(kind, [x, net.constant(repeats)], tuple(shape))
    else:
        mode = net.choose(["reflect", "edge"]) if size > 1 else "edge"
        amounts = np.zeros((2, len(shape)), np.int64)
        amounts[:, axis] = 1, net.draw.integer(0, 1)
        shape[axis] += int(amounts.sum())
        if np.prod(shape) <= LARGEST:
            net.node(kind, [x, net.constant(amounts.reshape(-1))], tuple(shape), mode=mode)


def _split(net: Network, x: str) -> None:
    shape = net.shape(x)
    axis = net.draw.integer(1, len(shape) - 1)
    if shape[axis] < 2:
        return
    first = net.draw.integer(1, shape[axis] - 1)
    sizes = (first, shape[axis] - first)
    parts = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
    net.node("Split", [x, net.constant(np.array(sizes, np.int64))], *parts, axis=axis)


def _concat(net: Network, x: str) -> None:
    shape = net.shape(x)
    axis = net.draw.integer(1, len(shape) - 1)
    rest = shape[:axis] + shape[axis + 1 :]
    fitting = [
        name
        for name, other in net.numbers.items()
        if len(other) == len(shape) and other[:axis] + other[axis + 1 :] == rest
    ]
    parts = [x, net.choose(fitting)]
    lengths = [net.shape(part)[axis] for part in parts]
    if net.flag():
        lengths.append(net.draw.integer(1, 3))
        parts.append(net.normal(*shape[:axis], lengths[-1], *shape[axis + 1 :]))
    out = (*shape[:axis], sum(lengths), *shape[axis + 1 :])
    if np.prod(out) <= LARGEST:
        net.node("Concat", parts, out, axis=axis)


def _pad(net: Network, x: str) -> None:
    shape = net.shape(x)
    amounts = np.zeros((2, len(shape)), np.int64)
    for axis in range(1, len(shape)):
        amounts[:, axis] = net.draw.integer(0, 2), net.draw.integer(0, 1)
    out = tuple(int(size) for size in np.array(shape) + amounts.sum(axis=0))
    if np.prod(out) <= LARGEST:
        net.node("Pad", [x, net.constant(amounts.reshape(-1))], out)


def _reduce(net: Network, x: str) -> None:
    shape = net.shape(x)
    kind = net.choose(["ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin", "ReduceL1", "ReduceL2"])
    axes = [axis for axis in range(1, len(shape)) if net.flag()] or [len(shape) - 1]
    keep = net.flag()
    out = tuple(
        1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes
    )
    inputs = [x, net.constant(np.array(axes, np.int64))]
    net.node(kind, inputs, out, keepdims=int(keep))


def _binary(net: Network, x: str) -> None:
    kind, shape = net.choose(["Add", "Sub", "Mul", "Max", "Min"]), net.shape(x)
    fitting = [name for name, other in net.numbers.items() if _broadcasts(shape, other)]
    other = net.choose(fitting)
    pair = [x, other] if net.flag() else [other, x]
    net.node(kind, pair, tuple(np.broadcast_shapes(shape, net.shape(other))))


def _where(net: Network, x: str) -> None:
    """A choice between two values, or a value and a number, by comparisons."""
    shape = net.shape(x)
    fitting = [name for name, other in net.numbers.items() if _broadcasts(shape, other)]
    other = net.choose(fitting)
    whole = tuple(np.broadcast_shapes(shape, net.shape(other)))
    kind = net.choose(["Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
    against = other if net.flag() else net.constant(np.float32(net.generator.uniform(-1, 1)))
    truth = whole if against == other else shape
    condition = net.truth(kind, [x, against], truth)
    join = net.choose(["", "Not", "And", "Or"])
    if join == "Not":
        condition = net.truth("Not", [condition], truth)
    elif join:
        second = net.truth("Less", [x, other], whole)
        truth, condition = whole, net.truth(join, [condition, second], whole)
    if net.flag():
        net.node("Where", [condition, x, other], whole)
    elif net.flag():
        net.node("Where", [condition, net.constant(np.float32(0.5)), other], whole)
    else:
        net.node("Cast", [condition], truth, to=1)


def _places(net: Network, x: str) -> None:
    """Where an extreme is, as a number or as the row of a table."""
    shape = net.shape(x)
    axis = net.draw.integer(1, len(shape) - 1)
    out = (*shape[:axis], *shape[axis + 1 :])
    kind = net.choose(["ArgMax", "ArgMin"])
    found = net.truth(kind, [x], out, axis=axis, keepdims=0)
    if net.flag():
        net.node("Cast", [found], out, to=1)
    else:
        width = net.draw.integer(1, 3)
        table = net.normal(net.draw.integer(shape[axis], 9), width)
        net.node("Gather", [table, found], (*out, width))


def _with_constant(net: Network, x: str) -> None:
    kind, shape = net.choose(["Add", "Sub", "Mul", "Div", "Max", "Min"]), net.shape(x)
    seen = tuple(1 if net.flag() else size for size in shape)[net.draw.integer(0, len(shape)) :]
    numbers = net.generator.uniform(0.5, 2, seen).astype(np.float32)
    numbers *= net.generator.choice([-1, 1], seen).astype(np.float32)
    held = net.constant(numbers)
    pair = [held, x] if kind != "Div" and net.flag() else [x, held]
    net.node(kind, pair, shape)


def _broadcasts(shape: Shape, other: Shape) -> bool:
    pairs = zip(shape[::-1], other[::-1], strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs) and len(shape) == len(other)


#: What may follow a value, by its rank.
STEPS: dict[int, tuple[Callable[[Network, str], None], ...]] = {}
_ANY = (
    _dense, _product, _table, _unary, _unary_with_numbers, _softmax, _transpose, _reshape, _slice,
    _take, _split, _concat, _pad, _reduce, _binary, _binary, _where, _with_constant,
    _places,
)  # fmt: skip
STEPS[2] = _ANY
STEPS[3] = (*_ANY, _conv, _conv, _conv_transpose, _pool, _batch_norm, _global_pool)
STEPS[4] = (*STEPS[3], _conv, _conv, _resize, _blocks)


def random_network(draw: Draw, seed: int) -> onnx.ModelProto:
    """A model of one to three inputs and one to eight steps; what nothing reads is an output."""
    net = Network(draw, np.random.default_rng(seed))
    for index in range(draw.integer(1, 3)):
        rank = net.choose([4, 4, 3, 2])
        shape = (1, *(draw.integer(1, 7) for _ in range(rank - 1)))
        if index and net.flag():
            shape = net.shape(net.inputs[0])
        net.inputs.append(f"x{index}")
        net.shapes[f"x{index}"] = shape
    for _ in range(draw.integer(1, 8)):
        ready = [name for name, shape in net.numbers.items() if 2 <= len(shape) <= 4]
        # The newest values more often, so that networks are deep as well as wide.
        value = net.choose([*ready, *ready[-2:], ready[-1]])
        net.choose(STEPS[len(net.shape(value))])(net, value)
    if not net.nodes:
        net.node("Relu", [net.inputs[0]], net.shape(net.inputs[0]))
    read = {name for node in net.nodes for name in node.input}
    computed = [n for node in net.nodes for n in node.output if n not in net.truths]
    outputs = [name for name in computed if name not in read or draw.integer(0, 5) == 5]
    net.inputs = [name for name in net.inputs if name in read]
    return net.model(outputs)
