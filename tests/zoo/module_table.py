"""Writes docs/torch-modules.md: the layers of torch.nn, and what each becomes.

All are traced together, with their float values compared with PyTorch's, quantized on one random
sample, and written in all forms. ``python -m tests.zoo.module_table`` writes the page.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edgefactor.errors import EdgefactorError
from edgefactor.export.ir import Graph, Op
from tests.export.graphs import lowered
from tests.pipeline.networks import give_statistics
from tests.tools import REPOSITORY
from tests.zoo.operator_table import c_functions, listed, tflite_builtins
from tests.zoo.together import Shape, Together, leaves, normal_inputs, steps_from_torch

TABLE = REPOSITORY / "docs" / "torch-modules.md"
COMMAND = "python -m tests.zoo.module_table"
_MAP, _LINE, _ROW, _TOKENS = (1, 4, 8, 8), (1, 4, 12), (1, 6), (1, 5, 8)
Made = Callable[[], nn.Module]


class Called(nn.Module):
    """A module that takes more than one tensor, or of whose results the first one counts."""

    def __init__(self, module: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.module = module
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.module, x)


def _called(make: Made, call: Callable[[nn.Module, Tensor], Tensor]) -> Made:
    return lambda: Called(make(), call)


def _with_itself_turned(module: nn.Module, x: Tensor) -> Tensor:
    return module(x, x.flip(1))


def _first(module: nn.Module, x: Tensor) -> Tensor:
    return module(x)[0]


def _attention(module: nn.Module, x: Tensor) -> Tensor:
    return module(x, x, x, need_weights=False)[0]


_ACTIVATIONS = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
    nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid,
    nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink,
)  # fmt: skip
#: What follows ``nn.`` -> what makes it, shape of its input.
MODULES: dict[str, tuple[Made, Shape]] = {
    **{kind.__name__: (kind, _MAP) for kind in _ACTIVATIONS},
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(4), _LINE),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((2, 4)), _MAP),
    "AdaptiveAvgPool2d, uneven": (lambda: nn.AdaptiveAvgPool2d(3), _MAP),
    "AdaptiveMaxPool1d": (lambda: nn.AdaptiveMaxPool1d(4), _LINE),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d(2), _MAP),
    "AdaptiveMaxPool2d, uneven": (lambda: nn.AdaptiveMaxPool2d(3), _MAP),
    "AlphaDropout": (nn.AlphaDropout, _ROW),
    "AvgPool1d": (lambda: nn.AvgPool1d(3), _LINE),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), _MAP),
    "AvgPool2d, padding left out": (
        lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        _MAP,
    ),
    "AvgPool3d": (lambda: nn.AvgPool3d(2), (1, 1, 4, 4, 4)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), _LINE),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4), _MAP),
    "Bilinear": (_called(lambda: nn.Bilinear(6, 6, 3), _with_itself_turned), _ROW),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), _MAP),
    "CircularPad1d": (lambda: nn.CircularPad1d(1), _LINE),
    "CircularPad2d": (lambda: nn.CircularPad2d(1), _MAP),
    "ConstantPad1d": (lambda: nn.ConstantPad1d(1, 0.3), _LINE),
    "ConstantPad2d": (lambda: nn.ConstantPad2d(1, 0.3), _MAP),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), _LINE),
    "Conv2d": (lambda: nn.Conv2d(4, 8, 3, padding=1), _MAP),
    "Conv2d, depthwise": (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4), _MAP),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 3, 4, 2, 1), _LINE),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 3, 2, 2), _MAP),
    "CosineSimilarity": (_called(nn.CosineSimilarity, _with_itself_turned), _ROW),
    "Dropout": (nn.Dropout, _ROW),
    "Dropout1d": (nn.Dropout1d, _LINE),
    "Dropout2d": (nn.Dropout2d, _MAP),
    "FeatureAlphaDropout": (nn.FeatureAlphaDropout, _MAP),
    "Flatten": (nn.Flatten, _MAP),
    "Fold": (lambda: nn.Fold((4, 4), 2, stride=2), (1, 8, 4)),
    "GLU": (lambda: nn.GLU(1), _MAP),
    "GRU": (_called(lambda: nn.GRU(8, 4, batch_first=True), _first), _TOKENS),
    "GRUCell": (lambda: nn.GRUCell(6, 4), _ROW),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), _MAP),
    "Identity": (nn.Identity, _ROW),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(4), _LINE),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4), _MAP),
    "LPPool1d": (lambda: nn.LPPool1d(2, 3), _LINE),
    "LPPool2d": (lambda: nn.LPPool2d(2, 2), _MAP),
    "LSTM": (_called(lambda: nn.LSTM(8, 4, batch_first=True), _first), _TOKENS),
    "LSTMCell": (_called(lambda: nn.LSTMCell(6, 4), _first), _ROW),
    "LayerNorm": (lambda: nn.LayerNorm(8), _TOKENS),
    "Linear": (lambda: nn.Linear(6, 5), _ROW),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3), _MAP),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), _ROW),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), _LINE),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), _MAP),
    "MaxPool2d, dilated": (lambda: nn.MaxPool2d(2, dilation=2), _MAP),
    "MaxPool3d": (lambda: nn.MaxPool3d(2), (1, 1, 4, 4, 4)),
    "MultiheadAttention": (
        _called(lambda: nn.MultiheadAttention(8, 2, batch_first=True), _attention),
        _TOKENS,
    ),
    "PReLU": (lambda: nn.PReLU(4), _MAP),
    "PairwiseDistance": (_called(nn.PairwiseDistance, _with_itself_turned), _ROW),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), _MAP),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), _MAP),
    "RMSNorm": (lambda: nn.RMSNorm(8), _TOKENS),
    "RNN": (_called(lambda: nn.RNN(8, 4, batch_first=True), _first), _TOKENS),
    "RNNCell": (lambda: nn.RNNCell(6, 4), _ROW),
    "ReflectionPad1d": (lambda: nn.ReflectionPad1d(2), _LINE),
    "ReflectionPad2d": (lambda: nn.ReflectionPad2d(1), _MAP),
    "ReplicationPad1d": (lambda: nn.ReplicationPad1d(2), _LINE),
    "ReplicationPad2d": (lambda: nn.ReplicationPad2d(1), _MAP),
    "Softmax": (lambda: nn.Softmax(1), _ROW),
    "Softmax2d": (nn.Softmax2d, _MAP),
    "Softmin": (lambda: nn.Softmin(1), _ROW),
    "Threshold": (lambda: nn.Threshold(0.1, -0.2), _MAP),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        _TOKENS,
    ),
    "Unflatten": (lambda: nn.Unflatten(1, (2, 3)), _ROW),
    "Unfold": (lambda: nn.Unfold(2, stride=2), _MAP),
    "Upsample, bicubic": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), _MAP),
    "Upsample, bilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), _MAP),
    "Upsample, linear": (lambda: nn.Upsample(scale_factor=2, mode="linear"), _LINE),
    "Upsample, nearest": (lambda: nn.Upsample(scale_factor=2), _MAP),
    "UpsamplingBilinear2d": (lambda: nn.UpsamplingBilinear2d(scale_factor=2), _MAP),
    "UpsamplingNearest2d": (lambda: nn.UpsamplingNearest2d(scale_factor=2), _MAP),
    "ZeroPad1d": (lambda: nn.ZeroPad1d(1), _LINE),
    "ZeroPad2d": (lambda: nn.ZeroPad2d(1), _MAP),
}  # fmt: skip
#: Their values jump, so a rounded input may lie on the other side.
JUMPS = {"Hardshrink", "Threshold"}
#: How far the others may be from PyTorch, in steps of int8.
MOST_STEPS = 16.0
#: What the export refuses.
REFUSED: dict[str, tuple[Made, Shape]] = {
    "BatchNorm3d": (lambda: nn.BatchNorm3d(2), (1, 2, 3, 3, 3)),
    "Conv3d": (lambda: nn.Conv3d(1, 2, 3), (1, 1, 4, 5, 5)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(1, 2, 2), (1, 1, 3, 3, 3)),
    "FractionalMaxPool2d": (lambda: nn.FractionalMaxPool2d(2, output_size=3), _MAP),
    "RReLU": (nn.RReLU, _MAP),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """All modules in one int8 Graph.

    Attributes:
        graph: The Graph.
        codes: Of its inputs.
        steps: Largest distance of each module's outputs from PyTorch, in steps of their scales.
        parts: The operators of each module, as a Graph of their own.
    """

    graph: Graph
    codes: dict[str, np.ndarray]
    steps: dict[str, float]
    parts: dict[str, Graph]


def _part(graph: Graph, outputs: Sequence[str]) -> Graph:
    """The operators that outputs depend on."""
    needed = set(outputs)
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
            kept.append(op)
    ports = tuple(port for port in graph.outputs if port.tensor in outputs)
    return graph.edit(ops=tuple(reversed(kept)), outputs=ports)


@functools.cache
def exported() -> Exported:
    """Every module of the table, through the whole of it."""
    torch.manual_seed(3)
    modules = [give_statistics(make()).eval() for make, _ in MODULES.values()]
    shapes = [shape for _, shape in MODULES.values()]
    together = Together(modules).eval()
    inputs = normal_inputs(shapes)
    float_graph = lowered(together, *shapes).graph
    int8, codes, steps = steps_from_torch(together, float_graph, inputs)
    found: dict[str, float] = {}
    parts: dict[str, Graph] = {}
    first = 0
    for name, module, array in zip(MODULES, modules, inputs, strict=True):
        with torch.no_grad():
            count = len(leaves(module(torch.from_numpy(array))))
        mine = int8.outputs[first : first + count]
        found[name] = max(steps[first : first + count])
        parts[name] = _part(int8, [port.tensor for port in mine])
        first += count
    return Exported(graph=int8, codes=codes, steps=found, parts=parts)


def refusal(name: str) -> str:
    """Why the export takes no such module.

    Raises:
        AssertionError: It does.
    """
    make, shape = REFUSED[name]
    try:
        lowered(make(), shape)
    except EdgefactorError as error:
        return f"{error.message.rstrip('.')}: {error.found}" if error.found else error.message
    raise AssertionError(f"nn.{name} is exported")


def rows() -> dict[str, tuple[str, str]]:
    """Module -> TFLite builtins, C functions."""
    return {
        name: (listed(tflite_builtins(part)), listed(c_functions(part)))
        for name, part in exported().parts.items()
    }


def write_table() -> str:
    """The whole page."""
    lines = [
        "# Layers of PyTorch",
        "",
        "What each layer of `torch.nn` becomes, by an example. Between the NumPy reference,",
        "LiteRT's reference kernels, TensorFlow Lite Micro and C no element differs. The last",
        "column is the distance of the int8 result from PyTorch's float result on one random",
        "sample, which also gave the scales, in steps of the result's scale; where the values of a",
        "function jump, an input that is rounded may lie on the other side. Kernels are those of a",
        f"Cortex-M4. Written by `{COMMAND}`.",
        "",
        "`nn.Embedding` takes up to 256 rows: token ids come in as int8 codes. `nn.Sequential`,",
        "`nn.ModuleList` and modules of your own are what is in them.",
        "",
        "| torch.nn | TFLite | C | Steps from PyTorch |",
        "| --- | --- | --- | --- |",
    ]
    found = exported()
    for name, (tflite, c) in rows().items():
        steps = "jumps" if name in JUMPS else f"{found.steps[name]:.1f}"
        lines.append(f"| {name} | {tflite} | {c} | {steps} |")
    lines += ["", "What is refused, before anything is written:", "", "| torch.nn | Why |"]
    lines.append("| --- | --- |")
    for name in REFUSED:
        reason = " ".join(refusal(name).replace("|", "/").split())
        lines.append(f"| {name} | {reason[:160]} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(write_table(), encoding="utf-8")
