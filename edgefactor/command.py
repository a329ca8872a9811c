"""What the commands share: how options are read, the options of several, and the guard.

Nothing heavy is imported: ``edgefactor --help`` is instant.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgefactor import signals, terminal
from edgefactor.errors import EdgefactorError, OptionError, missing_package
from edgefactor.pipeline import config


class _Parsed(click.ParamType[Any]):
    """An option read by one of the functions of `config`."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Reads the text; a wrong one is a usage error."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except OptionError as error:
            self.fail(f"{error.found}; expected {error.expected}", param, ctx)


SHAPE = _Parsed("shape", config.parse_shape)
SIZE = _Parsed("size", config.parse_size)
NUMBERS = _Parsed("numbers", config.parse_numbers)
SHARE = _Parsed("share", config.parse_share)
# Unreadable files are errors of those who read them: with a hint, and as JSON where that is asked.
FILE = click.Path(path_type=Path, readable=False)


def options(*parts: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One decorator of several, in the order of the help text."""

    def apply(command: Any) -> Any:
        for option in reversed(parts):
            command = option(command)
        return command

    return apply


output_options = options(
    click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout."),
    click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error."),
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
model_options = options(
    click.argument("model", type=FILE),
    click.option(
        "--model",
        "factory",
        metavar="FILE.PY:FUNCTION",
        help="Code that builds the network of a state dict; package.module:function works too.",
    ),
    click.option(
        "--input-shape",
        "input_shapes",
        type=SHAPE,
        multiple=True,
        metavar="[NAME=]1,3,32,32",
        help="Shape of an input, batch first; repeat it for several inputs.",
    ),
    click.option("--trust-pickle", is_flag=True, help="Load a pickle that runs code of its own."),
)
normalization_options = options(
    click.option("--scale", type=float, default=1.0, help="Inputs are (x * SCALE - mean) / std."),
    click.option(
        "--mean", type=NUMBERS, default=(), metavar="M[,M...]", help="One, or one a channel."
    ),
    click.option(
        "--std", type=NUMBERS, default=(), metavar="S[,S...]", help="One, or one a channel."
    ),
)
check_options = options(
    click.option("--data", help="Evaluation data: .npz, .npy, image folder or file.py:function."),
    click.option("--samples", type=click.IntRange(min=1), default=100, show_default=True,
                 help="Inputs checked on every rung on this computer."),
    click.option("--emulated-samples", type=click.IntRange(min=1), default=10, show_default=True,
                 help="Inputs checked in the emulator."),
    click.option("--emulate/--no-emulate", default=True, help="Run the C on the emulated board."),
    click.option("--max-accuracy-drop", type=float, metavar="POINTS",
                 help="Fail if the device loses more percentage points than this."),
    click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of random inputs."),
)  # fmt: skip


def guard(work: Callable[[], int], *, as_json: bool, debug: bool) -> int:
    """Runs a command's work and turns exceptions into messages and exit code 1."""
    try:
        with terminal.only_json(as_json):
            return work()
    except EdgefactorError as error:
        signals.check()
        terminal.print_error(error, as_json=as_json)
    except (BrokenPipeError, click.ClickException):
        raise
    except ModuleNotFoundError as error:
        terminal.print_error(missing_package(error), as_json=as_json)
    except Exception as error:
        signals.check()
        debug = debug or terminal.debug_wanted()
        terminal.print_internal_error(error, as_json=as_json, debug=debug)
    return 1
