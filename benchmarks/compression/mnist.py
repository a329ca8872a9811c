"""Deep Compression on MNIST: tables 2 and 3 of arXiv 1510.00149, paper beside measurement.

    python benchmarks/compression/mnist.py lenet-300-100
    python benchmarks/compression/mnist.py lenet-5

Trains the float reference, then prunes, shares, fine-tunes and counts Huffman codes. Error on all
10,000 test images. The table is printed, and written with the model into --output. To choose
settings without a look at the test images, --validation keeps the last training images for that.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import networks
import numpy as np
import torch
from torch import nn

from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.context import Context, TrainingOptions, TrainingProgress
from edgefactor.pipeline.compress.engine import Outcome, apply_recipe
from edgefactor.pipeline.compress.freezing import freeze
from edgefactor.pipeline.compress.recipe import load_recipe
from edgefactor.pipeline.compress.save import save
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.inputs.data import Dataset

HERE = Path(__file__).parent
#: Tables 2 and 3 of the paper: kept %, weight bits, with Huffman, index bits, with Huffman,
#: rate % of P+Q, of P+Q+H.
PAPER = {
    "lenet-300-100": {
        "ip1": (8, 6, 4.4, 5, 3.7, 3.1, 2.32),
        "ip2": (9, 6, 4.4, 5, 4.3, 3.8, 3.04),
        "ip3": (26, 6, 4.3, 5, 3.2, 15.7, 12.70),
        "total": (8, 6, 5.1, 5, 3.7, 3.1, 2.49),
    },
    "lenet-5": {
        "conv1": (66, 8, 7.2, 5, 1.5, 78.5, 67.45),
        "conv2": (12, 8, 7.2, 5, 3.9, 6.0, 5.28),
        "ip1": (8, 5, 4.5, 5, 4.5, 2.7, 2.45),
        "ip2": (19, 5, 5.2, 5, 3.7, 6.9, 6.13),
        "total": (8, 5.3, 4.1, 5, 4.4, 3.05, 2.55),
    },
}
FACTORIES = {"lenet-300-100": networks.lenet_300_100, "lenet-5": networks.lenet_5}
REFERENCE = {
    "lenet-300-100": TrainingOptions(epochs=20, learning_rate=1e-3, weight_decay=2e-5),
    "lenet-5": TrainingOptions(epochs=6, learning_rate=1e-3),
}


def mnist(shared: Path) -> tuple[Dataset, Dataset]:
    """Training and test images, pixels in [0, 1]."""
    with np.load(shared / "data" / "mnist.npz") as arrays:
        parts = [
            Dataset(
                inputs=((arrays[f"x_{part}"][:, None] / np.float32(255)).astype(np.float32),),
                labels=arrays[f"y_{part}"].astype(np.int64),
                source="mnist.npz",
            )
            for part in ("train", "test")
        ]
    return parts[0], parts[1]


def kept_back(data: Dataset, last: int) -> tuple[Dataset, Dataset]:
    """All but the last samples, and those."""
    assert data.labels is not None
    at = data.samples - last
    return data.take(at), Dataset(inputs=(data.inputs[0][at:],), labels=data.labels[at:])


def cpu_seconds() -> float:
    """CPU time of this process and of the programs it ran: what a shared machine does not blur."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def show(line: TrainingProgress) -> None:
    """One line of progress."""
    accuracy = "" if line.accuracy is None else f", {line.accuracy:.2%}"
    print(
        f"{line.step}: epoch {line.epoch:.1f} of {line.epochs:g}, loss {line.loss:.4f}{accuracy}, "
        f"{line.seconds_left:.0f} s left",
        flush=True,
    )


def table(network: str, outcome: Outcome) -> str:
    """The paper's columns, measured and as published, in Markdown."""
    rows = [
        "| layer | weights | kept % | bits | bits H | index | index H | P+Q % | P+Q+H % "
        "| paper: kept % | bits | bits H | index | index H | P+Q % | P+Q+H % |",
        "|---" * 16 + "|",
    ]
    layers = outcome.storage.layers
    weights = sum(layer.weights for layer in layers)
    entries = sum(layer.entries for layer in layers)

    def mean(values: list[float]) -> float:
        return sum(v * layer.entries for v, layer in zip(values, layers, strict=True)) / entries

    def row(name: str, count: int, mine: list[float]) -> str:
        cells = [f"{value:.2f}".rstrip("0").rstrip(".") for value in mine]
        return f"| {name} | {count:,} | {' | '.join(cells)} | " + " | ".join(
            str(value) for value in PAPER[network][name]
        ) + " |"  # fmt: skip

    for layer in layers:
        size = 32 * layer.weights / 100
        mine = [
            100 * layer.kept,
            layer.weight_bits,
            layer.weight_bits_huffman,
            layer.gap_bits,
            layer.gap_bits_huffman,
            layer.fixed_bits / size,
            layer.huffman_bits / size,
        ]
        rows.append(row(layer.name, layer.weights, mine))
    size = 32 * weights / 100
    totals = [
        100 * sum(layer.kept * layer.weights for layer in layers) / weights,
        mean([layer.weight_bits for layer in layers]),
        mean([layer.weight_bits_huffman for layer in layers]),
        mean([layer.gap_bits for layer in layers]),
        mean([layer.gap_bits_huffman for layer in layers]),
        sum(layer.fixed_bits for layer in layers) / size,
        sum(layer.huffman_bits for layer in layers) / size,
    ]
    return "\n".join([*rows, row("total", weights, totals)])


def error(model: nn.Module, context: Context) -> float:
    """Percent of the test images."""
    accuracy = context.accuracy(model)
    assert accuracy is not None
    return 100 * (1 - accuracy)


def main() -> None:
    """Runs one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=FACTORIES)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--output", type=Path, default=Path("build/compression"))
    parser.add_argument("--reference", type=Path, help="state dict of the float network")
    parser.add_argument("--recipe", help="TOML; the network's own beside this file by default")
    parser.add_argument("--validation", type=int, default=0, help="images kept from training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    started, cpu_started = time.monotonic(), cpu_seconds()
    train, test = mnist(arguments.shared)
    if arguments.validation:
        train, test = kept_back(train, arguments.validation)
    torch.manual_seed(arguments.seed)
    model = FACTORIES[arguments.network]().eval()
    context = Context(
        trainer=TorchTrainer(), train=train, evaluation=test, seed=arguments.seed, progress=show
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.reference:
        model.load_state_dict(torch.load(arguments.reference, weights_only=True))
    else:
        context.trainer.fit(model, REFERENCE[arguments.network], context, label="reference")
        torch.save(model.state_dict(), arguments.output / f"{arguments.network}.pt")
    place = arguments.recipe or str(HERE / f"{arguments.network}.toml")
    recipe = load_recipe(place, BY_NAME)
    reference = error(model, context)
    outcome = apply_recipe(model, recipe, BY_NAME, context)
    result = freeze(model)
    final = error(result, context)
    save(result, outcome, recipe, [train.inputs[0][:1]], arguments.output / f"{recipe.name}.pt2")
    text = table(arguments.network, outcome)
    seconds, cpu = time.monotonic() - started, cpu_seconds() - cpu_started
    facts = {
        "network": arguments.network,
        "recipe": Path(place).name,
        "seed": arguments.seed,
        **({"validation": arguments.validation} if arguments.validation else {}),
        "threads": arguments.threads,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "error_reference": reference,
        "errors_after_steps": [
            None if step.accuracy is None else 100 * (1 - step.accuracy) for step in outcome.steps
        ],
        "error_after": final,
        "rate": outcome.storage.rate,
        "stored_bytes": outcome.storage.stored_bits / 8,
        "device_weight_bytes": outcome.storage.device_weight_bytes,
        "storage": outcome.storage.to_dict(),
    }
    name = Path(place).stem
    (arguments.output / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(text)
    print(
        f"error {reference:.2f} % -> {final:.2f} %, rate {outcome.storage.rate:.1f}x "
        f"({outcome.storage.stored_bits / 8000:.1f} KB), device "
        f"{outcome.storage.device_weight_bytes:,} B, {seconds:.0f} s ({cpu:.0f} s of CPU)"
    )


if __name__ == "__main__":
    main()
