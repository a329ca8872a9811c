"""resnet8 and ds_cnn with 16 values a layer, post-training, from calibration inputs alone.

    python benchmarks/compression/post_training.py

Calibration: 512 training images of CIFAR-10 for resnet8; for ds_cnn, which has no training data
here, the first 200 of the 1,000 evaluation inputs, without labels, and accuracy is given for the
other 800 as well. Plain k-means beside it shows what looking at the data earns.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.engine import apply_recipe
from edgefactor.pipeline.compress.freezing import freeze
from edgefactor.pipeline.compress.recipe import load_recipe, parse_recipe
from edgefactor.pipeline.compress.save import save
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.files import factory
from edgefactor.pipeline.inputs.data import Dataset

PLAIN = '[[step]]\nmethod = "share"\nvalues = 16\nscale = "{scale}"\n'


def cifar10(shared: Path, test: int) -> tuple[Dataset, Dataset]:
    """Calibration images and test images, pixels 0 to 255."""
    with np.load(shared / "data" / "cifar10.npz") as arrays:
        train = arrays["x_train"][:512]
        images, labels = arrays["x_test"][:test], arrays["y_test"][:test].astype(np.int64)
    layout = [np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32) for x in (train, images)]
    return Dataset(inputs=(layout[0],)), Dataset(inputs=(layout[1],), labels=labels)


def keywords(shared: Path) -> tuple[Dataset, Dataset]:
    """The first 200 inputs, and all 1,000 with labels."""
    with np.load(shared / "data" / "kws01.npz") as arrays:
        x = ((arrays["x"].astype(np.float32) - 83) * np.float32(0.5847029))[:, None]
        labels = arrays["y"].astype(np.int64)
    return Dataset(inputs=(x[:200],)), Dataset(inputs=(x,), labels=labels)


def network(shared: Path, name: str) -> nn.Module:
    """A trained network of ../shared."""
    place = f"{shared / 'models' / 'mlperf_tiny.py'}:{name}"
    model: nn.Module = factory.resolve(place, option="--shared")()
    state = torch.load(shared / "models" / f"{name}.pt", weights_only=True)
    model.load_state_dict(state)
    return model.eval()


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--output", type=Path, default=Path("build/compression"))
    parser.add_argument("--test", type=int, default=9975, help="test images of CIFAR-10")
    parser.add_argument("--only", nargs="*", default=[""], help="recipes whose name holds one of")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    ours = load_recipe("post-training-16", BY_NAME)
    recipes = {
        f"k-means, scale {scale}": parse_recipe(
            PLAIN.format(scale=scale), BY_NAME, name="plain", where="plain"
        )
        for scale in ("none", "max")
    } | {"post-training-16": ours}
    chosen = [title for title in recipes if any(part in title for part in arguments.only)]
    print("| network | recipe | float % | shared % | on unseen % | rate | device B | s |")
    print("|---" * 8 + "|", flush=True)
    facts = []
    for name, (calibration, test) in {
        "ds_cnn": keywords(arguments.shared),
        "resnet8": cifar10(arguments.shared, arguments.test),
    }.items():
        unseen = test
        if name == "ds_cnn":
            assert test.labels is not None
            unseen = Dataset(inputs=(test.inputs[0][200:],), labels=test.labels[200:])
        for title in chosen:
            recipe = recipes[title]
            started = time.monotonic()
            model = network(arguments.shared, name)
            context = Context(trainer=TorchTrainer(), train=calibration, evaluation=test)
            outcome = apply_recipe(model, recipe, BY_NAME, context)
            freeze(model)
            context.evaluation = unseen
            entry = {
                "network": name,
                "recipe": title,
                "float": outcome.accuracy_before,
                "shared": outcome.accuracy_after,
                "unseen": context.accuracy(model),
                "rate": outcome.storage.rate,
                "device_bytes": outcome.storage.device_weight_bytes,
                "seconds": time.monotonic() - started,
            }
            facts.append(entry)
            percent = " | ".join(f"{100 * entry[key]:.2f}" for key in ("float", "shared", "unseen"))
            print(
                f"| {name} | {title} | {percent} | {entry['rate']:.1f}x | "
                f"{entry['device_bytes']:,} | {entry['seconds']:.0f} |",
                flush=True,
            )
            if recipe is ours:
                example = [test.inputs[0][:1]]
                save(model, outcome, recipe, example, arguments.output / f"{name}-16.pt2")
    if len(chosen) == len(recipes):
        (arguments.output / "post_training.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
