"""A board behind a debug probe. There is none here: programs of the probes' names start QEMU."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgefactor.errors import (
    BudgetError,
    MissingToolError,
    OptionError,
    TargetError,
    ToolError,
)
from edgefactor.pipeline.config import PROBE_PROGRAMS
from edgefactor.runtime import probe as probes
from edgefactor.runtime.board_runner import BoardRunner, linker_script
from edgefactor.targets.catalogue import load_target
from tests.runtime import fake_bundle
from tests.tools import require_tool

M4 = load_target("cortex-m4")
# Does what the arguments say a board should do, and notes them.
PROGRAM = """#!{python}
import json, pathlib, subprocess, sys
name = pathlib.Path(sys.argv[0]).name
notes = pathlib.Path({notes!r})
notes.write_text(notes.read_text() + json.dumps([name, *sys.argv[1:]]) + "\\n")
words = " ".join(sys.argv[1:]).split()
loaded = notes.with_name("loaded")
if "write_image" in words:
    loaded.write_text(words[words.index("write_image") + 2])
if words[0] == "load":
    loaded.write_text(words[-1])
if {broken!r}:
    sys.exit("Error: unable to find a matching CMSIS-DAP device")
if "resume" in words or words[0] == "run":
    qemu = ["qemu-system-arm", "-machine", "mps2-an386", "-display", "none", "-monitor", "none",
            "-serial", "none", "-semihosting-config", "enable=on,target=native"]
    sys.exit(subprocess.run([*qemu, "-kernel", loaded.read_text()], timeout=60).returncode)
"""


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str, broken: bool = False
) -> Path:
    """Stand-ins for the probes' programs, alone in PATH with what the build needs."""
    notes = folder / "notes"
    notes.write_text("")
    place = folder / "bin"
    place.mkdir()
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm"):
        (place / tool).symlink_to(require_tool(tool))
    for name in names:
        text = PROGRAM.format(python=sys.executable, notes=str(notes), broken=broken)
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(place))
    return notes


@pytest.mark.parametrize("name", ["openocd", "pyocd"])
def test_board_computes_what_the_reference_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = install(tmp_path, monkeypatch, name)
    probe = probes.choose_probe("auto", probes.device_of(M4))
    assert probe.program == name
    inputs = fake_bundle.samples(4)
    expected = fake_bundle.expected(inputs)
    with BoardRunner(fake_bundle.FOLDER, M4, probe) as runner:
        found = runner.run(inputs)
        outputs = runner.outputs(inputs)
    assert found.keys() == expected.keys()
    for tensor, values in expected.items():
        np.testing.assert_array_equal(found[tensor], values)
    np.testing.assert_array_equal(outputs, expected["reversed"])
    asked = [json.loads(line) for line in notes.read_text().splitlines()]
    if name == "openocd":
        assert asked[0][:5] == [
            "openocd",
            "-f",
            "interface/cmsis-dap.cfg",
            "-f",
            "target/nrf52.cfg",
        ]
        assert len(asked) == 2
    else:
        assert [line[:4] for line in asked[:2]] == [
            ["pyocd", "load", "--target", "nrf52840"],
            ["pyocd", "run", "--target", "nrf52840"],
        ]


def test_no_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "openocd", broken=True)
    probe = probes.choose_probe("openocd", probes.device_of(M4))
    with BoardRunner(fake_bundle.FOLDER, M4, probe) as runner, pytest.raises(ToolError) as caught:
        runner.outputs(fake_bundle.samples(1))
    assert "openocd failed with exit code 1" in caught.value.message
    assert "CMSIS-DAP" in caught.value.found


def test_program_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "openocd")
    assert M4.device is not None
    small = replace(M4, device=replace(M4.device, ram_bytes=0x1000))
    probe = probes.choose_probe("openocd", probes.device_of(small))
    with BoardRunner(fake_bundle.FOLDER, small, probe) as runner, pytest.raises(BudgetError):
        runner.outputs(fake_bundle.samples(1))


def test_nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)
    device = probes.device_of(M4)
    with pytest.raises(MissingToolError) as caught:
        probes.choose_probe("auto", device)
    assert "openocd" in caught.value.hint and "pip install pyocd" in caught.value.hint
    with pytest.raises(MissingToolError) as caught:
        probes.choose_probe("pyocd", device)
    assert caught.value.hint == "pip install pyocd"
    assert probes.choose_probe("auto", device, installed=False).program == "openocd"


def test_targets_without_a_part() -> None:
    with pytest.raises(TargetError, match="how its part is programmed"):
        probes.device_of(load_target("cortex-m33"))
    assert M4.device is not None
    nameless = replace(M4.device, openocd=())
    assert probes.choose_probe("auto", nameless, installed=False).program == "pyocd"
    with pytest.raises(OptionError, match="openocd calls the part"):
        probes.choose_probe("openocd", nameless, installed=False)
    with pytest.raises(OptionError, match="no such probe"):
        probes.choose_probe("jtag", M4.device)


def test_options_name_every_program() -> None:
    assert PROBE_PROGRAMS == probes.NAMES


def test_linker_script_of_another_address() -> None:
    device = load_target("cortex-m7").device
    assert device is not None
    text = linker_script(device)
    assert "ORIGIN = 0x08000000, LENGTH = 2097152" in text and "INCLUDE sections.ld" in text
