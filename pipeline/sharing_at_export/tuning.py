"""Shared weights trained towards the float network, without labels.

Values or vectors, the factor of each channel, which value a weight takes, and the biases: all of
them follow the gradient of what the network's outputs and the sums of each layer differ by from the
float network's on the calibration inputs (Hinton et al. 2015, arXiv 1503.02531, for the outputs;
Romero et al. 2015, FitNets, arXiv 1412.6550, for the layers). The step function from weights to
values passes gradients on unchanged (Bengio et al. 2013, arXiv 1308.3432).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgefactor.pipeline.calibrate import Sample
from edgefactor.pipeline.sharing_at_export.forms import Form, on_grid
from edgefactor.pipeline.sharing_at_export.share_codes import Floats
from edgefactor.pipeline.sharing_at_export.torch_network import TorchNetwork

BATCH = 16
EPOCHS = 20
"""How often each sample is seen, at most."""
FEWEST_EPOCHS = 3
MOST_MACS = 1e11
"""Multiplications of all epochs forwards, above which there are fewer epochs."""
RATE = 2e-3
"""Of the size of what is trained, for one step, where the outputs are far off."""
FAR_OFF = 0.06
"""Noise of the outputs from which on they are; steps are smaller in proportion below it, where they
would do more than what is to be mended."""
SMALLER = (1.0, 0.25)
"""Shares of the steps that are tried, until one does good."""
HELD_OUT = 8
"""Of so many samples one is not trained on, but says whether training did any good."""
WEIGHTS_RATE = 6.0
"""Times the others' rate: weights wander between values."""
MOST_KEPT = 2**26
"""Numbers of the float network that are kept in memory."""
_LEAST = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tuned:
    """A layer before or after tuning.

    Attributes:
        form: Of its weights.
        bias: [O].
        weights: Float ones that the form was made of, [O, m].
    """

    form: Form
    bias: NDArray[np.float32]
    weights: Floats


class _Layer:
    """What of a layer is trained."""

    def __init__(self, start: Tuned) -> None:
        form = start.form
        self.form = form
        self.free = torch.tensor(start.weights, dtype=torch.float32).requires_grad_()
        self.bias = torch.tensor(start.bias).requires_grad_()
        self.scale = torch.tensor(form.scale, dtype=torch.float32)
        self.codebook = torch.tensor(form.codebook, dtype=torch.float32)
        if form.is_shared:
            self.scale.requires_grad_()
            self.codebook.requires_grad_()

    def index(self) -> Tensor:
        """Of the codebook's entry for each vector, as the weights are now."""
        with torch.no_grad():
            width = self.codebook.shape[1]
            wanted = (self.free / self.scale[:, None]).reshape(-1, width)
            if width == 1:
                entries, order = self.codebook[:, 0].sort()
                middles = (entries[1:] + entries[:-1]) / 2
                return order[torch.bucketize(wanted[:, 0].contiguous(), middles)]
            size = self.codebook.square().sum(1)
            nearest: Tensor = (size - 2 * wanted @ self.codebook.T).argmin(1)
            return nearest

    def weights(self) -> Tensor:
        """OIHW, with the gradient of the step function."""
        weights = self.free
        if self.form.is_shared:
            through = self.free - self.free.detach()
            entries = self.codebook[self.index()].reshape(self.free.shape)
            weights = entries * self.scale[:, None] + through
        outputs, kh, kw, depth = self.form.shape
        return weights.reshape(outputs, kh, kw, depth).permute(0, 3, 1, 2)

    def groups(self, rate: float) -> list[dict[str, object]]:
        """Parameters with their rates."""
        others = [self.bias, *((self.scale, self.codebook) if self.form.is_shared else ())]
        return [
            {"params": [self.free], "lr": WEIGHTS_RATE * rate * _size(self.free)},
            *({"params": [p], "lr": rate * (_size(p) + 1e-3)} for p in others),
        ]

    def result(self) -> Tuned:
        with torch.no_grad():
            free = self.free.double().numpy()
            form = replace(self.form, weights=free)
            if self.form.is_shared:
                index = self.index().numpy()
                scale = np.asarray(self.scale.numpy(), np.float64)
                codebook = on_grid(np.asarray(self.codebook.numpy(), np.float64))
                weights = codebook[index].reshape(free.shape) * scale[:, None]
                form = replace(self.form, weights=weights, scale=scale, codebook=codebook)
            return Tuned(form=form, bias=self.bias.numpy(), weights=free)


def _size(values: Tensor) -> float:
    return float(values.detach().square().mean().sqrt())


def tune(
    network: TorchNetwork, start: Mapping[str, Tuned], samples: Sequence[Sample], *, seed: int = 0
) -> dict[str, Tuned] | None:
    """Train layers towards the float network.

    Args:
        network: The float network.
        start: Where layers begin.
        samples: Calibration inputs.
        seed: Of their order.

    Returns:
        Each of these layers; None if there are too few samples, or if the outputs came no nearer on
        those that were held out.
    """
    if len(samples) < 2 * HELD_OUT:
        return None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same sums in the same order on every computer
    try:
        held = stacked(network, samples[::HELD_OUT])
        others = stacked(network, [s for i, s in enumerate(samples) if i % HELD_OUT])
        with torch.no_grad():
            expected = network.run(held, network.outputs, {})
        before = _noise(network, start, held, expected)
        for smaller in SMALLER:
            layers = {name: _Layer(layer) for name, layer in start.items()}
            rate = RATE * smaller * min(1.0, before / FAR_OFF)
            _train(network, layers, others, rate, seed)
            found = {name: layer.result() for name, layer in layers.items()}
            if _noise(network, found, held, expected) < before:
                return found
    finally:
        torch.set_num_threads(threads)
    return None


def _noise(
    network: TorchNetwork,
    tuned: Mapping[str, Tuned],
    inputs: Mapping[str, Tensor],
    expected: Sequence[Tensor],
) -> float:
    layers = {name: _Layer(layer) for name, layer in tuned.items()}
    with torch.no_grad():
        found = network.run(inputs, network.outputs, replaced(network, layers))
    return relative_noise(expected, found)


def relative_noise(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Power of the difference over power of the signal, summed over the outputs."""
    return sum(
        float((a - b).square().sum()) / max(float(a.square().sum()), _LEAST)
        for a, b in zip(expected, found, strict=True)
    )


def _train(
    network: TorchNetwork,
    layers: Mapping[str, _Layer],
    inputs: Mapping[str, Tensor],
    rate: float,
    seed: int,
) -> None:
    wanted = (*network.outputs, *(sums for _, _, sums in network.layers.values()))
    count = len(next(iter(inputs.values())))
    batches = math.ceil(count / BATCH)
    optimizer = torch.optim.Adam([g for layer in layers.values() for g in layer.groups(rate)])
    generator = torch.Generator().manual_seed(seed)
    teacher = _Teacher(network, inputs, wanted)
    epochs = _epochs(network, teacher, layers, count)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    for _ in range(epochs):
        order = torch.randperm(count, generator=generator)
        for part in order.tensor_split(batches):
            batch = {name: values[part] for name, values in inputs.items()}
            expected = teacher.values(part)
            found = network.run(batch, wanted, replaced(network, layers))
            errors = [
                (a - b).square().mean() / power
                for a, b, power in zip(found, expected, teacher.powers, strict=True)
            ]
            outputs = len(network.outputs)
            loss = torch.stack(errors[:outputs]).mean() + torch.stack(errors[outputs:]).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def _epochs(
    network: TorchNetwork, teacher: _Teacher, layers: Mapping[str, _Layer], count: int
) -> int:
    """As many as MOST_MACS allows."""
    sums = dict(zip(network.layers, teacher.sizes[len(network.outputs) :], strict=True))
    macs = sum(sums[name] * layer.free.shape[1] for name, layer in layers.items())
    return min(EPOCHS, max(FEWEST_EPOCHS, int(MOST_MACS / (macs * count))))


class _Teacher:
    """What the float network says; kept, where it is not too much, since it stays the same.

    Attributes:
        sizes: Numbers of each of the values in a sample.
        powers: Mean square of each of the values.
    """

    def __init__(
        self, network: TorchNetwork, inputs: Mapping[str, Tensor], wanted: Sequence[str]
    ) -> None:
        self.network, self.inputs, self.wanted = network, inputs, wanted
        self.kept: tuple[Tensor, ...] = ()
        count = len(next(iter(inputs.values())))
        first = self.values(torch.arange(min(count, BATCH)))
        self.sizes = [values[0].numel() for values in first]
        self.powers = [max(float(values.square().mean()), _LEAST) for values in first]
        batches = math.ceil(count / BATCH)
        if count * sum(self.sizes) <= MOST_KEPT:
            parts = [self.values(part) for part in torch.arange(count).tensor_split(batches)]
            self.kept = tuple(torch.cat(values) for values in zip(*parts, strict=True))

    def values(self, part: Tensor) -> tuple[Tensor, ...]:
        """For the samples of these numbers."""
        if self.kept:
            return tuple(values[part] for values in self.kept)
        with torch.no_grad():
            batch = {name: values[part] for name, values in self.inputs.items()}
            return self.network.run(batch, self.wanted, {})


def replaced(network: TorchNetwork, layers: Mapping[str, _Layer]) -> dict[str, Tensor]:
    """Names of constants -> what the layers have in their place."""
    found: dict[str, Tensor] = {}
    for name, layer in layers.items():
        weights, bias, _ = network.layers[name]
        found |= {weights: layer.weights(), bias: layer.bias}
    return found


def stacked(network: TorchNetwork, samples: Sequence[Sample]) -> dict[str, Tensor]:
    """Input name -> [n, 1, ...]."""
    return {
        name: torch.from_numpy(np.stack([np.asarray(s[name], np.float32) for s in samples]))
        for name in network.inputs
    }
