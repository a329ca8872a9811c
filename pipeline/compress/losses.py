"""What training minimises: the task's loss, the distance to the original's outputs, or both."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgefactor.errors import DataError
from edgefactor.pipeline.compress.context import (
    Context,
    TrainingOptions,
    batches,
    evaluating,
    first_output,
)

_SMALLEST = 1e-7


def are_probabilities(outputs: Tensor) -> bool:
    """Whether the rows of ``[N, classes]`` are distributions: the model ends in a softmax."""
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        return False
    sums = outputs.detach().sum(1)
    return bool(outputs.detach().min() >= 0) and bool(((sums - 1).abs() < 1e-3).all())


class Loss:
    """Loss of one batch, by sample index.

    Args:
        options: Which loss, how it is weighed.
        context: Labels and the teacher.
        model: What is trained; its outputs on the first samples show their kind.
        cache: Whether teacher outputs may be computed once for all samples (no augmentation).

    Raises:
        DataError: If labels are needed and missing, or do not fit the outputs.
    """

    def __init__(
        self, options: TrainingOptions, context: Context, model: nn.Module, *, cache: bool
    ) -> None:
        data = context.train
        if data is None:
            raise DataError(
                "Training needs data, and none was given", where="--train", hint="Give --train."
            )
        labelled = data.labels is not None
        kind = options.loss if options.loss != "auto" else ("task" if labelled else "teacher")
        if kind != "teacher" and not labelled:
            raise DataError(
                "The step trains on labels, and the training data has none",
                where=f'--train {data.source}, loss = "{kind}"',
                expected="an array y of class indices beside x",
                hint='Use loss = "teacher" to imitate the original model without labels.',
            )
        self._kind = kind
        self._share = {"task": 0.0, "teacher": 1.0, "distill": options.distill_weight}[kind]
        self._temperature = options.temperature
        self._labels: Tensor | None = None
        with evaluating(model), torch.no_grad():
            sample = tuple(t[:2] for t in context.inputs(2))
            outputs = first_output(model(*sample))
        self._probabilities = are_probabilities(outputs)
        if kind != "teacher":
            assert data.labels is not None
            classes = outputs.shape[1] if outputs.ndim == 2 else 0
            if int(data.labels.max()) >= classes or int(data.labels.min()) < 0:
                raise DataError(
                    "The labels do not fit the model's outputs",
                    where=f"--train {data.source}",
                    found=f"labels {data.labels.min()} to {data.labels.max()}, outputs of shape "
                    f"{list(outputs.shape)}",
                )
            self._labels = torch.from_numpy(data.labels).to(context.device)
        self._teacher = context.teacher if kind != "task" else None
        if kind != "task" and self._teacher is None:
            raise DataError("There is no original model to imitate", where=f'loss = "{kind}"')
        self._targets: Tensor | None = None
        if self._teacher is not None and cache:
            self._targets = self._all_targets(self._teacher, context)

    @staticmethod
    def _all_targets(teacher: nn.Module, context: Context) -> Tensor:
        assert context.train is not None
        rows = []
        with evaluating(teacher), torch.no_grad():
            for _, batch in batches(context.train, 256):
                rows.append(first_output(teacher(*(t.to(context.device) for t in batch))))
        return torch.cat(rows)

    def __call__(self, outputs: Tensor, inputs: tuple[Tensor, ...], indices: Tensor) -> Tensor:
        """Mean loss of a batch; `indices` are the samples in the training data."""
        loss = outputs.new_zeros(())
        if self._labels is not None and self._share < 1:
            loss = loss + (1 - self._share) * self._task(outputs, self._labels[indices])
        if self._teacher is not None and self._share > 0:
            if self._targets is not None:
                targets = self._targets[indices]
            else:
                with evaluating(self._teacher), torch.no_grad():
                    targets = first_output(self._teacher(*inputs))
            loss = loss + self._share * self._imitation(outputs, targets)
        return loss

    def _task(self, outputs: Tensor, labels: Tensor) -> Tensor:
        if self._probabilities:
            return F.nll_loss(outputs.clamp_min(_SMALLEST).log(), labels)
        return F.cross_entropy(outputs, labels)

    def _imitation(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self._probabilities:
            log = outputs.clamp_min(_SMALLEST).log()
            return F.kl_div(log, targets, reduction="batchmean")
        if self._kind == "distill":
            soft, heat = F.log_softmax(targets / self._temperature, 1), self._temperature
            log = F.log_softmax(outputs / heat, 1)
            # Times T^2, so that gradients keep their size (Hinton et al. 2015, section 2).
            return F.kl_div(log, soft, reduction="batchmean", log_target=True) * heat**2
        # Outputs without labels may be anything: relative squared error suits them all.
        return F.mse_loss(outputs, targets) / targets.var().clamp_min(_SMALLEST)
