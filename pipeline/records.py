"""What a bundle's manifest remembers of the run, and reading it back."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from edgefactor import __version__
from edgefactor.export.c_code import c_text
from edgefactor.export.c_writer import Normalization as CNormalization
from edgefactor.pipeline.calibrate import DEFAULT_METHOD
from edgefactor.pipeline.checking.checks import Limits
from edgefactor.pipeline.config import ExportOptions, Normalization
from edgefactor.pipeline.memory_fit import start_up_budget
from edgefactor.targets.description import Target

_PACKAGES = (
    "ai-edge-litert", "flatbuffers", "numpy", "onnx", "onnxruntime", "onnxsim", "tflite-micro",
    "torch",
)  # fmt: skip


def c_prefix(options: ExportOptions) -> str:
    """What the C names start with: as the user says, or from the name of the model's file."""
    derived = c_text.prefix(options.name or options.model.stem)
    return options.name if options.name and options.name.lower() == derived else derived


def versions() -> dict[str, str]:
    """Version of edgefactor and of every package that takes part in an export, by name."""
    versions = {"edgefactor": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def recorded(options: ExportOptions, target: Target) -> dict[str, Any]:
    """The options as the manifest keeps them: what a later check needs, without any folder."""
    limits = Limits.of_export(options, target)
    normalization = options.normalization
    return {
        "model": options.model.name,
        "name": c_prefix(options),
        "target": options.target if Path(options.target).suffix else target.name,
        "calibration": Path(options.calibration).name if options.calibration else None,
        "data": Path(options.data).name if options.data else None,
        "calibration_method": options.calibration_method or DEFAULT_METHOD,
        "normalization": {
            "scale": normalization.scale,
            "mean": list(normalization.mean),
            "std": list(normalization.std),
        },
        "activations": options.activations,
        "optimize": options.optimize,
        "huffman": options.huffman,
        "start_up_bytes": start_up_budget(options, limits.ram_bytes),
        "share": options.share,
        "share_vectors": options.share_vectors,
        "bits": options.bits,
        "keep": list(options.keep),
        "tune": options.tune,
        "stateful": list(options.stateful),
        "samples": options.samples,
        "emulated_samples": options.emulated_samples if options.emulate else 0,
        "seed": options.seed,
        "flash_bytes": limits.flash_bytes,
        "ram_bytes": limits.ram_bytes,
        "instructions": limits.instructions,
        "max_accuracy_drop": limits.accuracy_drop,
    }


def normalization(recorded: Mapping[str, Any]) -> Normalization:
    """The normalization that an export recorded."""
    return Normalization(
        scale=recorded["scale"], mean=tuple(recorded["mean"]), std=tuple(recorded["std"])
    )


def c_normalization(how: Normalization) -> CNormalization | None:
    """What the C header offers; None if inputs need no normalization."""
    if how.is_identity:
        return None
    return CNormalization(scale=how.scale, mean=how.mean or (0.0,), std=how.std or (1.0,))
