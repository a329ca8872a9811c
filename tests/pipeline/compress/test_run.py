from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgefactor as ef
from edgefactor import cli
from edgefactor.errors import BudgetError, DataError, ModelError, OptionError
from edgefactor.pipeline.compress import training
from edgefactor.pipeline.compress.run import compress
from edgefactor.pipeline.compress.save import read_metadata
from edgefactor.pipeline.compress_options import CompressOptions
from edgefactor.pipeline.load import load
from tests.pipeline.compress.small_nets import network, task

FACTORY = "tests/pipeline/compress/small_nets.py:network"
RECIPE = """
title = "all of it"
[[step]]
method = "prune"
layers = "fc1"
keep = 0.3
every = 2
training = { epochs = 2, batch = 64, learning-rate = 2e-3 }
[[step]]
method = "share"
values = { conv = 16, "*" = 8 }
scale = "rms"
training = { epochs = 2, batch = 64 }
[[step]]
method = "huffman"
"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """A model, its data and a recipe."""
    torch.save(network().state_dict(), tmp_path / "net.pt")
    data = task()
    np.savez(tmp_path / "train.npz", x=data.inputs[0], y=data.labels)
    np.savez(tmp_path / "inputs.npz", x=data.inputs[0])
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return {
        "model": tmp_path / "net.pt",
        "factory": FACTORY,
        "recipe": str(tmp_path / "recipe.toml"),
        "train": str(tmp_path / "train.npz"),
        "output": tmp_path / "small.pt2",
    }


def outputs(path: Path) -> torch.Tensor:
    with torch.no_grad():
        return load(path).module(torch.from_numpy(task().inputs[0][:1]))


def test_result_loads_without_flags_and_says_what_was_done(files: dict[str, Any]) -> None:
    report = compress(CompressOptions(**files))
    facts = report.to_dict()
    assert json.dumps(facts, default=float)
    assert facts["accuracy_after"] > facts["accuracy_before"] + 0.05
    assert facts["rate"] > 8
    assert facts["device_weight_bytes"] < 72 + 3072 + 96
    assert [step["method"] for step in facts["steps"]] == ["prune", "share", "huffman"]
    loaded = load(files["output"])
    assert loaded.kind == "ExportedProgram"
    state = loaded.module.state_dict()
    for name, most in (("conv", 16), ("fc1", 8), ("fc2", 8)):
        shared = state[f"{name}.weight"].reshape(len(state[f"{name}.weight"]), -1)
        shared = shared / state[f"{name}.weight_scale"][:, None]
        assert len(torch.unique(torch.round(shared / shared.abs().max() * 1e5))) <= most
    said = read_metadata(files["output"])
    assert said is not None and said["storage"]["rate"] == pytest.approx(facts["rate"])
    assert not files["output"].with_name("small.pt2.checkpoints").exists()


def test_interrupted_at_any_training_and_resumed(
    files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compress(CompressOptions(**files))
    whole = outputs(files["output"])
    monkeypatch.setattr(training, "INTERVAL_SECONDS", -1.0)
    real = training._Run._one_step
    for number, stop in enumerate((5, 12, 20)):
        files["output"] = tmp_path / f"resumed{number}.pt2"
        left = stop

        def dying(*arguments: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            real(*arguments)

        monkeypatch.setattr(training._Run, "_one_step", dying)
        with pytest.raises(KeyboardInterrupt):
            compress(CompressOptions(**files))
        assert not files["output"].exists()
        monkeypatch.setattr(training._Run, "_one_step", real)
        compress(CompressOptions(**files))
        assert torch.equal(outputs(files["output"]), whole)


def test_post_training_without_labels_or_data(files: dict[str, Any], tmp_path: Path) -> None:
    recipe = tmp_path / "post.toml"
    recipe.write_text('title = "t"\n[[step]]\nmethod = "share"\nvalues = 16\n')
    files |= {"recipe": str(recipe), "train": None, "input_shapes": ()}
    with pytest.raises(ModelError, match="shape"):
        compress(CompressOptions(**files))
    files["train"] = str(tmp_path / "inputs.npz")
    report = compress(CompressOptions(**files))
    assert report.outcome.accuracy_before is None
    assert report.outcome.storage.rate > 5


def test_labels_missing_where_a_step_needs_them(files: dict[str, Any], tmp_path: Path) -> None:
    text = '[[step]]\nmethod = "fine-tune"\ntraining = { epochs = 1, loss = "task" }\n'
    (tmp_path / "recipe.toml").write_text(text)
    files["train"] = str(tmp_path / "inputs.npz")
    with pytest.raises(DataError, match="needs labels"):
        compress(CompressOptions(**files))
    assert not files["output"].exists()


def test_programs_without_modules_are_refused(files: dict[str, Any], tmp_path: Path) -> None:
    compress(CompressOptions(**files))
    files |= {"model": files["output"], "output": tmp_path / "again.pt2"}
    with pytest.raises(OptionError, match="matches no layer") as caught:
        compress(CompressOptions(**files))
    assert "state dict" in caught.value.hint


def test_output_must_be_a_pt2_in_a_folder(files: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"\.pt2"):
        CompressOptions(**files | {"output": tmp_path / "small.onnx"})
    with pytest.raises(OptionError, match="no such folder"):
        CompressOptions(**files | {"output": tmp_path / "none" / "small.pt2"})


def test_command_prints_json(files: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compress", str(files["model"]), "--model", FACTORY, "--recipe", files["recipe"]]
    arguments += ["--train", files["train"], "-o", str(files["output"]), "--json"]
    assert cli.main(arguments) == 0
    facts = json.loads(capsys.readouterr().out)
    wanted = ("rate", "device_weight_bytes", "accuracy_before", "accuracy_after", "steps")
    assert all(key in facts for key in wanted)
    assert cli.main([*arguments[:-1]]) == 0
    shown = capsys.readouterr()
    assert "rate:" in shown.out and "written:" in shown.out
    assert "prune: epoch 2.0 of 2" in shown.err


def test_command_lists_recipes_and_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recipes", "--json"]) == 0
    names = [entry["name"] for entry in json.loads(capsys.readouterr().out)]
    assert "deep-compression" in names
    assert cli.main(["recipes", "--methods"]) == 0
    assert "share" in capsys.readouterr().out


def test_share_and_freeze_in_a_loop_of_ones_own() -> None:
    net = network()
    assert ef.share(net, layers="fc*", values=4, scale="max") is net
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    data = task(128)
    inputs, labels = torch.from_numpy(data.inputs[0]), torch.from_numpy(data.labels)
    losses = []
    net.train()
    for _ in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    ef.freeze(net)
    rows = net.fc1.weight / net.fc1.weight_scale[:, None]
    assert len(torch.unique(torch.round(rows / rows.abs().max() * 1e5))) <= 4
    assert type(net.conv.weight) is nn.Parameter
    with pytest.raises(OptionError, match="Did you mean values"):
        ef.share(net, value=4)


def test_values_by_the_elbow_and_by_a_budget_of_flash(
    files: dict[str, Any], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    values, sizes = {}, {}
    for name, option in (("elbow", "values = 0"), ("budget", "budget-bytes = 1200")):
        recipe.write_text(f'[[step]]\nmethod = "share"\nscale = "rms"\n{option}\n')
        compress(CompressOptions(**files))
        said = read_metadata(files["output"])
        assert said is not None
        values[name] = {layer["name"]: layer["values"] for layer in said["storage"]["layers"]}
        report = ef.export_model(
            ef.ExportOptions(
                model=files["output"], calibration=files["train"], output=tmp_path / name,
                optimize="size", samples=4, emulate=False, max_accuracy_drop=100,
            )
        )  # fmt: skip
        codes = {layer.name: layer.distinct_values for layer in report.layers}
        assert all(codes[layer] <= count for layer, count in values[name].items())
        sizes[name] = report.flash.planned_weights
    assert all(2 <= count <= 64 for name in values for count in values[name].values())
    # 3,240 weights in 1,200 bytes with their tables: no more than 2.9 bits each.
    assert sizes["budget"] <= 1200
    assert values["budget"]["fc1"] <= 8 < max(values["budget"].values())
    files["output"] = tmp_path / "none.pt2"
    recipe.write_text('[[step]]\nmethod = "share"\nbudget-bytes = 300\n')
    with pytest.raises(BudgetError, match="too small for any choice"):
        compress(CompressOptions(**files))
    assert not files["output"].exists()


def test_compress_is_the_command_in_python(files: dict[str, Any]) -> None:
    assert ef.compress is compress and ef.compress_model is compress
    files["recipe"] = "uniform-4"
    files["train"] = None
    files["input_shapes"] = (ef.InputShape(dims=(1, 1, 8, 8)),)
    with pytest.raises(DataError, match="needs data"):
        ef.compress(ef.CompressOptions(**files))
