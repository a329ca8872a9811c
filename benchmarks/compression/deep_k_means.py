"""Deep k-Means' penalty against plain k-means at the same rate: ResNet-20 on CIFAR-10.

    python benchmarks/compression/deep_k_means.py

Every row has the same vectors a layer, hence the same rate, and the same images: retraining with
the penalty or without it (the paper's "WR" clusters at once), then k-means, then fine-tuning of the
vectors. Accuracy on --test images after each. One JSON line a row is appended to
results/deep_k_means.jsonl; rows that are there are not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from mnist import cpu_seconds, show
from resnet20 import HERE, checkpoint, images

from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.engine import apply_recipe
from edgefactor.pipeline.compress.recipe import parse_recipe
from edgefactor.pipeline.compress.training import TorchTrainer

RECIPE = """
[[step]]
method = "deep-k-means"
layers = ["layer*"]
strength = {strength}
layout = "{layout}"
d = 4
values = {values}
renew = 20
[step.retraining]
epochs = {epochs}
batch = 64
learning-rate = 1e-3
loss = "distill"
distill-weight = 0.8
temperature = 3
[step.training]
epochs = {tuning}
batch = 64
learning-rate = 1e-3
loss = "distill"
distill-weight = 0.8
temperature = 3
"""
#: Title -> (strength, epochs of retraining, of fine-tuning).
ROWS = {
    "k-means at once": (0, 0, 0),
    "retrained without the penalty": (0, 1, 0.5),
    "lambda = 1": (1, 1, 0.5),
    "lambda = 10": (10, 1, 0.5),
}


def measure(title: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row."""
    strength, epochs, tuning = ROWS[title]
    text = RECIPE.format(
        strength=strength,
        epochs=epochs,
        tuning=tuning,
        layout=arguments.layout,
        values=arguments.values,
    )
    recipe = parse_recipe(text, BY_NAME, name=title, where=title)
    model = checkpoint(arguments.shared)
    context = Context(
        trainer=TorchTrainer(),
        train=images(arguments.shared, "train", arguments.train),
        evaluation=images(arguments.shared, "test", arguments.test),
        progress=show,
    )
    started, cpu = time.monotonic(), cpu_seconds()
    outcome = apply_recipe(model, recipe, BY_NAME, context)
    (step,) = outcome.steps
    weights = sum(facts["weights"] for facts in step.result.layers.values())
    errors = sum(f["relative_error"] * f["weights"] for f in step.result.layers.values())
    return {
        "row": title,
        "layout": arguments.layout,
        "values": arguments.values,
        "train_images": arguments.train,
        "test_images": arguments.test,
        "accuracy_before": outcome.accuracy_before,
        **step.result.figures,
        "accuracy_after": outcome.accuracy_after,
        "relative_error": errors / weights,
        "rate": outcome.storage.rate,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(cpu_seconds() - cpu, 1),
        "recipe": text,
    }


def main() -> None:
    """Measures what is missing, then prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--results", type=Path, default=HERE / "results" / "deep_k_means.jsonl")
    parser.add_argument("--layout", choices=("rows", "channels"), default="rows")
    parser.add_argument("--values", type=int, default=32)
    parser.add_argument("--train", type=int, default=5_000)
    parser.add_argument("--test", type=int, default=4_000)
    parser.add_argument("--only", nargs="*", default=[""], help="rows whose title holds one of")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    text = arguments.results.read_text() if arguments.results.is_file() else ""
    entries = [json.loads(line) for line in text.splitlines()]
    wanted = {"layout": arguments.layout, "values": arguments.values}
    print("| | rate | k-means error | retrained % | k-means % | fine-tuned % | s of CPU |")
    print("|---" * 7 + "|", flush=True)
    for title in ROWS:
        if not any(part in title for part in arguments.only):
            continue
        known = [e for e in entries if e["row"] == title and wanted.items() <= e.items()]
        entry = known[-1] if known else measure(title, arguments)
        if not known:
            with arguments.results.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        accuracies = (entry[f"accuracy_{when}"] for when in ("retrained", "shared", "after"))
        cells = " | ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)
        print(
            f"| {title} | {entry['rate']:.1f}x | {entry['relative_error']:.4f} | {cells} | "
            f"{entry['cpu_seconds']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
