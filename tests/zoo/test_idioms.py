"""How torchvision and timm write networks: each idiom exports unchanged and runs everywhere alike.

The table of idioms is traced as one module, as tracing takes a second however small the network,
and one by one under ``slow``.
"""

from pathlib import Path

import pytest
import torch
from torch import nn

from edgefactor.export.ir import Graph
from edgefactor.pipeline.float_stages import float_stages
from edgefactor.pipeline.inputs.example import choose_inputs
from edgefactor.pipeline.load import load
from tests.export.graphs import lowered
from tests.export.ops.every_runtime import check_everywhere
from tests.pipeline.networks import program
from tests.zoo.idiom_modules import layered
from tests.zoo.idioms import IDIOMS, MAP
from tests.zoo.together import Shape, Together, normal_inputs, steps_from_torch

#: How far from PyTorch an output may be, in steps of its scale.
MOST_STEPS = 8.0


def made(names: list[str]) -> tuple[nn.Module, list[Shape]]:
    torch.manual_seed(3)
    return (
        Together([IDIOMS[name][0]() for name in names]).eval(),
        [IDIOMS[name][1] for name in names],
    )


def check(module: nn.Module, graph: Graph, shapes: list[Shape], folder: Path) -> None:
    """PyTorch, the float Graph, the int8 Graph, LiteRT, TFLM and C."""
    int8, codes, steps = steps_from_torch(module, graph, normal_inputs(shapes))
    for port, distance in zip(int8.outputs, steps, strict=True):
        assert distance <= MOST_STEPS, port.name
    check_everywhere(int8, codes, folder)


def test_all_idioms_side_by_side(tmp_path: Path) -> None:
    module, shapes = made(list(IDIOMS))
    check(module, lowered(module, *shapes).graph, shapes, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", IDIOMS)
def test_each_on_its_own(name: str, tmp_path: Path) -> None:
    module, shapes = made([name])
    check(module, lowered(module, *shapes).graph, shapes, tmp_path)


def test_program_with_a_dynamic_batch(tmp_path: Path) -> None:
    torch.manual_seed(3)
    module = layered().eval()
    file = program(tmp_path / "net.pt2", module, torch.randn(4, *MAP[1:]), dynamic=True)
    loaded = load(file)
    graph = float_stages(loaded, choose_inputs(loaded, ()), "net", lambda _: None).graph
    check(module, graph, [MAP], tmp_path)
