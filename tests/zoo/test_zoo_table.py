"""The table of the zoo goes on after an interruption and after a failure."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import zoo, zoo_cache
from benchmarks.zoo_cases import Case
from benchmarks.zoo_rows import HEADINGS, Failure, Row, cells, markdown
from edgefactor.errors import ModelError

ROW = Row(
    network="lenet5", data="mnist", target="cortex-m4", layers=2, macs=3_000, weight_bytes=10,
    instructions=None, flash_bytes=20, arena_bytes=30, ram_bytes=None, evaluated=100,
    float_accuracy=0.91, device_accuracy=0.905, sqnr_db=None, exact_elements=4,
    differing_elements=0, failed_rungs=(), not_run=("TFLM",), cpu_seconds=61.0,
)  # fmt: skip


def test_a_row_is_kept_and_read_back(tmp_path: Path) -> None:
    file = zoo_cache.row_file("lenet5", "cortex-m4", (10, True), tmp_path)
    assert zoo_cache.load(file) is None
    zoo_cache.keep(ROW, file)
    assert zoo_cache.load(file) == ROW
    others = {
        zoo_cache.row_file("lenet5", "cortex-m4", (9, True), tmp_path),
        zoo_cache.row_file("lenet5", "cortex-m55", (10, True), tmp_path),
        zoo_cache.row_file("alexnet", "cortex-m4", (10, True), tmp_path),
    }
    assert len({file, *others}) == 4


def test_a_change_of_the_code_measures_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runtime").mkdir()
    kernel = tmp_path / "runtime" / "kernel.c"
    monkeypatch.setattr(zoo_cache, "ROOT", tmp_path)
    monkeypatch.setattr(zoo_cache, "_BENCHMARK", ())
    (tmp_path / "examples" / "zoo").mkdir(parents=True)
    (tmp_path / "examples" / "zoo" / "prepare.py").write_text("")
    names = set()
    for text in ("int a;", "int b;", "int a;"):
        kernel.write_text(text)
        zoo_cache._code_digest.cache_clear()
        names.add(zoo_cache.row_file("net", "cortex-m4", (), tmp_path).name)
    zoo_cache._code_digest.cache_clear()
    assert len(names) == 2


def test_rows_and_failures_fill_all_columns() -> None:
    failure = Failure(network="net", target="cortex-m4", message="It\nfailed")
    assert len(cells(ROW)) == len(cells(failure)) == len(HEADINGS)
    last = markdown([ROW, failure]).splitlines()[-1]
    assert last.startswith("| net | - | cortex-m4 |") and last.endswith("| It failed |")


def test_the_table_outlives_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, str]] = []

    def measure(case: Case, target: str, samples: int, *, accuracy: bool) -> Row:
        tried.append((case.name, target))
        if case.name == "alexnet":
            raise ModelError("It has a hole")
        if target == "cortex-m55":
            raise KeyError("bug")
        return replace(ROW, network=case.name, target=target)

    monkeypatch.setattr(zoo, "measure", measure)
    monkeypatch.setattr(zoo, "row_file", lambda n, t, s: tmp_path / f"{n}-{t}.json")
    page = tmp_path / "zoo.md"
    page.write_text("# Zoo\n\n| network | old |\n| --- | --- |\n")
    monkeypatch.setattr(zoo, "PAGE", page)
    command = ["--random", "--write", "--network", "alexnet", "--network", "lenet5"]
    result = CliRunner().invoke(zoo.main, command)
    assert result.exit_code == 1
    assert tried == [
        ("alexnet", "cortex-m4"),
        *(("lenet5", target) for target in zoo.USUAL),
    ]
    text = page.read_text()
    assert "It has a hole" in text and "KeyError: 'bug'" in text
    assert text.startswith("# Zoo") and "| old |" not in text and "4 rows, 2 CPU minutes" in text
    tried.clear()
    CliRunner().invoke(zoo.main, command)
    assert tried == [("alexnet", "cortex-m4"), ("lenet5", "cortex-m55")]
