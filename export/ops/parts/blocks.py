"""Channels to pixels and back: DepthToSpace (pixel shuffle) and SpaceToDepth, as one transpose.

With the axes of an NHWC map split into blocks, both are a swap of axes that a Transpose does on
every runtime alike; reshapes around it are free.
"""

from __future__ import annotations

from edgefactor.export.ir import Op
from edgefactor.export.ops.family import Lowering, Node, Shape
from edgefactor.export.ops.parts.layouts import Perm


def _transposed(
    lowering: Lowering, move: type[Op], tensor: str, split: Shape, perm: Perm, merged: Shape
) -> str:
    view = lowering.view(tensor, split)
    moved = lowering.emit(move, [view], tuple(split[axis] for axis in perm), perm=perm)
    return lowering.view(moved, merged)


def lower_blocks(node: Node, lowering: Lowering, move: type[Op]) -> None:
    """Lower DepthToSpace (modes DCR and CRD) or SpaceToDepth of one NCHW map.

    Args:
        node: The node.
        lowering: Where to.
        move: The Transpose operator.
    """
    size = int(node.attributes["blocksize"])
    tensor = lowering.channels_last(node.input(0))
    batch, height, width, channels = lowering.graph_shape(tensor)
    if batch != 1:
        lowering.unsupported(node, f"its batch is {batch}", "use a batch of 1")
    split: Shape
    perm: Perm
    if node.op_type == "SpaceToDepth":
        height, width = height // size, width // size
        split = (height, size, width, size * channels)
        merged = (1, height, width, size * size * channels)
        perm = (0, 2, 1, 3)
    else:
        depth = channels // (size * size)
        merged = (1, height * size, width * size, depth)
        if node.attributes.get("mode", "DCR") == "DCR":
            split, perm = (height, width, size, size * depth), (0, 2, 1, 3)
        else:
            split, perm = (height, width, depth, size, size), (0, 3, 1, 4, 2)
    result = _transposed(lowering, move, tensor, split, perm, merged)
    lowering.bind_channels_last(node.outputs[0], result)
