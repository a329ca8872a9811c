"""From a bundle to a board: the command and its result."""

import json
from pathlib import Path

import pytest

import edgefactor as ef
from edgefactor import cli
from tests.pipeline import networks
from tests.runtime.test_board_runner import install
from tests.tools import require_tool


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool("cc")
    folder = tmp_path_factory.mktemp("bundle")
    model = networks.pickled(folder / "net.pt", networks.convolutional())
    ef.export_model(
        ef.ExportOptions(
            model=model,
            input_shapes=(ef.InputShape(dims=(1, 3, 8, 8)),),
            output=folder / "out",
            emulate=False,
            samples=2,
        )
    )
    return folder / "out"


def test_flash(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(tmp_path, monkeypatch, "openocd")
    assert cli.main(["flash", str(bundle), "--openocd-config", "board/mine.cfg"]) == 0
    assert "openocd: 0 of" in capsys.readouterr().out
    assert "board/mine.cfg" in (tmp_path / "notes").read_text()
    assert cli.main(["flash", str(bundle), "--samples", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] and result["rung"]["differing_elements"] == 0
    assert result["rung"]["samples"] == 1 and result["part"] == "Nordic nRF52840"


def test_dry_run_needs_no_program(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["flash", str(bundle), "--dry-run", "--probe", "pyocd"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        "pyocd load --target nrf52840 check_traced.elf"
    )
    assert cli.main(["flash", str(bundle)]) == 1
    assert "pip install pyocd" in capsys.readouterr().err


def test_another_target(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["flash", str(bundle), "--dry-run", "--target"]
    assert cli.main([*line, "cortex-m7"]) == 0
    assert "stm32f7x.cfg" in capsys.readouterr().out
    assert cli.main([*line, "cortex-m0plus"]) == 1
    err = capsys.readouterr().err
    assert "edgefactor export ... --target cortex-m0plus" in err
    assert cli.main(["flash", str(tmp_path)]) == 1
    assert "not a bundle" in capsys.readouterr().err
