from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgefactor.errors import ModelError
from edgefactor.pipeline.config import ModelOptions, parse_shape
from edgefactor.pipeline.inspect import Inspection, inspect
from tests.pipeline import networks

INPUT = (1, 3, 8, 8)


def by_hand(path: Path, shape: str = "1,3,8,8", trust: bool = False) -> Inspection:
    return inspect(ModelOptions(model=path, input_shapes=(parse_shape(shape),), trust_pickle=trust))


@pytest.mark.parametrize("form", ["module", "script", "program"])
def test_counts_do_not_depend_on_the_file(tmp_path: Path, form: str) -> None:
    network, path = networks.convolutional(), tmp_path / "net.pt"
    if form == "module":
        networks.pickled(path, network)
    elif form == "script":
        networks.script(path, network)
    else:
        path = networks.program(tmp_path / "net.pt2", network, torch.zeros(INPUT))
    found = by_hand(path)
    assert found.parameters == sum(p.numel() for p in network.parameters()) == 1148
    assert found.macs == 4 * 64 * 27 + 256 * 4
    assert found.weight_bytes == 4 * 27 + 1024 + 4 * (4 + 4 + 4 + 4)
    # The convolution's input and output are alive together; nothing later needs more.
    assert (found.peak_bytes, found.peak_layer) == (3 * 64 + 4 * 64, "0")
    assert found.inputs == (("input", INPUT),) and found.outputs == ((1, 4),)
    assert [layer.name for layer in found.layers if layer.parameters] == ["0", "1", "4"]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(x * 2)
        return y + self.conv(y)


def test_skip_connection_keeps_its_tensor_alive(tmp_path: Path) -> None:
    found = by_hand(networks.pickled(tmp_path / "m.pt", Residual()), "1,4,5,5", trust=True)
    assert found.macs == 4 * 25 * 9
    assert found.peak_bytes == 2 * 100
    assert found.layers[-1].operator == "add"


def test_without_a_shape(tmp_path: Path) -> None:
    path = networks.pickled(tmp_path / "m.pt", networks.convolutional())
    with pytest.raises(ModelError, match="not known"):
        inspect(ModelOptions(model=path))


def test_as_data(tmp_path: Path) -> None:
    data = by_hand(networks.pickled(tmp_path / "m.pt", networks.convolutional())).to_dict()
    assert data["schema"] == "edgefactor.inspection/1" and len(data["layers"]) == 4
