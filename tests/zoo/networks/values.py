"""Steps that compute, element by element or over whole axes."""

import numpy as np

from tests.zoo.networks.network import LARGEST, Network, Shape


def _broadcasts(shape: Shape, other: Shape) -> bool:
    pairs = zip(shape[::-1], other[::-1], strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs) and len(shape) == len(other)


def dense(net: Network, x: str) -> None:
    shape = net.shape(x)
    out = net.draw.integer(1, 6)
    if len(shape) == 2 and net.flag():
        net.node("Gemm", [x, net.normal(out, shape[1]), net.normal(out)], (shape[0], out), transB=1)
    else:
        net.node("MatMul", [x, net.normal(shape[-1], out)], (*shape[:-1], out))


def norm(net: Network, x: str) -> None:
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


def product(net: Network, x: str) -> None:
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


def unary(net: Network, x: str) -> None:
    kind = net.choose(["Relu", "Sigmoid", "Tanh", "HardSwish", "Abs", "Neg", "Identity"])
    net.node(kind, [x], net.shape(x))


def table(net: Network, x: str) -> None:
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


def unary_with_numbers(net: Network, x: str) -> None:
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


def softmax(net: Network, x: str) -> None:
    kind = net.choose(["Softmax", "Softmax", "LogSoftmax", "Hardmax"])
    rank = len(net.shape(x))
    net.node(kind, [x], net.shape(x), axis=net.draw.integer(1, rank - 1))


def reduce(net: Network, x: str) -> None:
    shape = net.shape(x)
    kind = net.choose(["ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin", "ReduceL1", "ReduceL2"])
    axes = [axis for axis in range(1, len(shape)) if net.flag()] or [len(shape) - 1]
    keep = net.flag()
    out = tuple(
        1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes
    )
    inputs = [x, net.constant(np.array(axes, np.int64))]
    net.node(kind, inputs, out, keepdims=int(keep))


def binary(net: Network, x: str) -> None:
    kind, shape = net.choose(["Add", "Sub", "Mul", "Max", "Min"]), net.shape(x)
    fitting = [name for name, other in net.numbers.items() if _broadcasts(shape, other)]
    other = net.choose(fitting)
    pair = [x, other] if net.flag() else [other, x]
    net.node(kind, pair, tuple(np.broadcast_shapes(shape, net.shape(other))))


def where(net: Network, x: str) -> None:
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


def places(net: Network, x: str) -> None:
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
        table = net.normal(net.draw.integer(shape[axis], max(shape[axis], 9)), width)
        net.node("Gather", [table, found], (*out, width))


def with_constant(net: Network, x: str) -> None:
    kind, shape = net.choose(["Add", "Sub", "Mul", "Div", "Max", "Min"]), net.shape(x)
    seen = tuple(1 if net.flag() else size for size in shape)[net.draw.integer(0, len(shape)) :]
    numbers = net.generator.uniform(0.5, 2, seen).astype(np.float32)
    numbers *= net.generator.choice([-1, 1], seen).astype(np.float32)
    held = net.constant(numbers)
    pair = [held, x] if kind != "Div" and net.flag() else [x, held]
    net.node(kind, pair, shape)
