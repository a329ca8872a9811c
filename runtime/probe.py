"""The programs that drive a debug probe: what they are told, so that a board runs a program.

Each loads an ELF file into flash, starts it, and serves its semihosting calls in the folder that
it was started in, until the program ends.

- OpenOCD, https://openocd.org/doc/html, "Flash Commands" and "Architecture and Core Commands".
- pyOCD, https://pyocd.io/docs/command_reference, from the release that has ``pyocd run`` on.

probe-rs is not among them: what it reads from files by semihosting is switched off or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgefactor.errors import MissingToolError, OptionError, TargetError
from edgefactor.runtime.toolchain import INSTALLATIONS, has_program
from edgefactor.targets.description import Device, Target

Command = tuple[str, ...]
AUTO = "auto"

DEVICE_TABLE = (
    "a target file of your own with a table [device]: flash_origin, flash_bytes, ram_origin, "
    "ram_bytes, openocd, pyocd"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A program that can be asked to run another one on a board.

    Attributes:
        program: Its name.
        knows: Whether a part can be named to it.
        commands: The commands, one after another, for a part and the name of an ELF file.
        defines: Compiler flags for a program that it runs.
    """

    program: str
    knows: Callable[[Device], bool]
    commands: Callable[[Device, str, int], tuple[Command, ...]]
    defines: tuple[str, ...] = ()


def _openocd(device: Device, file: str, timeout_seconds: int) -> tuple[Command, ...]:
    steps = (
        "init",
        "reset halt",
        f"flash write_image erase {file}",
        f"verify_image {file}",
        "reset halt",
        "arm semihosting enable",
        "resume",
    )
    configuration = [word for name in device.openocd for word in ("-f", name)]
    return (("openocd", *configuration, *(word for step in steps for word in ("-c", step))),)


def _pyocd(device: Device, file: str, timeout_seconds: int) -> tuple[Command, ...]:
    part = ("--target", device.pyocd)
    return (
        ("pyocd", "load", *part, file),
        ("pyocd", "run", *part, "--eot", "--timelimit", str(timeout_seconds)),
    )


PROBES = (
    Probe(program="openocd", knows=lambda device: bool(device.openocd), commands=_openocd),
    Probe(
        program="pyocd",
        knows=lambda device: bool(device.pyocd),
        commands=_pyocd,
        defines=("-DEF_END_OF_TRANSMISSION",),
    ),
)
NAMES = (AUTO, *(probe.program for probe in PROBES))


def device_of(target: Target) -> Device:
    """The part that a target describes.

    Raises:
        TargetError: It describes none.
    """
    if target.device is None:
        raise TargetError(
            f"the target {target.name} does not say how its part is programmed",
            expected=DEVICE_TABLE,
            hint="--target FILE.toml; targets/cortex-m4.toml of edgefactor is an example",
        )
    return target.device


def choose_probe(name: str, device: Device, *, installed: bool = True) -> Probe:
    """The program to use.

    Args:
        name: One of ``NAMES``; ``auto`` is the first that is installed and knows the part.
        device: The part.
        installed: Whether it has to be installed.

    Raises:
        OptionError: There is no such program, or it does not know the part.
        MissingToolError: It is not installed; the hint is the command that installs it.
    """
    if name not in NAMES:
        raise OptionError("no such probe program", found=repr(name), expected=", ".join(NAMES))
    able = [probe for probe in PROBES if probe.knows(device) and name in (AUTO, probe.program)]
    if not able:
        who = "any program" if name == AUTO else name
        raise OptionError(
            f"the target does not say what {who} calls the part",
            expected=DEVICE_TABLE,
        )
    ready = [probe for probe in able if has_program(probe.program)]
    if installed and not ready:
        raise MissingToolError(
            f"{_either([probe.program for probe in able])} is not installed",
            expected="a program that drives the debug probe in PATH",
            hint=_either([INSTALLATIONS[probe.program].hint() for probe in able]),
        )
    return (ready or able)[0]


def _either(words: Sequence[str]) -> str:
    return " or ".join(words)
