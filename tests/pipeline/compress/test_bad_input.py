"""What a user can get wrong, through the command: exit code, message, and nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgefactor import cli
from tests.pipeline.compress.small_nets import network, task

FACTORY = "tests/pipeline/compress/small_nets.py:network"
#: Step -> words of the message.
STEPS = {
    "unknown method": ('method = "shair"', ("There is no such method", "Did you mean share?")),
    "unknown option": ('method = "share"\nvalue = 3', ("no such option", "Did you mean values?")),
    "value of another type": (
        'method = "share"\nvalues = "many"',
        ("wrong type", "a number, or a table of numbers by layer pattern"),
    ),
    "pattern that matches nothing": (
        'method = "share"\nlayers = "fc9*"',
        ("matches no layer", "fc9*", "conv"),
    ),
    "pattern of an entry that matches nothing": (
        'method = "share"\nvalues = { fc1 = 4 }',
        ("No entry of the option fits a layer", "conv"),
    ),
    "rank larger than the layer": (
        'method = "svd"\nlayers = "fc1"\nrank = 25',
        ("The rank is larger than the layer", "fc1", "25"),
    ),
    "more values than weights": (
        'method = "share"\nlayers = "conv"\nvalues = 73',
        ("cannot have that many shared values", "73 values for 72 weights"),
    ),
    "more vectors than groups": (
        'method = "share-vectors"\nlayers = "fc2"\nd = 8\nvalues = 13',
        ("cannot have that many shared vectors", "13 vectors for 12 groups"),
    ),
    "labels where there are none": (
        'method = "fine-tune"\n[step.training]\nepochs = 1\nloss = "task"',
        ("needs labels", 'loss = "teacher"'),
    ),
    "NaN in training": (
        'method = "fine-tune"\n[step.training]\nepochs = 12\nlearning-rate = 1e2\n'
        'optimizer = "sgd"\nloss = "teacher"',
        ("Training diverged", "Lower the learning rate", "training-000.pt"),
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_message_of_the_command(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step, words = STEPS[name]
    (tmp_path / "recipe.toml").write_text(f'title = "t"\n[[step]]\n{step}\n')
    torch.save(network().state_dict(), tmp_path / "net.pt")
    np.savez(tmp_path / "train.npz", x=task(128).inputs[0])
    output = tmp_path / "small.pt2"
    code = cli.main(
        ["compress", str(tmp_path / "net.pt"), "--model", FACTORY,
         "--recipe", str(tmp_path / "recipe.toml"), "--train", str(tmp_path / "train.npz"),
         "-o", str(output)]
    )  # fmt: skip
    shown = capsys.readouterr()
    assert code == 1
    assert "Traceback" not in shown.err
    for word in words:
        assert word in shown.err
    assert not output.exists()
    # Nothing that would stand in the way of a better recipe, but for a last good state.
    assert (tmp_path / "small.pt2.checkpoints").exists() == (name == "NaN in training")


def test_last_good_state_after_nan_holds_numbers(tmp_path: Path) -> None:
    step, _ = STEPS["NaN in training"]
    (tmp_path / "recipe.toml").write_text(f'title = "t"\n[[step]]\n{step}\n')
    torch.save(network().state_dict(), tmp_path / "net.pt")
    np.savez(tmp_path / "train.npz", x=task(128).inputs[0])
    arguments = ["compress", str(tmp_path / "net.pt"), "--model", FACTORY]
    arguments += ["--recipe", str(tmp_path / "recipe.toml")]
    arguments += ["--train", str(tmp_path / "train.npz"), "-o", str(tmp_path / "small.pt2")]
    assert cli.main(arguments) == 1
    kept = torch.load(tmp_path / "small.pt2.checkpoints" / "training-000.pt", weights_only=True)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in kept["model"].values())
