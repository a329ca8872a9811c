"""LeNet-5 with weights of 8, 4, 2 and 1 bits on an emulated Cortex-M4: trained, exported, counted.

    python benchmarks/compression/few_levels.py [--shared DIR] [--images N] [--form NAME ...]

One epoch of MNIST for the float reference and one through each method's rounding, on the first N
images; every layer is compressed. All exact rungs must agree; figures are the exporter's.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import mnist
import networks
import numpy as np
import torch
from torch import nn

from edgefactor.pipeline import run
from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.context import Context, TrainingOptions
from edgefactor.pipeline.compress.engine import apply_recipe
from edgefactor.pipeline.compress.freezing import freeze
from edgefactor.pipeline.compress.recipe import parse_recipe
from edgefactor.pipeline.compress.save import save
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.inputs.data import Dataset

TRAINING = "[step.training]\nepochs = 1\nlearning-rate = 5e-4\n"
FORMS = {
    "8 bits": 'method = "uniform"\nbits = 8\n',
    "16 values": 'method = "share"\nvalues = 16\n',
    "4 bits": 'method = "uniform"\nbits = 4\n',
    "4 values": 'method = "share"\nvalues = 4\n',
    "2 bits": 'method = "uniform"\nbits = 2\n',
    "ternary": 'method = "ternary"\n',
    "binary": 'method = "binary"\n',
}
"""Steps of a recipe; "2 bits" of this method are -1, 0, 1 too, with another threshold."""


def compressed(model: nn.Module, step: str, context: Context, place: Path) -> Path:
    """The network after one step, saved."""
    text = f'title = "few levels"\n[[step]]\n{step}{TRAINING}'
    recipe = parse_recipe(text, BY_NAME, name="few-levels", where="few_levels.py")
    outcome = apply_recipe(model, recipe, BY_NAME, context)
    assert context.train is not None
    save(freeze(model), outcome, recipe, [context.train.inputs[0][:1]], place)
    return place


def stored(data: Dataset, place: Path) -> str:
    """The data as a file."""
    np.savez(place, x=data.inputs[0], **({} if data.labels is None else {"y": data.labels}))
    return str(place)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--images", type=int, default=15000)
    parser.add_argument("--output", type=Path, default=Path("build/few-levels"))
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--form", choices=FORMS, action="append", help="all by default")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    train, test = (part.take(arguments.images) for part in mnist.mnist(arguments.shared))
    torch.manual_seed(0)
    reference = networks.lenet_5().eval()
    context = Context(trainer=TorchTrainer(), train=train, evaluation=test.take(1000), seed=0)
    context.trainer.fit(
        reference, TrainingOptions(epochs=1, learning_rate=1e-3), context, label="reference"
    )
    calibration = stored(train.take(256), arguments.output / "calibration.npz")
    samples = stored(test.take(1000), arguments.output / "test.npz")
    print("| weights | float % | device % | instructions | flash | weights | encodings | exact |")
    print("|---" * 8 + "|")
    for form in arguments.form or FORMS:
        model = copy.deepcopy(reference)
        place = arguments.output / f"{form.replace(' ', '-')}.pt2"
        place = compressed(model, FORMS[form], context, place)
        report = run.export(
            ExportOptions(
                model=place,
                target=arguments.target,
                calibration=calibration,
                data=samples,
                output=arguments.output / place.stem,
                samples=20,
                emulated_samples=2,
                max_accuracy_drop=100,
            )
        )
        exact = [rung for rung in report.parity if rung.exact_required]
        encodings = [
            f"{layer.encoding} {layer.bits}" for layer in report.layers if layer.weight_bytes
        ]
        assert report.flash is not None and report.accuracy is not None
        cells = (
            form,
            f"{100 * report.accuracy.float_:.1f}",
            f"{100 * report.accuracy.device:.1f}",
            f"{report.instructions or 0:,}",
            f"{report.flash.total:,}",
            f"{report.flash.weights:,}",
            ", ".join(encodings),
            f"{sum(rung.differing_elements for rung in exact)} on {len(exact)} rungs",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
