"""Small networks and files of every format, for the tests of the pipeline."""

import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn


def convolutional() -> nn.Sequential:
    """A network of torch.nn's own classes for inputs [N, 3, 8, 8], four classes."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 4),
    )
    return give_statistics(network)


def give_statistics(network: nn.Sequential) -> nn.Sequential:
    """Puts batch norms into a state that training would leave, and the network into eval mode."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for values in (module.running_mean, module.bias):
                assert values is not None
                values.data = torch.randn(values.shape, generator=generator)
            for values in (module.running_var, module.weight):
                assert values is not None
                values.data = torch.rand(values.shape, generator=generator) + 0.5
    return network.eval()


class Own(nn.Module):
    """A class that is not torch.nn's."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).relu()


def script(path: Path, network: nn.Module) -> Path:
    torch.jit.script(network).save(str(path))
    return path


def program(path: Path, network: nn.Module, *inputs: Tensor, dynamic: bool = False) -> Path:
    shapes = tuple({0: torch.export.Dim("batch", min=1, max=64)} for _ in inputs)
    exported = torch.export.export(
        network, inputs, dynamic_shapes=shapes if dynamic else None, strict=False
    )
    torch.export.save(exported, path)
    return path


def pickled(path: Path, content: object, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def edit_zip(source: Path, target: Path, **changes: bytes) -> Path:
    """Copies a zip archive with members exchanged or added."""
    with zipfile.ZipFile(source) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents.update(changes)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    target.write_bytes(buffer.getvalue())
    return target
