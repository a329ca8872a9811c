"""ResNet-20 on CIFAR-10 from its checkpoint (91.73 %), compressed by any recipe.

    python benchmarks/compression/resnet20.py                       # 16 values a layer
    python benchmarks/compression/resnet20.py --recipe FILE.toml    # another recipe

Training images: the 25,000 of ../shared, as many as the recipe takes. Accuracy on all test images
there. One line of the table is printed, and appended to --output/resnet20.jsonl.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from mnist import cpu_seconds, show
from torch import nn

from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.checkpoints import Checkpoints
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.engine import apply_recipe
from edgefactor.pipeline.compress.freezing import freeze
from edgefactor.pipeline.compress.recipe import load_recipe
from edgefactor.pipeline.compress.save import save
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.files import factory
from edgefactor.pipeline.inputs.data import Dataset

HERE = Path(__file__).parent
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images(shared: Path, part: str, count: int) -> Dataset:
    """Normalised images of one part, NCHW."""
    with np.load(shared / "data" / "cifar10.npz") as arrays:
        x = arrays[f"x_{part}"][:count].astype(np.float32) / 255
        labels = arrays[f"y_{part}"][:count].astype(np.int64)
    x = (x - np.float32(MEAN)) / np.float32(STD)
    layout = np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)
    return Dataset(inputs=(layout,), labels=labels, source="cifar10.npz")


def checkpoint(shared: Path) -> nn.Module:
    """The trained network."""
    place = shared / "models"
    model: nn.Module = factory.resolve(f"{place / 'cifar_resnet.py'}:resnet20", option="--shared")()
    model.load_state_dict(torch.load(place / "resnet20.pt", weights_only=True))
    return model.eval()


def main() -> None:
    """Runs one recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--output", type=Path, default=Path("build/compression"))
    parser.add_argument("--recipe", default=str(HERE / "resnet20-16.toml"))
    parser.add_argument("--train", type=int, default=25_000)
    parser.add_argument("--test", type=int, default=9975)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    recipe = load_recipe(arguments.recipe, BY_NAME)
    model = checkpoint(arguments.shared)
    train = images(arguments.shared, "train", arguments.train)
    test = images(arguments.shared, "test", arguments.test)
    folder = arguments.output / f"resnet20-{recipe.name}.checkpoints"
    context = Context(
        trainer=TorchTrainer(Checkpoints(folder, f"{recipe.steps!r} {arguments!r}")),
        train=train,
        evaluation=test,
        seed=arguments.seed,
        progress=show,
        say=lambda text: print(text, flush=True),
    )
    started, cpu_started = time.monotonic(), cpu_seconds()
    outcome = apply_recipe(model, recipe, BY_NAME, context)
    seconds, cpu = time.monotonic() - started, cpu_seconds() - cpu_started
    freeze(model)
    save(model, outcome, recipe, [test.inputs[0][:1]], arguments.output / f"{recipe.name}.pt2")
    facts = {
        "recipe": recipe.name,
        "accuracy_before": outcome.accuracy_before,
        "accuracy_after": outcome.accuracy_after,
        "accuracies": [step.accuracy for step in outcome.steps],
        "rate": outcome.storage.rate,
        "device_bytes": outcome.storage.device_weight_bytes,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "seed": arguments.seed,
        "test_images": arguments.test,
    }
    shutil.rmtree(folder)
    with (arguments.output / "resnet20.jsonl").open("a") as file:
        file.write(json.dumps(facts) + "\n")
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
