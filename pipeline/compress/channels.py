"""Which channels can be taken out of a network: who makes them, and who reads them.

The network is traced symbolically (torch.fx). From a convolution or dense layer its output channels
are followed through what treats every channel alike, up to the layers that read them. Channels
that also reach a sum, a concatenation or the output are kept: others count on their number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from edgefactor.pipeline.compress.shared_weight import weight_of

_ALIKE_MODULES = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.Hardswish,
    nn.SiLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.Dropout,
    nn.Dropout2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Identity,
    nn.ZeroPad2d,
)
_ALIKE_FUNCTIONS = {
    torch.relu,
    F.relu,
    F.relu6,
    F.leaky_relu,
    F.hardswish,
    F.silu,
    torch.sigmoid,
    torch.tanh,
    F.dropout,
    F.max_pool2d,
    F.avg_pool2d,
    F.adaptive_avg_pool2d,
    torch.max_pool2d,
}
_ALIKE_METHODS = {"relu", "sigmoid", "tanh", "contiguous"}
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(slots=True, kw_only=True)
class Channels:
    """The output channels of one layer.

    Attributes:
        producer: The layer's path.
        norms: Batch norms that they pass.
        depthwise: Depthwise convolutions that they pass.
        readers: Path of each layer that reads them -> values it has of each channel (more than 1
            for a dense layer after flattening).
        blocked: Why they cannot be taken out; empty if they can.
    """

    producer: str
    norms: list[str] = field(default_factory=list)
    depthwise: list[str] = field(default_factory=list)
    readers: dict[str, int] = field(default_factory=dict)
    blocked: str = ""


def trace(model: nn.Module) -> fx.GraphModule | None:
    """The network as a graph of calls; None where its code depends on values."""
    try:
        return fx.symbolic_trace(model)
    except Exception:
        return None


def follow(graph: fx.GraphModule, producer: str) -> Channels:
    """Follows the output channels of the layer `producer`."""
    found = Channels(producer=producer)
    modules = dict(graph.named_modules())
    calls = [node for node in graph.graph.nodes if node.op == "call_module"]
    starts = [node for node in calls if node.target == producer]
    if len(starts) != 1:
        found.blocked = f"it is called {len(starts)} times"
        return found
    outputs = _outputs(modules[producer])
    pending: list[tuple[fx.Node, bool]] = [(user, False) for user in starts[0].users]
    while pending and not found.blocked:
        node, flat = pending.pop()
        step = _step(node, modules, found, outputs, flat)
        if step is not None:
            pending += [(user, step) for user in node.users]
    if not found.blocked and not found.readers:
        found.blocked = "nothing reads it"
    return found


def _step(
    node: fx.Node, modules: dict[str, nn.Module], found: Channels, outputs: int, flat: bool
) -> bool | None:
    """Whether the channels lie flat after `node`; None where the path ends."""
    target: Any = node.target
    if node.op == "call_module":
        module = modules[str(target)]
        if isinstance(module, _ALIKE_MODULES):
            return flat
        if isinstance(module, nn.Flatten) and module.start_dim == 1:
            return True
        if isinstance(module, _NORMS) and not (flat and module.num_features != outputs):
            found.norms.append(str(target))
            return flat
        if isinstance(module, nn.Linear) and module.in_features % outputs == 0:
            found.readers[str(target)] = module.in_features // outputs
            return None
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            found.readers[str(target)] = 1
            return None
        if isinstance(module, nn.Conv2d) and module.groups == outputs == module.out_channels:
            found.depthwise.append(str(target))
            return flat
    elif node.op == "call_function" and target in _ALIKE_FUNCTIONS:
        return flat
    elif node.op == "call_function" and target is torch.flatten and _from_channels(node):
        return True
    elif node.op == "call_function" and target is F.pad:
        if len(node.args[1]) <= 4:  # type: ignore[arg-type]
            return flat
    elif node.op == "call_method" and target in _ALIKE_METHODS:
        return flat
    elif node.op == "call_method" and target == "flatten" and _from_channels(node):
        return True
    elif node.op == "call_method" and target == "mean" and node.args[1:] in (((2, 3),), ([2, 3],)):
        return flat
    found.blocked = f"its channels go on into {target}"
    return None


def _from_channels(node: fx.Node) -> bool:
    start = node.args[1] if len(node.args) > 1 else node.kwargs.get("start_dim", 0)
    return bool(start == 1)


def _outputs(module: nn.Module) -> int:
    return module.out_channels if isinstance(module, nn.Conv2d) else len(weight_of(module))
