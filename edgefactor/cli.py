"""The command line: it parses, calls one function, and prints.

Exit codes: 0 when everything is within its gate, 1 for an error or a gate that was missed, 2 for a
wrong command line, 130 when interrupted. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgefactor import __version__, signals, terminal
from edgefactor.command import (
    FILE,
    SHARE,
    SIZE,
    check_options,
    guard,
    model_options,
    normalization_options,
    output_options,
    quiet_option,
)
from edgefactor.compression_commands import compress, recipes
from edgefactor.device_commands import demo, finish, flash
from edgefactor.pipeline import config


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edgefactor")
def commands() -> None:
    """PyTorch networks to checked int8 ONNX, TFLite and C for microcontrollers."""


@commands.command()
@model_options
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
@normalization_options
@click.option(
    "--calibration-method",
    type=click.Choice(config.CALIBRATION_METHODS),
    help="How ranges are chosen.",
)
@click.option(
    "--activations",
    type=click.Choice(config.ACTIVATION_WIDTHS),
    default="auto",
    show_default=True,
    help="Bits of activations; auto takes 16 where the calibration shows that 8 lose too much.",
)
@click.option(
    "--optimize",
    type=click.Choice(config.OPTIMIZE_POLICIES),
    default="balanced",
    show_default=True,
    help="What kernels and weight encodings are chosen for.",
)
@click.option(
    "--huffman",
    type=click.Choice(config.HUFFMAN_WAYS),
    default="auto",
    show_default=True,
    help="Where weights in Huffman codes are decoded: once at start-up into RAM, or tile by tile; "
    "auto: at start-up where --ram leaves room.",
)
@click.option(
    "--share",
    type=SHARE,
    metavar="VALUES|auto",
    help="Leave so many distinct weights in each layer (2 to 64), without training; e.g. 16. "
    "auto: as few as --flash asks for, layer by layer.",
)
@click.option(
    "--share-vectors",
    type=click.Choice(config.VECTOR_LENGTHS),
    help="Leave at most 256 vectors of so many weights in each layer, without training.",
)
@click.option(
    "--bits",
    type=click.Choice(config.WEIGHT_BITS),
    help="Round the weights of each layer to evenly spaced values of so many bits.",
)
@click.option(
    "--keep",
    multiple=True,
    help="Pattern of layers that --share, --share-vectors and --bits leave as they are.",
)
@click.option(
    "--tune/--no-tune",
    default=True,
    show_default=True,
    help="With --share auto: train shared weights towards the float network on --calibration; no "
    "labels are needed.",
)
@click.option(
    "--stateful",
    multiple=True,
    metavar="INPUT=OUTPUT",
    help="An input that is kept from run to run, and the output with its next value: h=output1.",
)
@click.option("--flash", "flash_bytes", type=SIZE, help="Flash budget, e.g. 256k.")
@click.option("--ram", "ram_bytes", type=SIZE, help="RAM budget, e.g. 64KiB.")
@click.option("--instructions", type=click.IntRange(min=1), help="Budget for one inference.")
@click.option("--name", help="Prefix of the names in C; from MODEL by default.")
@check_options
@quiet_option
@output_options
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
        return finish(report, quiet=quiet, as_json=as_json)

    return guard(work, as_json=as_json, debug=debug)


@commands.command()
@click.argument("bundle", type=FILE)
@check_options
@quiet_option
@output_options
def check(quiet: bool, as_json: bool, debug: bool, **values: Any) -> int:
    """Check a finished BUNDLE once more."""

    def work() -> int:
        from edgefactor.pipeline import run

        options = config.CheckOptions(**values)
        with terminal.progress(quiet=quiet or as_json) as progress:
            report = run.check(options, progress)
        return finish(report, quiet=quiet, as_json=as_json)

    return guard(work, as_json=as_json, debug=debug)


@commands.command()
@model_options
@click.option(
    "--micronet",
    "task",
    type=click.Choice(config.MICRONET_TASKS),
    help="Score by the rules of the MicroNet challenge, in place of the layers.",
)
@output_options
def inspect(task: str | None, as_json: bool, debug: bool, **values: Any) -> int:
    """Count parameters, multiplications and memory of MODEL, layer by layer."""

    def work() -> int:
        from edgefactor.pipeline import inspect as inspection

        options = config.ModelOptions(**values)
        if task is not None:
            from edgefactor.pipeline.compress import micronet

            scores = micronet.score_file(options, task)
            if as_json:
                terminal.print_json(scores.to_dict())
            else:
                terminal.print_micronet(scores)
            return 0
        result = inspection.inspect(options)
        if as_json:
            terminal.print_json(result.to_dict())
        else:
            terminal.print_inspection(result)
        return 0

    return guard(work, as_json=as_json, debug=debug)


@commands.command()
@output_options
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

    return guard(work, as_json=as_json, debug=debug)


@commands.command()
@click.argument("bundle", type=FILE)
@click.option(
    "--alternatives",
    is_flag=True,
    help="For each layer: what else could have been chosen, and what it would cost.",
)
@output_options
def report(bundle: Path, alternatives: bool, as_json: bool, debug: bool) -> int:
    """Show the report of a finished BUNDLE again."""

    def work() -> int:
        from edgefactor.pipeline import report as reports

        found = reports.read(bundle)
        if alternatives and not as_json:
            from edgefactor.pipeline.alternatives_view import render_alternatives

            render_alternatives(found, terminal.console())
            return 0
        return finish(found, quiet=False, as_json=as_json)

    return guard(work, as_json=as_json, debug=debug)


commands.add_command(compress)
commands.add_command(recipes)
commands.add_command(demo)
commands.add_command(flash)


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
