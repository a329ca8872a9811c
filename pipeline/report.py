"""The report of an export or a check: plain data with a documented, versioned schema.

``docs/report-schema.md`` says what each field means. Nothing in it depends on the time, the machine
or the folder, so the same model gives the same bytes; figures that were planned and figures that
were measured are different fields.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefactor.errors import OptionError
from edgefactor.pipeline.bundle import REPORT

SCHEMA = "edgefactor-report"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One step of the ladder: a runtime compared with one before it.

    Attributes:
        rung: Which runtime, on which file.
        compared_with: The rung it is compared with.
        exact_required: Whether every element has to be equal.
        samples: Inputs compared.
        tensors: Tensors compared per input.
        elements: Elements compared in all.
        differing_elements: Elements that differ (for real values: by more than the tolerance).
        max_difference: In codes for int8 tensors, in real units for float outputs.
        mean_difference: Likewise.
        unit: "codes" or "real".
        sqnr_db: Of the outputs, as real numbers; None if equal.
        argmax_agreement: Fraction of samples with the same class; None if the output is no
            vector of scores.
        tolerance: The gate, in words.
        passed: Whether the gate holds.
        first_mismatch: The first tensor that went wrong and where; None if none did.
    """

    rung: str
    compared_with: str
    exact_required: bool
    samples: int
    tensors: int
    elements: int
    differing_elements: int
    max_difference: float
    mean_difference: float
    unit: str
    sqnr_db: float | None
    argmax_agreement: float | None
    tolerance: str
    passed: bool
    first_mismatch: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Fractions of labelled samples recognised; None where there are no labels."""

    float_: float | None
    int8: float | None
    device: float | None
    samples: int

    @property
    def drop_points(self) -> float | None:
        """Loss from float to device in percentage points."""
        if self.float_ is None or self.device is None:
            return None
        return 100 * (self.float_ - self.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One operator as it runs on the device."""

    name: str
    operator: str
    encoding: str
    bits: int
    distinct_values: int
    weight_bytes: int
    table_bytes: int
    kernel: str
    macs: int
    output_bytes: int
    scratch_bytes: int
    instructions: int | None
    source: str
    kernel_files: tuple[str, ...] = ()
    alternatives: tuple[Mapping[str, Any], ...] = ()
    rejected: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flash:
    """Flash of the minimal firmware, in bytes, as linked. None where nothing was linked.

    ``kernels`` is the part of the code that each C file of the kernels takes.
    """

    total: int | None
    code: int | None
    weights: int | None
    tables: int | None
    planned_weights: int
    sections: Mapping[str, int]
    kernels: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ram:
    """RAM in bytes: measured in the emulator, and what was planned. None where not measured.

    ``weights`` is what weights take that are decoded at start-up: known, not measured.
    """

    arena: int | None
    stack: int | None
    static: int | None
    total: int | None
    planned_arena: int
    arena_lower_bound: int
    weights: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One limit and what was found."""

    name: str
    limit: float
    found: float | None
    unit: str
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NotVerified:
    """Something that was not checked, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that an export or a check found out."""

    model: str
    target: str
    parity: tuple[Rung, ...]
    accuracy: Accuracy
    layers: tuple[Layer, ...]
    flash: Flash
    ram: Ram
    instructions: int | None
    gates: tuple[Gate, ...]
    verified: tuple[str, ...]
    not_verified: tuple[NotVerified, ...]
    notes: tuple[str, ...] = ()
    stripes: Mapping[str, Any] | None = None
    activations: Mapping[str, Any] | None = None
    start_up_instructions: int | None = None

    @property
    def ok(self) -> bool:
        """Whether every rung that ran and every limit that was set holds."""
        return all(rung.passed for rung in self.parity) and all(g.passed for g in self.gates)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data (docs/report-schema.md)."""
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "target": self.target,
            "ok": self.ok,
            "flash_bytes": {
                "total": self.flash.total,
                "code": self.flash.code,
                "weights": self.flash.weights,
                "tables": self.flash.tables,
                "planned": {"weights": self.flash.planned_weights},
                "sections": dict(self.flash.sections),
                "kernels": dict(self.flash.kernels),
            },
            "ram_bytes": {
                "arena": self.ram.arena,
                "stack": self.ram.stack,
                "static": self.ram.static,
                "weights": self.ram.weights,
                "total": self.ram.total,
                "planned": {
                    "arena": self.ram.planned_arena,
                    "arena_lower_bound": self.ram.arena_lower_bound,
                },
                "stripes": None if self.stripes is None else dict(self.stripes),
            },
            "instructions": {
                "per_inference": self.instructions,
                "start_up": self.start_up_instructions,
                "layers": [
                    {"name": layer.name, "count": layer.instructions}
                    for layer in self.layers
                    if layer.instructions is not None
                ],
            },
            "parity": [_plain(rung) for rung in self.parity],
            "accuracy": {
                "float": self.accuracy.float_,
                "int8": self.accuracy.int8,
                "device": self.accuracy.device,
                "samples": self.accuracy.samples,
            },
            "activations": None if self.activations is None else dict(self.activations),
            "layers": [_plain(layer) for layer in self.layers],
            "gates": [_plain(gate) for gate in self.gates],
            "verified": list(self.verified),
            "not_verified": [_plain(entry) for entry in self.not_verified],
            "notes": list(self.notes),
        }


def from_dict(data: Mapping[str, Any]) -> Report:
    """Read back what ``Report.to_dict`` wrote.

    Raises:
        KeyError, TypeError: The data is no report of this schema version.
    """
    if data["schema"] != SCHEMA or data["schema_version"] != SCHEMA_VERSION:
        raise KeyError("schema")
    flash, ram, accuracy = data["flash_bytes"], data["ram_bytes"], data["accuracy"]
    return Report(
        model=data["model"],
        target=data["target"],
        parity=tuple(Rung(**entry) for entry in data["parity"]),
        accuracy=Accuracy(
            float_=accuracy["float"],
            int8=accuracy["int8"],
            device=accuracy["device"],
            samples=accuracy["samples"],
        ),
        layers=tuple(
            Layer(
                **{
                    **entry,
                    "kernel_files": tuple(entry.get("kernel_files", ())),
                    "alternatives": tuple(entry["alternatives"]),
                    "rejected": tuple(entry.get("rejected", ())),
                }
            )
            for entry in data["layers"]
        ),
        flash=Flash(
            total=flash["total"],
            code=flash["code"],
            weights=flash["weights"],
            tables=flash["tables"],
            planned_weights=flash["planned"]["weights"],
            sections=flash["sections"],
            kernels=flash.get("kernels", {}),
        ),
        ram=Ram(
            arena=ram["arena"],
            stack=ram["stack"],
            static=ram["static"],
            total=ram["total"],
            planned_arena=ram["planned"]["arena"],
            arena_lower_bound=ram["planned"]["arena_lower_bound"],
            weights=ram.get("weights", 0),
        ),
        instructions=data["instructions"]["per_inference"],
        gates=tuple(Gate(**entry) for entry in data["gates"]),
        verified=tuple(data["verified"]),
        not_verified=tuple(NotVerified(**entry) for entry in data["not_verified"]),
        notes=tuple(data["notes"]),
        stripes=ram.get("stripes"),
        activations=data.get("activations"),
        start_up_instructions=data["instructions"].get("start_up"),
    )


def read(bundle: Path) -> Report:
    """The report of a finished bundle.

    Raises:
        OptionError: The folder holds no report of this version.
    """
    place = bundle / REPORT
    if not place.is_file():
        raise OptionError(
            "This is not a bundle that edgefactor wrote",
            where=str(bundle),
            expected=f"a folder with a {REPORT}",
        )
    try:
        return from_dict(json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(
            "There is no report that this version of edgefactor can read.",
            where=str(place),
            found=f"{type(error).__name__}: {error}",
            expected=f"a bundle with {REPORT}, schema version {SCHEMA_VERSION}",
            hint="name the folder that an export wrote, or export again",
        ) from error


def _plain(value: Any) -> dict[str, Any]:
    """A dataclass as a dictionary; infinities, which JSON lacks, become None."""
    fields = dataclasses.asdict(value)
    return {
        key: None if isinstance(item, float) and not math.isfinite(item) else item
        for key, item in fields.items()
    }
