"""Steps that move or choose elements."""

import numpy as np

from tests.zoo.networks.network import LARGEST, Network


def transpose(net: Network, x: str) -> None:
    shape = net.shape(x)
    rest = list(range(1, len(shape)))
    perm = [0]
    while rest:
        perm.append(rest.pop(net.draw.integer(0, len(rest) - 1)))
    net.node("Transpose", [x], tuple(shape[axis] for axis in perm), perm=perm)


def reshape(net: Network, x: str) -> None:
    left = int(np.prod(net.shape(x)))
    sizes = [1]
    for _ in range(net.draw.integer(0, 2)):
        size = net.choose([s for s in range(1, left + 1) if left % s == 0])
        sizes.append(size)
        left //= size
    new = (*sizes, left)
    net.node("Reshape", [x, net.constant(np.array(new, np.int64))], new)


def slice_(net: Network, x: str) -> None:
    shape = list(net.shape(x))
    axis = net.draw.integer(1, len(shape) - 1)
    start = net.draw.integer(0, shape[axis] - 1)
    end, step = net.draw.integer(start + 1, shape[axis]), net.draw.integer(1, 3)
    numbers = [net.constant(np.array([n], np.int64)) for n in (start, end, axis, step)]
    shape[axis] = -(-(end - start) // step)
    net.node("Slice", [x, *numbers], tuple(shape))


def take(net: Network, x: str) -> None:
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


def split(net: Network, x: str) -> None:
    shape = net.shape(x)
    axis = net.draw.integer(1, len(shape) - 1)
    if shape[axis] < 2:
        return
    first = net.draw.integer(1, shape[axis] - 1)
    sizes = (first, shape[axis] - first)
    parts = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
    net.node("Split", [x, net.constant(np.array(sizes, np.int64))], *parts, axis=axis)


def concat(net: Network, x: str) -> None:
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


def pad(net: Network, x: str) -> None:
    shape = net.shape(x)
    amounts = np.zeros((2, len(shape)), np.int64)
    for axis in range(1, len(shape)):
        amounts[:, axis] = net.draw.integer(0, 2), net.draw.integer(0, 1)
    out = tuple(int(size) for size in np.array(shape) + amounts.sum(axis=0))
    if np.prod(out) <= LARGEST:
        net.node("Pad", [x, net.constant(amounts.reshape(-1))], out)
