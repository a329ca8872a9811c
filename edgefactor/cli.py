"""The command line: it parses, calls one function, and prints.

Exit codes: 0 when everything is within its gate, 1 for an error or a gate that was missed, 2 for a
wrong command line, 130 when interrupted. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefactor import __version__, signals, terminal
from edgefactor.errors import EdgefactorError, OptionError
from edgefactor.pipeline import config

if TYPE_CHECKING:
    from edgefactor.pipeline.report import Report


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
FILE = click.Path(path_type=Path)


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


_output_options = _options(
    click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout."),
    click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error."),
)
_quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
_model_options = _options(
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
_check_options = _options(
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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edgefactor")
def commands() -> None:
    """PyTorch networks to checked int8 ONNX, TFLite and C for microcontrollers."""


@commands.command()
@_model_options
@click.option(
    "--target",
    default=config.DEFAULT_TARGET,
    show_default=True,
    help="A name of `edgefactor targets`, or a TOML file.",
)
@click.option(
    "--calibration", help="Calibration data: .npz, .npy, image folder or file.py:function."
)
@click.option("-o", "--output", type=FILE, help="The bundle's folder; MODEL-TARGET by default.")
@click.option("--scale", type=float, default=1.0, help="Inputs are (x * SCALE - mean) / std.")
@click.option("--mean", type=NUMBERS, default=(), metavar="M[,M...]", help="One, or one a channel.")
@click.option("--std", type=NUMBERS, default=(), metavar="S[,S...]", help="One, or one a channel.")
@click.option(
    "--calibration-method",
    type=click.Choice(config.CALIBRATION_METHODS),
    help="How ranges are chosen.",
)
@click.option(
    "--optimize",
    type=click.Choice(config.OPTIMIZE_POLICIES),
    default="balanced",
    show_default=True,
    help="What kernels and weight encodings are chosen for.",
)
@click.option("--flash", "flash_bytes", type=SIZE, help="Flash budget, e.g. 256k.")
@click.option("--ram", "ram_bytes", type=SIZE, help="RAM budget, e.g. 64KiB.")
@click.option("--instructions", type=click.IntRange(min=1), help="Budget for one inference.")
@click.option("--name", help="Prefix of the names in C; from MODEL by default.")
@_check_options
@_quiet_option
@_output_options
def export(
    scale: float,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    quiet: bool,
    as_json: bool,
    debug: bool,
    **values: Any,
) -> int:
    """Turn MODEL into ONNX, int8 ONNX, TFLite and C, check them, and report."""

    def work() -> int:
        from edgefactor.pipeline import run

        options = config.ExportOptions(
            normalization=config.Normalization(scale=scale, mean=mean, std=std), **values
        )
        with terminal.progress(quiet=quiet or as_json) as progress:
            report = run.export(options, progress)
        return _finish(report, quiet=quiet, as_json=as_json)

    return _guard(work, as_json=as_json, debug=debug)


@commands.command()
@click.argument("bundle", type=FILE)
@_check_options
@_quiet_option
@_output_options
def check(quiet: bool, as_json: bool, debug: bool, **values: Any) -> int:
    """Check a finished BUNDLE once more."""

    def work() -> int:
        from edgefactor.pipeline import run

        options = config.CheckOptions(**values)
        with terminal.progress(quiet=quiet or as_json) as progress:
            report = run.check(options, progress)
        return _finish(report, quiet=quiet, as_json=as_json)

    return _guard(work, as_json=as_json, debug=debug)


@commands.command()
@_model_options
@_output_options
def inspect(as_json: bool, debug: bool, **values: Any) -> int:
    """Count parameters, multiplications and memory of MODEL, layer by layer."""

    def work() -> int:
        from edgefactor.pipeline import inspect as inspection

        result = inspection.inspect(config.ModelOptions(**values))
        if as_json:
            terminal.print_json(result.to_dict())
        else:
            terminal.print_inspection(result)
        return 0

    return _guard(work, as_json=as_json, debug=debug)


@commands.command()
@_output_options
def targets(as_json: bool, debug: bool) -> int:
    """List the processors that edgefactor knows."""

    def work() -> int:
        from edgefactor.targets import catalogue

        aliases = catalogue.target_aliases()
        known = [
            (n, aliases.get(n, ""), catalogue.load_target(n)) for n in catalogue.list_targets()
        ]
        if as_json:
            terminal.print_json([_target_data(*entry) for entry in known])
        else:
            terminal.print_targets(known)
        return 0

    return _guard(work, as_json=as_json, debug=debug)


@commands.command()
@click.argument("bundle", type=FILE)
@_output_options
def report(bundle: Path, as_json: bool, debug: bool) -> int:
    """Show the report of a finished BUNDLE again."""

    def work() -> int:
        from edgefactor.pipeline import report as reports

        return _finish(reports.read(bundle), quiet=False, as_json=as_json)

    return _guard(work, as_json=as_json, debug=debug)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    try:
        with signals.unwinding():
            result = commands.main(
                list(sys.argv[1:] if arguments is None else arguments),
                prog_name="edgefactor",
                standalone_mode=False,
            )
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("interrupted; nothing was written", file=sys.stderr)
        return terminal.INTERRUPTED
    except BrokenPipeError:
        # The reader left; what is still buffered must not raise once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return result if isinstance(result, int) else 0


def _guard(work: Callable[[], int], *, as_json: bool, debug: bool) -> int:
    """Runs a command's work and turns exceptions into messages and exit code 1."""
    try:
        return work()
    except EdgefactorError as error:
        signals.check()
        terminal.print_error(error, as_json=as_json)
    except (BrokenPipeError, click.ClickException):
        raise
    except Exception as error:
        signals.check()
        debug = debug or terminal.debug_wanted()
        terminal.print_internal_error(error, as_json=as_json, debug=debug)
    return 1


def _finish(result: Report, *, quiet: bool, as_json: bool) -> int:
    if as_json:
        terminal.print_json(result.to_dict())
    elif not quiet:
        from edgefactor.pipeline.report_view import render

        render(result, terminal.console())
    return 0 if result.ok else 1


def _target_data(name: str, alias_of: str, target: Any) -> dict[str, Any]:
    return {
        "name": name,
        "alias_of": alias_of or None,
        "title": target.title,
        "part": target.part,
        "flash_bytes": target.flash_bytes,
        "ram_bytes": target.ram_bytes,
        "board": target.board.machine if target.board else None,
    }
