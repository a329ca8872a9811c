from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from edgefactor.errors import DataError, OptionError
from edgefactor.pipeline.compress.checkpoints import Checkpoints
from edgefactor.pipeline.compress.context import TrainingOptions
from edgefactor.pipeline.compress.samples import Samples, takes_channels_last
from tests.pipeline.compress.small_nets import context, network, task

OPTIONS = TrainingOptions(epochs=3, batch=64, learning_rate=2e-3)


class _KillError(Exception):
    """Stands for the process being killed."""


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_training_learns_and_the_same_seed_gives_the_same_weights() -> None:
    results = []
    for seed in (0, 0, 1):
        net, ctx = network(), context(task(), seed=seed)
        before = ctx.accuracy(net)
        losses = ctx.trainer.fit(net, OPTIONS, ctx, label="test")
        assert len(losses) == 3 and losses[-1] < losses[0]
        after = ctx.accuracy(net)
        assert before is not None and after is not None and after > before + 0.2
        results.append(net)
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


@pytest.mark.parametrize("killed_at", [1, 8, 13])
@pytest.mark.parametrize("augment", ["none", "shift"])
def test_killed_and_resumed_gives_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int, augment: str
) -> None:
    # Checkpoints after every step, so that the resumed one starts inside an epoch.
    monkeypatch.setattr("edgefactor.pipeline.compress.training.INTERVAL_SECONDS", -1.0)
    options = replace(OPTIONS, augment=augment)
    whole, ctx = network(), context(task())
    losses = ctx.trainer.fit(whole, options, ctx, label="test")

    def kill(done: int, _: int) -> None:
        if done == killed_at:
            raise _KillError

    torch.manual_seed(99)
    ctx = context(task(), checkpoints=Checkpoints(tmp_path, "a"))
    with pytest.raises(_KillError):
        ctx.trainer.fit(network(), options, ctx, label="test", after_step=kill)
    torch.manual_seed(7)
    ctx = context(task(), checkpoints=Checkpoints(tmp_path, "a"))
    resumed = network()
    steps = []
    again = ctx.trainer.fit(
        resumed, options, ctx, label="test", after_step=lambda done, _: steps.append(done)
    )
    assert steps[0] == killed_at
    assert same(whole, resumed)
    assert again == losses


def test_finished_training_is_loaded_not_repeated(tmp_path: Path) -> None:
    first, ctx = network(), context(task(), checkpoints=Checkpoints(tmp_path, "a"))
    ctx.trainer.fit(first, OPTIONS, ctx, label="test")
    second, ctx = network(), context(task(), checkpoints=Checkpoints(tmp_path, "a"))

    def never(done: int, steps: int) -> None:
        raise AssertionError

    ctx.trainer.fit(second, OPTIONS, ctx, label="test", after_step=never)
    assert same(first, second)


def test_checkpoints_of_another_compression_are_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "a")
    Checkpoints(tmp_path, "b").save(0, {"epoch": 1})  # "a" left nothing to mix in
    with pytest.raises(OptionError, match="belong to another"):
        Checkpoints(tmp_path, "a")


def test_checkpoints_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="cannot be written"):
        Checkpoints(tmp_path / "file" / "folder", "a")
    kept = Checkpoints(tmp_path / "folder", "a")
    kept.save(0, {"epoch": 1})
    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OptionError, match="cannot be written") as caught:
        kept.save(0, {"epoch": 2})
    assert "--checkpoints" in caught.value.hint
    assert kept.load(0) == {"epoch": 1}


def full_disk(state: object, path: Path) -> None:
    path.write_bytes(b"half")
    raise RuntimeError("[enforce fail at inline_container.cc:668] . unexpected pos 64 vs 0")


def test_nan_stops_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    net, ctx = network(), context(task(), checkpoints=Checkpoints(tmp_path, "a"))

    def poison(done: int, _: int) -> None:
        if done == 11:
            net.fc1.weight.fill_(torch.nan)

    with pytest.raises(OptionError, match="diverged") as caught:
        ctx.trainer.fit(net, OPTIONS, ctx, label="test", after_step=poison)
    assert all(torch.isfinite(p).all() for p in net.parameters())
    kept = torch.load(tmp_path / "training-000.pt", weights_only=True)
    assert kept["step"] == 8
    assert torch.equal(kept["model"]["fc1.weight"], net.fc1.weight)
    assert "training-000.pt" in caught.value.hint


def test_labels_missing_where_the_loss_needs_them() -> None:
    net, ctx = network(), context(task(labelled=False))
    with pytest.raises(DataError, match="trains on labels"):
        ctx.trainer.fit(net, replace(OPTIONS, loss="task"), ctx, label="test")


def test_no_data_at_all() -> None:
    net, ctx = network(), context()
    with pytest.raises(DataError, match="no training data"):
        ctx.trainer.fit(net, OPTIONS, ctx, label="test")


@pytest.mark.parametrize("softmax", [False, True])
def test_imitation_without_labels_returns_to_the_teacher(softmax: bool) -> None:
    teacher = network()
    data = task()
    ctx = context(data)
    ctx.trainer.fit(teacher, OPTIONS, ctx, label="teacher")
    net = network()
    net.load_state_dict(teacher.state_dict())
    with torch.no_grad():
        net.fc1.weight += 0.15 * torch.randn(net.fc1.weight.shape)
    wrap = (lambda m: nn.Sequential(m, nn.Softmax(1)).eval()) if softmax else (lambda m: m)
    model, ctx = wrap(net), context(replace(data, labels=None), teacher=wrap(teacher))
    inputs = torch.from_numpy(data.inputs[0])

    def distance() -> float:
        with torch.no_grad():
            return float((model(inputs) - ctx.teacher(inputs)).square().mean())

    before = distance()
    ctx.trainer.fit(model, replace(OPTIONS, learning_rate=1e-3), ctx, label="imitate")
    assert distance() < 0.7 * before


def test_distillation_uses_both() -> None:
    ctx = context(task(), teacher=network(3))
    losses = ctx.trainer.fit(network(), replace(OPTIONS, loss="distill"), ctx, label="distill")
    assert losses[-1] < losses[0]


class _Rows(nn.Module):
    """Views maps as rows, which must lie in memory channel by channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.fc = nn.Linear(108, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).view(len(x), -1))


def test_layout_in_memory_is_one_that_the_model_takes() -> None:
    ctx = context(task())
    assert takes_channels_last(network(), ctx.inputs(2))
    assert not takes_channels_last(_Rows(), ctx.inputs(2))
    rows = torch.zeros(2, 64)
    assert not takes_channels_last(nn.Linear(64, 4), (rows,))
    losses = ctx.trainer.fit(_Rows(), OPTIONS, ctx, label="test")
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("augment", ["none", "shift"])
def test_both_layouts_hold_the_same_images(augment: str) -> None:
    options, batches = TrainingOptions(epochs=1, augment=augment), []
    for last in (False, True):
        torch.manual_seed(0)
        samples = Samples(task(64), options, 0, torch.device("cpu"), channels_last=last)
        batches.append(samples.take(torch.arange(20))[0])
    assert torch.equal(*batches)
    assert batches[1].stride(1) == 1 and batches[0].is_contiguous()


def test_augmentation_moves_and_mirrors_whole_images() -> None:
    data = task(64)
    options = TrainingOptions(epochs=1, batch=64, augment="crop-flip")
    torch.manual_seed(0)
    (moved,) = Samples(data, options, 0, torch.device("cpu")).take(torch.arange(64))
    for image, original in zip(moved.numpy(), data.inputs[0], strict=True):
        padded = torch.nn.functional.pad(torch.from_numpy(original), (4,) * 4).numpy()
        windows = [padded[:, r : r + 8, c : c + 8] for r in range(9) for c in range(9)]
        choices = [*windows, *(w[:, :, ::-1] for w in windows)]
        assert any((image == choice).all() for choice in choices)
