"""Steps of maps and sequences: convolutions, pools, sizes."""

from typing import Any

import numpy as np

from tests.zoo.networks.network import LARGEST, Network


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


def conv(net: Network, x: str) -> None:
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


def conv_transpose(net: Network, x: str) -> None:
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


def pool(net: Network, x: str) -> None:
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


def global_pool(net: Network, x: str) -> None:
    shape = net.shape(x)
    kind = net.choose(["GlobalAveragePool", "GlobalMaxPool"])
    net.node(kind, [x], (*shape[:2], *(1 for _ in shape[2:])))


def batch_norm(net: Network, x: str) -> None:
    channels = net.shape(x)[1]
    rows = net.generator.uniform(0.5, 1.5, (2, channels)).astype(np.float32)
    values = [net.constant(rows[0]), net.normal(channels), net.normal(channels)]
    net.node("BatchNormalization", [x, *values, net.constant(rows[1])], net.shape(x))


def resize(net: Network, x: str) -> None:
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


def blocks(net: Network, x: str) -> None:
    n, channels, height, width = net.shape(x)
    if channels % 4 == 0:
        mode = net.choose(["DCR", "CRD"])
        shape = (n, channels // 4, 2 * height, 2 * width)
        net.node("DepthToSpace", [x], shape, blocksize=2, mode=mode)
    elif height % 2 == width % 2 == 0:
        net.node("SpaceToDepth", [x], (n, 4 * channels, height // 2, width // 2), blocksize=2)
