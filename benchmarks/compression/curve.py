"""Accuracy against flash on the device, for every method on the same axes: ResNet-20, CIFAR-10.

    python benchmarks/compression/curve.py            # measures what is missing, then draws
    python benchmarks/compression/curve.py --draw     # draws what there is
    python benchmarks/compression/curve.py --export   # exports again what was trained, then draws

Every point starts from the checkpoint (91.73 %), trains on the same 2,000 images once
(`curve_points`), and is exported for cortex-m4: flash is the whole linked firmware, RAM and
instructions are those of the emulated board, and every tensor must be equal on all exact rungs, the
board's included. Accuracy is of the first 2,000 test images, in float. One JSON line a point is
appended to results/curve.jsonl; points that are there are not measured again, so the run may be
interrupted. The networks stay in --output/curve.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from curve_drawing import draw, table
from curve_points import IMAGES, POINTS, Point
from resnet20 import HERE, checkpoint, cpu_seconds, images
from trained_codes import codes_as_trained, differing_elements

from edgefactor.errors import EdgefactorError
from edgefactor.pipeline import run
from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.engine import apply_recipe
from edgefactor.pipeline.compress.freezing import freeze
from edgefactor.pipeline.compress.recipe import parse_recipe
from edgefactor.pipeline.compress.save import save
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.inputs.data import Dataset
from edgefactor.pipeline.report import Report

TARGET = "cortex-m4"
TEST_IMAGES = 2000
CALIBRATION = 128


def exported(model: Path, bundle: Path, folder: Path, calibration: Dataset) -> Report:
    """The model as a bundle, all files compared, here and on the emulated board."""
    place = folder / "curve-calibration.npz"
    np.savez(place, x=calibration.inputs[0])
    options = ExportOptions(
        model=model,
        target=TARGET,
        optimize="size",
        calibration=str(place),
        output=bundle,
        samples=4,
        emulated_samples=1,
        name="curve",
    )
    return run.export(options)


def place_of(point: Point, folder: Path) -> Path:
    """Where a network is kept."""
    return folder / "curve" / f"{point.key}.pt2"


def on_the_device(point: Point, calibration: Dataset, folder: Path) -> dict[str, Any]:
    """What a kept network takes, and whether it is what was trained."""
    bundle = folder / "curve-bundle"
    report = exported(place_of(point, folder), bundle, folder, calibration)
    trained = codes_as_trained(place_of(point, folder), bundle)
    return {
        "flash_bytes": report.flash.total,
        "weight_bytes": (report.flash.weights or 0) + (report.flash.tables or 0),
        "code_bytes": report.flash.code,
        "ram_bytes": report.ram.total,
        "instructions": report.instructions,
        "exact_rungs": [rung.rung for rung in report.parity if rung.exact_required],
        "differing_elements": differing_elements(report),
        "codes_as_trained": trained["values"],
        "vectors_as_trained": trained["vectors"],
    }


def measure(point: Point, shared: Path, folder: Path) -> dict[str, Any]:
    """Compresses, trains, exports."""
    clocks = time.monotonic(), cpu_seconds()
    model = checkpoint(shared)
    train = images(shared, "train", IMAGES)
    test = images(shared, "test", TEST_IMAGES)
    context = Context(trainer=TorchTrainer(), train=train, target=TARGET)
    recipe = parse_recipe(point.recipe, BY_NAME, name=point.key, where=point.key)
    outcome = apply_recipe(model, recipe, BY_NAME, context)
    freeze(model)
    path = place_of(point, folder)
    path.parent.mkdir(exist_ok=True)
    save(model, outcome, recipe, [test.inputs[0][:1]], path)
    context.evaluation = test
    return {
        "key": point.key,
        "method": point.method,
        "label": point.label,
        "images": IMAGES,
        "accuracy": context.accuracy(model),
        "rate": outcome.storage.rate,
        "stored_bytes": outcome.storage.stored_bits / 8,
        "notes": [note for step in outcome.steps for note in step.result.notes][:4],
        **on_the_device(point, train.take(CALIBRATION), folder),
        "seconds": round(time.monotonic() - clocks[0], 1),
        "cpu_seconds": round(cpu_seconds() - clocks[1], 1),
        "recipe": point.recipe,
    }


def wrong(entry: dict[str, Any]) -> bool:
    """Whether the device computes, or stores, something else than was trained."""
    counts = entry["codes_as_trained"], entry["vectors_as_trained"]
    return entry["differing_elements"] > 0 or any(right != all_ for right, all_ in counts)


def in_turn() -> list[Point]:
    """First one point of every method, then the second of each, and so on."""
    seen: dict[str, int] = {}
    turns = []
    for point in POINTS:
        seen[point.method] = seen.get(point.method, 0) + 1
        turns.append((seen[point.method], point))
    return [point for _, point in sorted(turns, key=lambda turn: turn[0])]


def read(place: Path) -> dict[str, dict[str, Any]]:
    """Results by key; the last line of a key counts."""
    lines = place.read_text().splitlines() if place.is_file() else []
    return {entry["key"]: entry for entry in map(json.loads, lines)}


def main() -> None:
    """Measures what is missing, then draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--output", type=Path, default=Path("build/compression"))
    parser.add_argument("--results", type=Path, default=HERE / "results" / "curve.jsonl")
    parser.add_argument("--picture", type=Path, default=Path("docs/compression-curve.png"))
    parser.add_argument("--only", nargs="*", default=[""], help="points whose key holds one of")
    parser.add_argument("--export", action="store_true", help="export kept networks again")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for point in in_turn():
        found = read(arguments.results).get(point.key)
        wanted = any(part in point.key for part in arguments.only) and not arguments.draw
        known = found is not None and found["recipe"] == point.recipe
        if not wanted or known != arguments.export:
            continue
        print(f"{point.method}, {point.label}", flush=True)
        try:
            if found is not None and arguments.export:
                calibration = images(arguments.shared, "train", CALIBRATION)
                entry = found | on_the_device(point, calibration, arguments.output)
            else:
                entry = measure(point, arguments.shared, arguments.output)
        except EdgefactorError as error:
            print(f"  refused: {error}", flush=True)
            continue
        with arguments.results.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        print(
            f"  {entry['accuracy']:.2%}, {entry['flash_bytes']:,} B, "
            f"{entry['instructions']:,} instructions, {'WRONG' if wrong(entry) else 'as trained'}, "
            f"{entry['seconds']:.0f} s ({entry['cpu_seconds']:.0f} s CPU)",
            flush=True,
        )
    entries = read(arguments.results)
    if entries:
        draw(entries, arguments.picture)
        print(table(entries))
    sys.exit("\n".join(f"wrong: {key}" for key, entry in entries.items() if wrong(entry)) or 0)


if __name__ == "__main__":
    main()
