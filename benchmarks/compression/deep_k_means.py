"""Deep k-Means' penalty against plain k-means at the same rate: ResNet-20 on CIFAR-10.

    python benchmarks/compression/deep_k_means.py

Every row has the same vectors a layer, hence the same rate, and the same images: retraining with
the penalty or without it (the paper's "WR" clusters at once), then k-means, then fine-tuning of the
vectors. Accuracy on --test images after each, the mean of the --seeds, the lowest and the highest.
Retraining is by SGD unless told: Adam's steps are as long as its learning rate, however strong the
penalty pulls, which leaves the rows far from their clusters. One JSON line a row and seed is
appended to results/deep_k_means.jsonl; what is there is not measured again. Networks stay in
--output, that of the penalty and the first seed as deep-k-means.pt2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from mnist import cpu_seconds, show
from resnet20 import HERE, checkpoint, images

from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.engine import apply_recipe
from edgefactor.pipeline.compress.freezing import freeze
from edgefactor.pipeline.compress.recipe import parse_recipe
from edgefactor.pipeline.compress.save import save
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
optimizer = "{optimizer}"
epochs = {epochs}
batch = 64
learning-rate = {rate}
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
}


def recipe_of(title: str, arguments: argparse.Namespace) -> str:
    """TOML of a row."""
    strength, epochs, tuning = ROWS[title]
    return RECIPE.format(
        strength=strength,
        epochs=epochs,
        tuning=tuning,
        layout=arguments.layout,
        values=arguments.values,
        optimizer=arguments.optimizer,
        rate={"sgd": "1e-2", "adam": "1e-3"}[arguments.optimizer],
    )


def place(title: str, seed: int, arguments: argparse.Namespace) -> Path:
    """Where a row's network is kept; device.py takes that of the penalty and the first seed."""
    shown = title == "lambda = 1" and seed == arguments.seeds[0]
    name = "deep-k-means" if shown else f"deep-k-means-{list(ROWS).index(title)}-{seed}"
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.pt2"


def measure(title: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row, one seed."""
    text = recipe_of(title, arguments)
    recipe = parse_recipe(text, BY_NAME, name=title, where=title)
    model = checkpoint(arguments.shared)
    evaluation = images(arguments.shared, "test", arguments.test)
    context = Context(
        trainer=TorchTrainer(),
        train=images(arguments.shared, "train", arguments.train),
        evaluation=evaluation,
        seed=seed,
        progress=show,
    )
    started, cpu = time.monotonic(), cpu_seconds()
    outcome = apply_recipe(model, recipe, BY_NAME, context)
    clocks = time.monotonic() - started, cpu_seconds() - cpu
    save(freeze(model), outcome, recipe, [evaluation.inputs[0][:1]], place(title, seed, arguments))
    (step,) = outcome.steps
    weights = sum(facts["weights"] for facts in step.result.layers.values())
    errors = sum(f["relative_error"] * f["weights"] for f in step.result.layers.values())
    return {
        "row": title,
        "layout": arguments.layout,
        "values": arguments.values,
        "seed": seed,
        "train_images": arguments.train,
        "test_images": arguments.test,
        "accuracy_before": outcome.accuracy_before,
        **step.result.figures,
        "accuracy_after": outcome.accuracy_after,
        "relative_error": errors / weights,
        "rate": outcome.storage.rate,
        "seconds": round(clocks[0], 1),
        "cpu_seconds": round(clocks[1], 1),
        "recipe": text,
    }


def line(title: str, entries: list[dict[str, Any]]) -> str:
    """A row of the table, the mean over the seeds."""

    def mean(key: str) -> float:
        return statistics.fmean(entry[key] for entry in entries)

    def percent(key: str) -> str:
        found = [100 * entry[key] for entry in entries]
        return f"{statistics.fmean(found):.2f} ({min(found):.2f} to {max(found):.2f})"

    cells = [
        title,
        f"{mean('rate'):.1f}x",
        f"{mean('relative_error'):.3f}",
        *(percent(f"accuracy_{stage}") for stage in ("retrained", "shared", "after")),
        f"{mean('cpu_seconds'):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measures what is missing, then prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--results", type=Path, default=HERE / "results" / "deep_k_means.jsonl")
    parser.add_argument("--output", type=Path, default=Path("build/compression"))
    parser.add_argument("--layout", choices=("rows", "channels"), default="rows")
    parser.add_argument("--values", type=int, default=8)
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--train", type=int, default=5_000)
    parser.add_argument("--test", type=int, default=4_000)
    parser.add_argument("--only", nargs="*", default=[""], help="rows whose title holds one of")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    text = arguments.results.read_text() if arguments.results.is_file() else ""
    found = [json.loads(line) for line in text.splitlines()]
    titles = [title for title in ROWS if any(part in title for part in arguments.only)]
    rows: dict[str, list[dict[str, Any]]] = {title: [] for title in titles}
    for seed in arguments.seeds:
        for title in titles:
            wanted = {"recipe": recipe_of(title, arguments), "seed": seed}
            wanted |= {"train_images": arguments.train, "test_images": arguments.test}
            known = [entry for entry in found if wanted.items() <= entry.items()]
            entry = known[-1] if known else measure(title, seed, arguments)
            if not known:
                with arguments.results.open("a") as file:
                    file.write(json.dumps(entry) + "\n")
            rows[title].append(entry)
    print("| | rate | k-means error | retrained % | k-means % | fine-tuned % | s of CPU |")
    print("|---" * 7 + "|")
    for title, entries in rows.items():
        print(line(title, entries))


if __name__ == "__main__":
    main()
