"""The demo works from the package alone."""

from dataclasses import replace
from pathlib import Path

import pytest

import edgefactor as ef
from edgefactor.pipeline import demo
from tests.tools import require_tool


def test_demo_recognises_the_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_tool("cc")
    monkeypatch.chdir(tmp_path)
    options = replace(ef.demo_options(), emulate=False, samples=5)
    report = ef.export_model(options)
    assert report.ok and report.accuracy.samples == 500
    assert report.accuracy.device is not None and report.accuracy.device > 0.97
    assert (tmp_path / "digits-demo" / "c" / "digits.h").is_file()


def test_incomplete_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "FOLDER", tmp_path)
    with pytest.raises(ef.ModelError) as caught:
        ef.demo_options()
    assert caught.value.where == str(tmp_path) and "install" in caught.value.hint
