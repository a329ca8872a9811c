"""The report: the same after a round trip, and never ok when something failed."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edgefactor.errors import OptionError
from edgefactor.pipeline import report as reports
from edgefactor.pipeline.alternatives_view import render_alternatives
from edgefactor.pipeline.checking.ladder import real_rung
from edgefactor.pipeline.report import (
    Accuracy,
    Flash,
    Gate,
    Layer,
    NotVerified,
    Ram,
    Report,
    Rung,
    from_dict,
)
from edgefactor.pipeline.report_view import render

MISMATCH = {
    "tensor": "conv",
    "sample": 3,
    "index": [0, 1, 2, 3],
    "expected": 5,
    "found": -7,
    "differing_elements": 12,
}
RUNG = Rung(
    rung="c host",
    compared_with="numpy reference",
    exact_required=True,
    samples=100,
    tensors=7,
    elements=12_345,
    differing_elements=0,
    max_difference=0,
    mean_difference=0.0,
    unit="codes",
    sqnr_db=None,
    argmax_agreement=1.0,
    tolerance="every element of every tensor equal",
    passed=True,
)
FAILED = dataclasses.replace(RUNG, passed=False, differing_elements=12, first_mismatch=MISMATCH)
LAYER = Layer(
    name="conv",
    operator="Conv2D",
    encoding="codebook",
    bits=4,
    distinct_values=16,
    weight_bytes=100,
    table_bytes=20,
    kernel="ef_conv2d_s8",
    macs=1000,
    output_bytes=64,
    scratch_bytes=0,
    instructions=None,
    source="net.py:3",
    kernel_files=("ef_conv2d_s8.c", "ef_decoder_bytes.c"),
    alternatives=(
        {
            "encoding": "codebook",
            "bits": 4,
            "kernel": "ef_conv2d_s8",
            "flash_bytes": 130,
            "instructions": 70,
            "scratch_bytes": 96,
        },
        {
            "encoding": "raw",
            "bits": 8,
            "kernel": "ef_conv2d_s8_dsp",
            "flash_bytes": 1234,
            "instructions": 55,
            "scratch_bytes": 0,
        },
    ),
    rejected=({"encoding": "raw", "kernel": "ef_dense_s8_dsp", "reason": "not [dense]"},),
)
GATE = Gate(name="flash", limit=1024, found=512, unit="bytes", passed=True)
REPORT = Report(
    model="net",
    target="cortex-m4",
    parity=(RUNG,),
    accuracy=Accuracy(float_=0.9, int8=0.895, device=0.89, samples=1000),
    layers=(LAYER, dataclasses.replace(LAYER, name="other", instructions=77)),
    flash=Flash(
        total=500,
        code=200,
        weights=250,
        tables=50,
        planned_weights=250,
        sections={".text": 500},
        kernels={"ef_conv2d_s8.c": 120, "ef_decoder_bytes.c": 40},
    ),
    ram=Ram(arena=10, stack=20, static=0, total=30, planned_arena=10, arena_lower_bound=9),
    instructions=1234,
    gates=(GATE,),
    verified=("c host: equal",),
    not_verified=(NotVerified(what="accuracy", reason="[no] labels"),),
    notes=("a note",),
)
UNMEASURED = dataclasses.replace(
    REPORT,
    flash=Flash(
        total=None,
        code=None,
        weights=None,
        tables=None,
        planned_weights=250,
        sections={},
        kernels={},
    ),
    ram=Ram(arena=None, stack=None, static=None, total=None, planned_arena=1, arena_lower_bound=1),
    instructions=None,
    accuracy=Accuracy(float_=None, int8=None, device=None, samples=0),
    gates=(dataclasses.replace(GATE, found=None, passed=False),),
)
WITH_FAILURE = dataclasses.replace(REPORT, parity=(RUNG, FAILED))


@pytest.mark.parametrize("report", [REPORT, UNMEASURED, WITH_FAILURE])
def test_round_trip(report: Report) -> None:
    data = report.to_dict()
    text = json.dumps(data, allow_nan=False)
    assert from_dict(json.loads(text)) == report
    assert from_dict(json.loads(text)).to_dict() == data


def test_what_scripts_rely_on() -> None:
    data = REPORT.to_dict()
    assert (data["schema"], data["schema_version"], data["ok"]) == ("edgefactor-report", 1, True)
    assert data["flash_bytes"].keys() >= {"total", "code", "weights", "tables", "planned"}
    assert data["ram_bytes"].keys() >= {"arena", "stack", "static", "total", "planned"}
    assert data["instructions"] == {
        "per_inference": 1234,
        "start_up": None,
        "layers": [{"name": "other", "count": 77}],
    }
    assert data["accuracy"] == {"float": 0.9, "int8": 0.895, "device": 0.89, "samples": 1000}
    assert data["layers"][0].keys() >= {
        "name", "operator", "encoding", "bits", "distinct_values", "weight_bytes", "kernel",
    }  # fmt: skip
    assert data["parity"][0].keys() >= {
        "rung", "compared_with", "exact_required", "samples", "tensors", "elements",
        "differing_elements", "max_difference", "argmax_agreement",
    }  # fmt: skip


def test_ok_needs_every_rung_and_every_limit() -> None:
    assert REPORT.ok
    assert not WITH_FAILURE.ok
    over = dataclasses.replace(GATE, found=2000, passed=False)
    assert not dataclasses.replace(REPORT, gates=(GATE, over)).ok


@pytest.mark.parametrize(
    "change", [{"schema": "x"}, {"schema_version": 2}, {"parity": [{}]}, {"layers": 3}]
)
def test_other_files_are_no_report(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / "report.json").write_text(json.dumps({**REPORT.to_dict(), **change}))
    with pytest.raises(OptionError) as caught:
        reports.read(tmp_path)
    assert str(tmp_path) in caught.value.where


def test_reading_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT.to_dict()))
    assert reports.read(tmp_path) == REPORT
    with pytest.raises(OptionError):
        reports.read(tmp_path / "nothing")


def shown(report: Report) -> str:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    render(report, console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return " ".join(file.getvalue().split())


def test_people_read_what_failed_first() -> None:
    text = shown(WITH_FAILURE)
    assert "tensor conv, sample 3, index [0, 1, 2, 3]: -7 where 5 was expected" in text
    assert "not within its limits" in text
    assert "[no] labels" in text


def test_people_read_what_was_not_measured() -> None:
    text = shown(UNMEASURED)
    assert "not measured" in text
    assert "None" not in text


def test_people_read_what_kernels_take() -> None:
    assert "ef_conv2d_s8.c 120 2 ef_decoder_bytes.c 40 2" in shown(REPORT)


def test_people_read_what_else_could_have_been_chosen() -> None:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    render_alternatives(REPORT, console)
    assert isinstance(console.file, io.StringIO)
    text = " ".join(console.file.getvalue().split())
    assert "conv: not measured" in text
    assert "other: 77 instructions measured, estimate -9 %" in text
    assert text.index("* codebook 4 ef_conv2d_s8 130 96 70") < text.index(
        "raw 8 ef_conv2d_s8_dsp 1,234 0 55"
    )
    assert "not ef_dense_s8_dsp, raw: not [dense]" in text


ONES = [np.ones((4, 3), np.float32)]


@pytest.mark.parametrize(
    ("off", "passed"), [(0.0, True), (5e-4, True), (5e-3, False), (np.nan, False), (np.inf, False)]
)
def test_rungs_of_real_outputs(off: float, passed: bool) -> None:
    found = [ONES[0].copy()]
    found[0][2, 1] += np.float32(off)
    rung = real_rung("b", "a", ONES, found)
    assert rung.passed is passed
    assert rung.differing_elements == (0 if passed else 1)
    assert (rung.sqnr_db is None) == (off == 0.0)


@pytest.mark.parametrize(
    ("off", "passed"), [(0.0, True), (0.01, True), (3.0, False), (np.nan, False)]
)
def test_rungs_with_a_signal_to_noise_ratio(off: float, passed: bool) -> None:
    rung = real_rung("b", "a", ONES, [ONES[0] + np.float32(off)], tolerance=None, min_sqnr_db=20.0)
    assert rung.passed is passed


def test_a_rung_without_a_gate_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="gate"):
        real_rung("b", "a", ONES, ONES, tolerance=None)
