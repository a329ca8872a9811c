"""Every compressed network on the device: exported, checked on all rungs, flash beside the rate.

    python benchmarks/compression/device.py

Takes the .pt2 files that mnist.py, post_training.py, resnet20.py, deep_k_means.py and factorized.py
left in --output; networks that are not there are left out. Checks that no tensor differs on any
exact rung, and that each shared layer has as many int8 codes as it was trained with, and no vector
that was not trained. Prints a Markdown table; the figures go into results/device.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import factorized
import mnist
import numpy as np
import post_training
import resnet20
from trained_codes import codes_as_trained, differing_elements

from edgefactor.pipeline import run
from edgefactor.pipeline.compress.save import read_metadata
from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.inputs.data import Dataset
from edgefactor.pipeline.report import Report

SAMPLES = 1000
BOTH = ("cortex-m4", "cortex-m0plus")
Data = Callable[[Path], tuple[Dataset, Dataset]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A compressed network.

    Attributes:
        data: Gives (calibration, test) data.
        targets: Where it is exported for.
        paper: The rate that the paper has, in words.
        title: For the table; the file's name by default.
    """

    data: Data
    targets: tuple[str, ...] = ("cortex-m4",)
    paper: str = ""
    title: str = ""


def _cifar10(shared: Path) -> tuple[Dataset, Dataset]:
    return post_training.cifar10(shared, SAMPLES)


def _normalised(shared: Path) -> tuple[Dataset, Dataset]:
    return resnet20.images(shared, "train", 256), resnet20.images(shared, "test", SAMPLES)


RESULTS = {
    "lenet-300-100": Result(data=mnist.mnist, targets=BOTH, paper="40x (1510.00149)"),
    "lenet-5": Result(data=mnist.mnist, targets=BOTH, paper="39x (1510.00149)"),
    "soft-sharing": Result(data=mnist.mnist, targets=BOTH, paper="64x (1702.04008)"),
    "ds_cnn-16": Result(data=post_training.keywords, targets=BOTH),
    "resnet8-16": Result(data=_cifar10, targets=BOTH),
    "resnet20-16": Result(data=_normalised),
    "resnet20-vector-2bit": Result(data=_normalised),
    "deep-k-means": Result(data=_normalised, paper="45x (1806.09228)"),
    "factorized-plain": Result(data=mnist.mnist, title="before factorization", targets=BOTH),
    **{
        f"factorized-{number}": Result(data=mnist.mnist, title=kind, targets=BOTH)
        for number, kind in enumerate(factorized.KINDS)
    },
}


def bundle_of(name: str, target: str, folder: Path) -> Path:
    """Where a result is exported to."""
    return folder / f"device-{name}-{target}"


def exported(name: str, model: Path, target: str, shared: Path, folder: Path) -> Report:
    """The report of the bundle, which lies in `bundle_of`."""
    places = []
    for part, data in zip(("calibration", "test"), RESULTS[name].data(shared), strict=True):
        data = data.take(SAMPLES if part == "test" else 256)
        place = folder / f"device-{part}.npz"
        labels = {} if data.labels is None else {"y": data.labels}
        np.savez(place, x=data.inputs[0], **labels)
        places.append(str(place))
    options = ExportOptions(
        model=model,
        target=target,
        calibration=places[0],
        data=places[1],
        output=bundle_of(name, target, folder),
        samples=20,
        emulated_samples=2,
        max_accuracy_drop=100,
    )
    return run.export(options)


def measured(name: str, model: Path, target: str, shared: Path, folder: Path) -> dict[str, Any]:
    """One row."""
    report = exported(name, model, target, shared, folder)
    metadata = read_metadata(model)
    assert metadata is not None
    trained = codes_as_trained(model, bundle_of(name, target, folder))
    exact = [rung for rung in report.parity if rung.exact_required]
    encodings = [f"{layer.encoding} {layer.bits}" for layer in report.layers if layer.weight_bytes]
    return {
        "result": name,
        "target": target,
        "rate": metadata["storage"]["rate"],
        "paper": RESULTS[name].paper,
        "float_weight_bytes": 4 * metadata["storage"]["original_weights"],
        "flash_bytes": report.flash.total,
        "weight_bytes": report.flash.weights,
        "table_bytes": report.flash.tables,
        "ram_bytes": report.ram.total,
        "instructions": report.instructions,
        "accuracy_float": report.accuracy.float_,
        "accuracy_device": report.accuracy.device,
        "exact_rungs": [rung.rung for rung in exact],
        "differing_elements": differing_elements(report),
        "codes_as_trained": trained["values"],
        "vectors_as_trained": trained["vectors"],
        "encodings": {text: encodings.count(text) for text in dict.fromkeys(encodings)},
    }


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    weights = (row["weight_bytes"] or 0) + (row["table_bytes"] or 0)
    cells = [
        RESULTS[row["result"]].title or row["result"],
        row["target"],
        f"{row['rate']:.1f}x",
        row["paper"],
        f"{row['float_weight_bytes'] / weights:.1f}x" if weights else "",
        f"{row['flash_bytes'] or 0:,}",
        f"{weights:,}",
        f"{row['ram_bytes'] or 0:,}",
        f"{row['instructions'] or 0:,}",
        f"{100 * row['accuracy_float']:.1f}",
        f"{100 * row['accuracy_device']:.1f}",
        f"{row['differing_elements']} on {len(row['exact_rungs'])} rungs",
        *(
            "{} of {}".format(*row[f"{kind}_as_trained"]) if row[f"{kind}_as_trained"][1] else ""
            for kind in ("codes", "vectors")
        ),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Exports what is there; fails if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--output", type=Path, default=Path("build/compression"))
    parser.add_argument("--only", nargs="*", default=list(RESULTS), choices=list(RESULTS))
    arguments = parser.parse_args()
    print(
        "| result | target | rate | paper | on the device | flash B | of that weights, tables "
        "| RAM B | instructions | float % | device % | differing elements | codes as trained "
        "| vectors as trained |"
    )
    print("|---" * 14 + "|", flush=True)
    rows = []
    for name in arguments.only:
        model = arguments.output / f"{name}.pt2"
        for target in RESULTS[name].targets if model.is_file() else ():
            rows.append(measured(name, model, target, arguments.shared, arguments.output))
            print(line(rows[-1]), flush=True)
    place = resnet20.HERE / "results" / "device.json"
    known = json.loads(place.read_text()) if place.is_file() else []
    new = {(row["result"], row["target"]) for row in rows}
    kept = [row for row in known if (row["result"], row["target"]) not in new]
    place.write_text(json.dumps([*kept, *rows], indent=1) + "\n")
    wrong = [
        row
        for row in rows
        if row["differing_elements"]
        or len(set(row["codes_as_trained"])) > 1
        or len(set(row["vectors_as_trained"])) > 1
    ]
    sys.exit(f"{len(wrong)} rows are wrong" if wrong else 0)


if __name__ == "__main__":
    main()
