"""The training loop: one for all methods, resumable to the bit.

Everything random follows from (seed, number of the training, epoch), and a checkpoint inside an
epoch holds torch's generator, so a training that was killed and resumed gives the same weights as
one that was not.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from edgefactor.errors import DataError, OptionError
from edgefactor.pipeline.compress import distributed
from edgefactor.pipeline.compress.checkpoints import INTERVAL_SECONDS, Checkpoints
from edgefactor.pipeline.compress.context import (
    AfterStep,
    Context,
    TrainingOptions,
    TrainingProgress,
    first_output,
    training_mode,
)
from edgefactor.pipeline.compress.losses import Loss
from edgefactor.pipeline.compress.mirroring import factors_of_shared_layers
from edgefactor.pipeline.compress.samples import Samples, takes_channels_last

#: Evaluation samples behind the accuracy of a progress line.
PROGRESS_SAMPLES = 1000
_REPORT_SECONDS = 5.0


class TorchTrainer:
    """Implements `context.Trainer`.

    Args:
        checkpoints: Where states are kept; none by default.
    """

    def __init__(self, checkpoints: Checkpoints | None = None) -> None:
        self._checkpoints = checkpoints or Checkpoints(None, "")
        self._trainings = 0

    def fit(
        self,
        model: nn.Module,
        options: TrainingOptions,
        context: Context,
        *,
        label: str,
        penalty: Callable[[], Tensor] | None = None,
        after_step: AfterStep | None = None,
        extra: nn.Module | None = None,
        parameter_groups: list[dict[str, Any]] | None = None,
    ) -> tuple[float, ...]:
        """Trains `model` in place; see `context.Trainer`.

        Raises:
            DataError: If there is no data, or no labels where the loss needs them.
            OptionError: If the loss is no longer finite; the model is left in its last good state.
        """
        number = self._trainings
        self._trainings += 1
        if options.epochs == 0:
            return ()
        if context.train is None:
            raise DataError(
                "The step trains, and no training data was given",
                where=label,
                hint="Give --train, or set epochs = 0.",
            )
        run = _Run(model, options, context, label, penalty, after_step, extra, parameter_groups)
        return run.train(self._checkpoints, number)


class _Run:
    """One training: its state, and the loop over it."""

    def __init__(
        self,
        model: nn.Module,
        options: TrainingOptions,
        context: Context,
        label: str,
        penalty: Callable[[], Tensor] | None,
        after_step: AfterStep | None,
        extra: nn.Module | None,
        groups: list[dict[str, Any]] | None,
    ) -> None:
        assert context.train is not None
        self.model, self.options, self.context, self.label = model, options, context, label
        self.penalty, self.after_step, self.extra = penalty, after_step, extra
        self.loss = Loss(options, context, model, cache=options.augment == "none")
        if groups is None:
            modules = (model, *(() if extra is None else (extra,)))
            groups = [{"params": [p for m in modules for p in m.parameters() if p.requires_grad]}]
        rate, decay = options.learning_rate, options.weight_decay
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.Adam(groups, lr=rate, weight_decay=decay)
            if options.optimizer == "adam"
            else torch.optim.SGD(groups, lr=rate, weight_decay=decay, momentum=0.9)
        )
        self.positive = factors_of_shared_layers(model)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.step, self.total = 0, 0.0
        self.losses: list[float] = []
        self.rank, self.processes = distributed.world()

    def train(self, checkpoints: Checkpoints, number: int) -> tuple[float, ...]:
        options, context = self.options, self.context
        assert context.train is not None
        seed = context.seed * 1_009 + number
        samples = Samples(
            context.train,
            options,
            seed,
            context.device,
            channels_last=takes_channels_last(self.model, context.inputs(2)),
        )
        per_epoch = samples.steps_per_epoch
        steps = max(1, round(options.epochs * per_epoch))
        saved = checkpoints.load(number)
        resumed = self._restore(saved) if saved is not None else None
        started, first_step = time.monotonic(), self.step
        saved_at = reported_at = started
        good = self._state()
        order = torch.empty(0)
        with training_mode(self.model, frozen=options.batch_norm == "frozen"):
            while self.step < steps:
                epoch, place = divmod(self.step, per_epoch)
                if place == 0 or len(order) == 0:
                    order = samples.order(epoch)
                    torch.manual_seed(seed * 100_003 + epoch)
                    if resumed is not None and place:
                        torch.set_rng_state(resumed)
                    resumed = None
                batch = order[place * samples.batch : (place + 1) * samples.batch]
                self._one_step(samples, batch, steps)
                ended = self.step % per_epoch == 0 or self.step == steps
                if not math.isfinite(self.total) or (ended and not self._finite()):
                    self._diverged(good, checkpoints, number)
                now = time.monotonic()
                if ended:
                    distributed.align_buffers(self.model, self.processes)
                    self.losses.append(self.total / (place + 1))
                    self.total = 0.0
                    good = self._state()
                if self.rank == 0 and (ended or now - saved_at > INTERVAL_SECONDS):
                    checkpoints.save(number, good if ended else self._state())
                    saved_at = now
                if ended or now - reported_at > _REPORT_SECONDS:
                    speed = (self.step - first_step) / max(now - started, 1e-9)
                    self._report(per_epoch, steps, speed, place + 1, samples.batch, ended=ended)
                    reported_at = now
        return tuple(self.losses)

    def _one_step(self, samples: Samples, indices: Tensor, steps: int) -> None:
        fraction = self.step / steps
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * _decay(self.options.schedule, fraction)
        own = distributed.share_of(indices, self.rank, self.processes).to(self.context.device)
        inputs = samples.take(own)
        self.optimizer.zero_grad(set_to_none=True)
        outputs = first_output(self.model(*inputs))
        loss = self.loss(outputs, inputs, own)
        if self.penalty is not None:
            loss = loss + self.penalty()
        loss.backward()  # type: ignore[no-untyped-call]
        distributed.average_gradients(self.parameters, self.processes)
        self.optimizer.step()
        with torch.no_grad():
            for factor in self.positive:
                factor.clamp_(min=0)
        self.step += 1
        self.total += float(loss.detach())
        if self.after_step is not None:
            with torch.no_grad():
                self.after_step(self.step, steps)

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters)

    def _diverged(self, good: dict[str, Any], checkpoints: Checkpoints, number: int) -> None:
        """Puts the last good state back and stops."""
        step = self.step
        self._restore(good)
        checkpoints.save(number, good)
        kept = checkpoints.path(number)
        raise OptionError(
            "Training diverged: the loss is no longer a finite number",
            where=f"{self.label}, step {step}",
            found=f"learning_rate = {self.options.learning_rate:g}",
            expected="a finite loss",
            hint="Lower the learning rate. The last good state was kept"
            + (f" in {kept}." if kept else "."),
        )

    def _state(self) -> dict[str, Any]:
        state = {
            "model": self.model.state_dict(),
            "extra": self.extra.state_dict() if self.extra is not None else {},
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "losses": list(self.losses),
            "total": self.total,
            "rng": torch.get_rng_state(),
        }
        return copy.deepcopy(state)

    def _restore(self, state: dict[str, Any]) -> Tensor:
        self.model.load_state_dict(state["model"])
        if self.extra is not None:
            self.extra.load_state_dict(state["extra"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.losses = int(state["step"]), list(state["losses"])
        self.total = float(state["total"])
        rng: Tensor = state["rng"]
        return rng

    def _report(
        self, per_epoch: int, steps: int, speed: float, done: int, batch: int, *, ended: bool
    ) -> None:
        context = self.context
        accuracy = context.accuracy(self.model, samples=PROGRESS_SAMPLES) if ended else None
        context.progress(
            TrainingProgress(
                step=self.label,
                epoch=self.step / per_epoch,
                epochs=self.options.epochs,
                loss=self.losses[-1] if ended else self.total / done,
                accuracy=accuracy,
                learning_rate=self.optimizer.param_groups[0]["lr"],
                samples_per_second=speed * batch,
                seconds_left=(steps - self.step) / max(speed, 1e-9),
            )
        )


def _decay(schedule: str, fraction: float) -> float:
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * fraction))
    return 1 - fraction if schedule == "linear" else 1.0
