"""A real export's report.json against docs/report-schema.md: every field, its type, its sense."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgefactor import cli
from edgefactor.pipeline.report import from_dict
from tests.pipeline import networks
from tests.tools import REPOSITORY, require_tool

NUMBER = (int, float)
MAYBE_INT = (int, type(None))
MAYBE_NUMBER = (int, float, type(None))

FIELDS: dict[str, Any] = {
    "schema": str,
    "schema_version": int,
    "model": str,
    "target": str,
    "ok": bool,
    "flash_bytes": {
        "total": MAYBE_INT,
        "code": MAYBE_INT,
        "weights": MAYBE_INT,
        "tables": MAYBE_INT,
        "sections": dict,
        "kernels": dict,
        "planned": {"weights": int},
    },
    "ram_bytes": {
        "arena": MAYBE_INT,
        "stack": MAYBE_INT,
        "static": MAYBE_INT,
        "weights": int,
        "total": MAYBE_INT,
        "planned": {"arena": int, "arena_lower_bound": int},
        "stripes": (dict, type(None)),
    },
    "instructions": {
        "per_inference": MAYBE_INT,
        "start_up": MAYBE_INT,
        "layers": [{"name": str, "count": int}],
    },
    "parity": [
        {
            "rung": str,
            "compared_with": str,
            "exact_required": bool,
            "samples": int,
            "tensors": int,
            "elements": int,
            "differing_elements": int,
            "max_difference": MAYBE_NUMBER,
            "mean_difference": MAYBE_NUMBER,
            "unit": str,
            "sqnr_db": MAYBE_NUMBER,
            "argmax_agreement": MAYBE_NUMBER,
            "tolerance": str,
            "passed": bool,
            "first_mismatch": (dict, type(None)),
        }
    ],
    "accuracy": {
        "float": MAYBE_NUMBER,
        "int8": MAYBE_NUMBER,
        "device": MAYBE_NUMBER,
        "samples": int,
    },
    "activations": (dict, type(None)),
    "layers": [
        {
            "name": str,
            "operator": str,
            "source": str,
            "encoding": str,
            "bits": int,
            "distinct_values": int,
            "weight_bytes": int,
            "table_bytes": int,
            "kernel": str,
            "kernel_files": [str],
            "macs": int,
            "output_bytes": int,
            "scratch_bytes": int,
            "instructions": MAYBE_INT,
            "alternatives": [
                {
                    "encoding": str,
                    "bits": int,
                    "kernel": str,
                    "flash_bytes": NUMBER,
                    "instructions": NUMBER,
                    "scratch_bytes": int,
                    "weights_ram_bytes": int,
                }
            ],
            "rejected": [{"encoding": str, "kernel": str, "reason": str}],
        }
    ],
    "gates": [{"name": str, "limit": NUMBER, "found": MAYBE_NUMBER, "unit": str, "passed": bool}],
    "verified": [str],
    "not_verified": [{"what": str, "reason": str}],
    "notes": [str],
}


def problems(data: Any, shape: Any, place: str = "report") -> list[str]:
    """Where `data` is not as `shape` says; a field that is missing or unknown is a problem."""
    if isinstance(shape, dict):
        if not isinstance(data, dict):
            return [f"{place} is no object"]
        odd = [f"{place}.{name}" for name in sorted(set(shape) ^ set(data))]
        both = set(shape) & set(data)
        return odd + [p for n in sorted(both) for p in problems(data[n], shape[n], f"{place}.{n}")]
    if isinstance(shape, list):
        if not isinstance(data, list):
            return [f"{place} is no list"]
        return [
            p for i, entry in enumerate(data) for p in problems(entry, shape[0], f"{place}[{i}]")
        ]
    kinds = shape if isinstance(shape, tuple) else (shape,)
    fits = isinstance(data, kinds) and (bool in kinds or not isinstance(data, bool))
    return [] if fits else [f"{place} is {data!r}"]


def strict(text: str) -> Any:
    """JSON as the standard has it: no NaN and no infinity."""

    def refuse(name: str) -> Any:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schema")
    torch.manual_seed(0)
    module = networks.convolutional().eval()
    networks.pickled(folder / "net.pt", module)
    x = np.random.default_rng(0).standard_normal((120, 3, 8, 8)).astype(np.float32)
    with torch.no_grad():
        labels = module(torch.from_numpy(x)).reshape(120, -1).argmax(1).numpy()
    np.savez(folder / "data.npz", x=x, y=labels)
    return folder


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = cli.main([*words, "--json"])
    out, err = capsys.readouterr()
    assert err == ""
    return code, strict(out)


def test_report_of_an_export(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    require_tool("cc")
    data, out = str(place / "data.npz"), str(place / "out")
    line = ("export", str(place / "net.pt"), "--calibration", data, "--data", data, "-o", out)
    code, report = printed(capsys, *line, "--samples", "12", "--emulated-samples", "2")
    assert code == 0 and report["ok"] and problems(report, FIELDS) == []
    assert strict((place / "out" / "report.json").read_text()) == report
    assert json.loads(json.dumps(from_dict(report).to_dict())) == report

    assert (report["schema"], report["schema_version"]) == ("edgefactor-report", 1)
    assert (report["model"], report["target"]) == ("net", "cortex-m4")
    names = [rung["rung"] for rung in report["parity"]]
    for word in ("onnxruntime", "litert", "tflm", "host", "emulated"):
        assert any(word in name for name in names), word
    assert all(r["compared_with"] in ("pytorch", *names) for r in report["parity"])
    for rung in report["parity"]:
        assert rung["samples"] == (2 if "emulated" in rung["rung"] else 12)
        assert rung["unit"] in ("codes", "real") and rung["elements"] > 0
        assert not rung["exact_required"] or rung["differing_elements"] == 0

    flash, ram = report["flash_bytes"], report["ram_bytes"]
    assert flash["total"] == flash["code"] + flash["weights"] + flash["tables"]
    assert flash["total"] == sum(flash["sections"].values())
    assert flash["weights"] == flash["planned"]["weights"]
    assert flash["weights"] == sum(layer["weight_bytes"] for layer in report["layers"])
    assert ram["total"] == ram["planned"]["arena"] + ram["stack"] + ram["static"]
    assert ram["planned"]["arena_lower_bound"] <= ram["planned"]["arena"] >= ram["arena"] > 0

    counts = {entry["name"]: entry["count"] for entry in report["instructions"]["layers"]}
    assert set(counts) <= {layer["name"] for layer in report["layers"]}
    assert 0 < sum(counts.values()) <= report["instructions"]["per_inference"]
    assert report["accuracy"]["samples"] == 120
    for name in ("float", "int8", "device"):
        assert 0 <= report["accuracy"][name] <= 1
    assert {gate["name"] for gate in report["gates"]} == {"flash", "ram", "accuracy drop"}
    assert len(report["verified"]) >= len(names)


def test_report_of_a_check(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(place / "host")
    model = str(place / "net.pt")
    shape = ("--input-shape", "1,3,8,8", "--samples", "3", "--target", "host", "-o", folder)
    code, exported = printed(capsys, "export", model, *shape)
    assert problems(exported, FIELDS) == [] and code == (0 if exported["ok"] else 1)
    assert exported["accuracy"]["float"] is None
    assert any(entry["what"] == "accuracy" for entry in exported["not_verified"])
    assert exported["flash_bytes"]["total"] is None and exported["ram_bytes"]["total"] is None
    code, checked = printed(capsys, "check", folder, "--data", str(place / "data.npz"))
    assert problems(checked, FIELDS) == [] and code == (0 if checked["ok"] else 1)
    assert checked["accuracy"]["samples"] == 120
    code, again = printed(capsys, "report", folder)
    assert again == exported


def test_every_field_is_documented() -> None:
    text = (REPOSITORY / "docs" / "report-schema.md").read_text(encoding="utf-8")
    words = set(re.findall(r"`([^`]+)`", text))
    words |= {part for word in words for part in re.split(r"[^a-z_]+", word)}

    def names(shape: Any) -> set[str]:
        if isinstance(shape, dict):
            return {*shape, *(name for value in shape.values() for name in names(value))}
        return names(shape[0]) if isinstance(shape, list) else set()

    assert names(FIELDS) - words == set()
