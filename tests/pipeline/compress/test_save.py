from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgefactor.errors import ModelError, OptionError
from edgefactor.export.encodings.codebook import codebook_encoding
from edgefactor.export.ops.conv import Conv2D
from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.context import TrainingOptions
from edgefactor.pipeline.compress.engine import Outcome, apply_recipe
from edgefactor.pipeline.compress.freezing import freeze
from edgefactor.pipeline.compress.recipe import Recipe, parse_recipe
from edgefactor.pipeline.compress.save import read_metadata, save
from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.float_stages import float_stages, quantized
from edgefactor.pipeline.inputs.example import choose_inputs
from edgefactor.pipeline.load import load
from tests.pipeline.compress.small_nets import SmallNet, context, network, task

# Recipe, and how many int8 codes each layer may have on the device.
RECIPES = {
    "shared, plain": ('method = "share"\nvalues = 16', 16),
    "shared by output": (
        'method = "share"\nvalues = 16\nscale = "rms"\nimportance = "outputs"',
        16,
    ),
    "shared, largest": ('method = "share"\nvalues = 8\nscale = "max"', 8),
    "pruned and shared": (
        'method = "prune"\nkeep = 0.3\n[[step]]\nmethod = "share"\nvalues = 16\nscale = "rms"',
        16,
    ),
    "four bits": ('method = "uniform"\nbits = 4', 15),
    "ternary": ('method = "ternary"', 3),
    "binary": ('method = "binary"', 2),
    "fine-tuned": (
        'method = "share"\nvalues = 16\nscale = "rms"\ntraining = { epochs = 1, batch = 64 }',
        16,
    ),
}


def compressed(text: str, path: Path) -> tuple[SmallNet, Outcome, Recipe]:
    net, ctx = network(), context(task())
    # Folding a negative factor mirrors the values of its channel.
    net.norm.weight.data[::2] = -1
    options = TrainingOptions(epochs=2, batch=64, learning_rate=2e-3)
    ctx.trainer.fit(net, options, ctx, label="first")
    recipe = parse_recipe(f"[[step]]\n{text}", BY_NAME, name="test", where="test")
    outcome = apply_recipe(net, recipe, BY_NAME, ctx)
    freeze(net)
    save(net, outcome, recipe, [task(1).inputs[0]], path)
    return net, outcome, recipe


@pytest.mark.parametrize("name", RECIPES)
def test_exported_codes_are_as_few_as_trained(name: str, tmp_path: Path) -> None:
    text, most = RECIPES[name]
    path = tmp_path / "small.pt2"
    net, outcome, _ = compressed(text, path)
    loaded = load(path)
    inputs = torch.from_numpy(task(8).inputs[0][:1])
    with torch.no_grad():
        assert torch.allclose(loaded.module(inputs), net(inputs), atol=1e-6)
    example = choose_inputs(loaded)
    graph = float_stages(loaded, example, "small", lambda _: None).graph
    data = task(64)
    int8 = quantized(graph, data, ExportOptions(model=path), lambda _: None)
    layers = [op for op in int8.ops if isinstance(op, Conv2D)]
    assert len(layers) == 3
    device_bytes = 0
    for op in layers:
        codes = np.asarray(int8.tensors[op.inputs[1]].data)
        assert len(np.unique(codes)) <= most, op.name
        encoding = codebook_encoding(codes.reshape(-1).astype(np.int8))
        assert encoding is not None
        device_bytes += encoding.data_bytes(codes.size) + len(encoding.table)
    # What the accounting planned is at least as small: it may choose another encoding.
    assert outcome.storage.device_weight_bytes <= device_bytes


@pytest.mark.parametrize("scale", ["none", "rms"])
def test_exported_vectors_are_as_few_as_trained(scale: str, tmp_path: Path) -> None:
    path = tmp_path / "small.pt2"
    text = f'method = "share-vectors"\nlayers = "fc1"\nd = 4\nvalues = 40\nscale = "{scale}"'
    _, outcome, _ = compressed(text, path)
    loaded = load(path)
    graph = float_stages(loaded, choose_inputs(loaded), "small", lambda _: None).graph
    int8 = quantized(graph, task(64), ExportOptions(model=path), lambda _: None)
    sizes = {}
    for op in int8.ops:
        if isinstance(op, Conv2D):
            codes = np.asarray(int8.tensors[op.inputs[1]].data)
            sizes[codes.shape[0]] = codes
    # The layer reads flattened maps: its inputs are reordered, channels and positions.
    flat = sizes[24].reshape(24, 4, 4, 8).transpose(0, 3, 1, 2).reshape(-1, 4)
    assert len(np.unique(flat, axis=0)) <= 40
    fc1 = next(layer for layer in outcome.storage.layers if layer.name == "fc1")
    assert fc1.device_bytes == 24 * 128 // 4 + 256 * 4


def test_metadata_is_found_only_where_it_is(tmp_path: Path) -> None:
    _, outcome, recipe = compressed(RECIPES["shared, plain"][0], tmp_path / "small.pt2")
    found = read_metadata(tmp_path / "small.pt2")
    assert found is not None
    assert found["recipe"] == recipe.name
    assert found["storage"]["rate"] == pytest.approx(outcome.storage.rate)
    (tmp_path / "no.pt2").write_bytes(b"nothing")
    assert read_metadata(tmp_path / "no.pt2") is None
    assert read_metadata(tmp_path / "missing.pt2") is None


def test_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    class Untraceable(SmallNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if float(x.sum()) > 0 else super().forward(x)

    path = tmp_path / "small.pt2"
    _, outcome, recipe = compressed(RECIPES["shared, plain"][0], path)
    before = path.read_bytes()
    with pytest.raises(ModelError, match="cannot export"):
        save(Untraceable(), outcome, recipe, [task(1).inputs[0]], path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["small.pt2"]


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(program: object, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    net, outcome, recipe = compressed(RECIPES["four bits"][0], tmp_path / "net.pt2")
    old = (tmp_path / "net.pt2").read_bytes()
    monkeypatch.setattr(torch.export, "save", refuse)
    with pytest.raises(OptionError, match="cannot be written"):
        save(net, outcome, recipe, [task(1).inputs[0]], tmp_path / "net.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt2"]
    assert (tmp_path / "net.pt2").read_bytes() == old
