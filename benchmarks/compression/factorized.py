"""One factorized network of each kind on MNIST, down to instructions on the emulated Cortex-M4.

    python benchmarks/compression/factorized.py

Trains a small network, replaces its layers by each method in turn, fine-tunes, exports the result
and runs it on the emulated board. Parameters and multiplications are of the replaced layers,
accuracy on all test images, instructions of one inference. Both counts must be those of the
textbooks' formulas (`formulas`). Prints a table in Markdown and writes it with all figures into
--output.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import formulas
import mnist
import numpy as np
import torch
from torch import nn

from edgefactor.pipeline import run
from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.context import Context, TrainingOptions
from edgefactor.pipeline.compress.engine import Outcome, apply_recipe
from edgefactor.pipeline.compress.freezing import freeze
from edgefactor.pipeline.compress.layer_cost import cost_of_layer, output_shape, target_of
from edgefactor.pipeline.compress.observe import input_shapes
from edgefactor.pipeline.compress.recipe import parse_recipe
from edgefactor.pipeline.compress.save import save
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.inputs.data import Dataset
from edgefactor.pipeline.report import Report

WINDOWS = '["4", "8"]'
#: Row of the table -> the step of the recipe before fine-tuning.
KINDS = {
    "SVD of the 1x1 layer, rank 12": 'method = "svd"\nlayers = "11"\nrank = 12',
    "Tucker-2, rank 0.4": f'method = "tucker"\nlayers = {WINDOWS}\nrank = 0.4',
    "Tucker-2, EVBMF": f'method = "tucker"\nlayers = {WINDOWS}\nchoose = "evbmf"',
    "CP, rank 24": f'method = "cp"\nlayers = {WINDOWS}\nrank = 24',
    "separable, rank 0.25": f'method = "spatial"\nlayers = {WINDOWS}\nrank = 0.25',
    "depthwise separable": f'method = "depthwise"\nlayers = {WINDOWS}',
    "4 groups": f'method = "grouped"\nlayers = {WINDOWS}\ngroups = 4',
    "shift, fixed": f'method = "shift"\nlayers = {WINDOWS}',
    "shift, one tap a channel learned": (
        f'method = "shift"\nlayers = {WINDOWS}\ntaps = "attention-shared"\n'
        "temperature = 0.5\n[step.training]\nepochs = 1\nlearning_rate = 2e-3\nsamples = SAMPLES"
    ),
    "shift, one tap a kernel learned (SAL)": (
        f'method = "shift"\nlayers = {WINDOWS}\ntaps = "attention"\n'
        "temperature = 0.5\n[step.training]\nepochs = 1\nlearning_rate = 2e-3\nsamples = SAMPLES"
    ),
}
FINE_TUNE = """
[[step]]
method = "fine-tune"
[step.training]
epochs = 1
learning_rate = 1e-3
samples = SAMPLES
"""
REFERENCE = TrainingOptions(epochs=2, learning_rate=2e-3, batch=64)


def network() -> nn.Module:
    """Three windows, a 1x1 layer, a dense layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network of the table."""

    kind: str
    parameters: int
    multiplies: int
    accuracies: tuple[float, float]
    report: Report
    steps: list[dict[str, Any]]
    by_formula: tuple[int, int]

    def facts(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "kind": self.kind,
            "parameters": self.parameters,
            "multiplies": self.multiplies,
            "by_formula": self.by_formula,
            "accuracies": self.accuracies,
            "steps": self.steps,
            "report": self.report.to_dict(),
        }


def exported(model: nn.Module, outcome: Outcome, name: str, data: Dataset, folder: Path) -> Report:
    """The model on the emulated board."""
    recipe = parse_recipe('[[step]]\nmethod = "fine-tune"', BY_NAME, name=name, where="benchmark")
    path = folder / f"{name}.pt2"
    save(model, outcome, recipe, (data.inputs[0][:1],), path)
    assert data.labels is not None
    samples = folder / "samples.npz"
    np.savez(samples, x=data.inputs[0][:200], y=data.labels[:200])
    options = ExportOptions(
        model=path,
        calibration=str(samples),
        data=str(samples),
        output=folder / name,
        samples=20,
        emulated_samples=1,
    )
    return run.export(options)


def replaced(model: nn.Module, names: tuple[str, ...], data: Dataset) -> tuple[int, int]:
    """Parameters and multiplications of the layers, or of what stands in their place."""
    inputs = (torch.from_numpy(data.inputs[0][:1]),)
    shapes = input_shapes(model, names, inputs)
    target = target_of("cortex-m4")
    costs = [cost_of_layer(model.get_submodule(name), shapes[name], target) for name in names]
    return sum(cost.parameters for cost in costs), sum(cost.multiplies for cost in costs)


def by_formula(
    original: nn.Module, outcome: Outcome, options: Any, data: Dataset
) -> tuple[int, int]:
    """Parameters and multiplications that the formulas give for the layers of the first step."""
    step = outcome.steps[0]
    shapes = input_shapes(original, step.layers, (torch.from_numpy(data.inputs[0][:1]),))
    total = (0, 0)
    for name, facts in step.result.layers.items():
        layer = original.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        geometry = formulas.Layer(
            inputs=layer.in_channels,
            outputs=layer.out_channels,
            window=(layer.kernel_size[0], layer.kernel_size[1]),
            map_in=shapes[name][2:],  # type: ignore[arg-type]
            map_out=output_shape(layer, shapes[name])[2:],  # type: ignore[arg-type]
        )
        size = getattr(options, "groups", 0) or getattr(options, "multiplier", 1)
        numbers = tuple(facts.get("rank", (size,)))
        counts = formulas.counts(step.method, geometry, numbers)
        total = (total[0] + counts[0], total[1] + counts[1])
    return total


def make(
    kind: str, step: str, model: nn.Module, context: Context, samples: int, folder: Path
) -> Row:
    """Replaces, fine-tunes, exports."""
    original = copy.deepcopy(model)
    text = f"[[step]]\n{step}\n{FINE_TUNE}".replace("SAMPLES", str(samples))
    recipe = parse_recipe(text, BY_NAME, name=kind, where="benchmark")
    context.teacher = None
    outcome = apply_recipe(model, recipe, BY_NAME, context)
    freeze(model)
    names = outcome.steps[0].layers
    parameters, multiplies = replaced(model, names, context.train or context.evaluation)
    name = f"factorized-{list(KINDS).index(kind)}"
    report = exported(model, outcome, name, context.evaluation, folder)
    accuracies = tuple(step.accuracy or 0.0 for step in outcome.steps)
    return Row(
        kind=kind,
        parameters=parameters,
        multiplies=multiplies,
        accuracies=(accuracies[0], accuracies[-1]),
        report=report,
        steps=[step.to_dict() for step in outcome.steps],
        by_formula=by_formula(
            original, outcome, recipe.steps[0].options, context.train or context.evaluation
        ),
    )


def line(row: Row, before: tuple[int, int]) -> str:
    """A row of the table."""
    exact = all(rung.passed for rung in row.report.parity if rung.exact_required)
    flash = row.report.flash
    cells = [
        row.kind,
        f"{before[0]:,}",
        f"{row.parameters:,}",
        f"{before[1]:,}",
        f"{row.multiplies:,}",
        f"{row.accuracies[0]:.2%}",
        f"{row.accuracies[1]:.2%}",
        f"{row.report.instructions or 0:,}",
        f"{flash.total or 0:,}",
        f"{flash.weights or 0:,}",
        "yes" if row.by_formula == (row.parameters, row.multiplies) else f"NO: {row.by_formula}",
        "yes" if exact else "NO",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Runs the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--output", type=Path, default=Path("build/compression"))
    parser.add_argument("--only", nargs="*", default=[""], help="rows whose name holds one of")
    parser.add_argument("--train-samples", type=int, default=12_000)
    parser.add_argument("--tune-samples", type=int, default=6_000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    started = time.monotonic()
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    train, test = mnist.mnist(arguments.shared)
    train = train.take(arguments.train_samples)
    torch.manual_seed(0)
    original = network()
    context = Context(trainer=TorchTrainer(), train=train, evaluation=test, target="cortex-m4")
    context.trainer.fit(original, REFERENCE, context, label="reference")
    original.eval()
    accuracy = context.accuracy(original) or 0.0
    plain = apply_recipe(
        copy.deepcopy(original),
        parse_recipe('[[step]]\nmethod = "huffman"', BY_NAME, name="plain", where="benchmark"),
        BY_NAME,
        context,
    )
    report = exported(copy.deepcopy(original), plain, "factorized-plain", test, folder)
    windows = replaced(original, ("4", "8"), train)
    lines = [
        "| network | parameters of the layers | after | multiplications | after "
        "| accuracy replaced | fine-tuned | instructions | flash | weights "
        "| as the formulas | exact |",
        "|---" * 12 + "|",
        line(
            Row(kind="as trained", parameters=windows[0], multiplies=windows[1],
                accuracies=(accuracy, accuracy), report=report, steps=[],
                by_formula=windows),
            windows,
        ),
    ]  # fmt: skip
    facts: list[dict[str, Any]] = []
    print(*lines, sep="\n", flush=True)
    for kind, step in KINDS.items():
        if not any(part in kind for part in arguments.only):
            continue
        model = copy.deepcopy(original)
        row = make(kind, step, model, context, arguments.tune_samples, folder)
        before = replaced(original, tuple(row.steps[0]["layers"]), train)
        lines.append(line(row, before))
        facts.append({**row.facts(), "before": before})
        print(lines[-1], flush=True)
    (folder / "factorized.md").write_text("\n".join(lines) + "\n")
    (folder / "factorized.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
