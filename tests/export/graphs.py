"""One small int8 Graph with every operator that can be exported, for the tests of the writers."""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgefactor.export.ir import Graph
from edgefactor.export.validate import validate
from edgefactor.pipeline.calibrate import calibrate
from edgefactor.pipeline.float_stages import FloatStages, float_stages
from edgefactor.pipeline.load import LoadedModel
from edgefactor.pipeline.quantize import quantize


class Everything(nn.Module):
    """Two inputs, two outputs, every family."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.prelu = nn.PReLU(8)
        self.head = nn.Linear(8, 5)
        self.line = nn.Conv1d(4, 8, 3, padding=1)

    def forward(self, image: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
        x = self.first(image).relu()
        x = self.prelu(self.depthwise(x))
        x = x + torch.sigmoid(x)
        x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        x = nn.functional.max_pool2d(x, 2) - 0.25
        side = self.line(line)
        x = torch.cat([x, x * x], dim=1)[:, :8]
        x = nn.functional.pad(x, (1, 0, 0, 1))
        x = nn.functional.avg_pool2d(x, 2)
        scores = self.head(x.mean([2, 3]))
        return torch.softmax(scores, dim=1), torch.tanh(side).transpose(1, 2)


SHAPES = ((1, 3, 8, 8), (1, 4, 6))


def lowered(module: nn.Module, *shapes: tuple[int, ...], name: str = "net") -> FloatStages:
    """All float forms of a module for inputs of these shapes."""
    torch.manual_seed(0)
    loaded = LoadedModel(kind="module", program=module.eval(), source="net.pt")
    example = [torch.zeros(shape) for shape in shapes]
    return float_stages(loaded, example, name, lambda _: None)


def to_int8(graph: Graph, inputs: Sequence[NDArray[np.float32]] = ()) -> Graph:
    """Quantize a float Graph on this sample, or on eight normal ones."""
    generator = np.random.default_rng(0)
    names = [port.name for port in graph.inputs]
    feeds = [dict(zip(names, inputs, strict=True))] if inputs else []
    for _ in range(0 if inputs else 8):
        feeds.append(
            {p.name: generator.standard_normal(p.shape).astype(np.float32) for p in graph.inputs}
        )
    int8 = quantize(graph, calibrate(graph, feeds, method="min-max"))
    return validate(int8, "quantize", quantized=True)


@functools.cache
def everything() -> Graph:
    """The int8 Graph of `Everything`."""
    torch.manual_seed(0)
    return to_int8(lowered(Everything(), *SHAPES).graph)
