"""The commands that show a network at work: they parse, call one function, and print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefactor import terminal
from edgefactor.command import FILE, guard, output_options, quiet_option
from edgefactor.pipeline import config

if TYPE_CHECKING:
    from edgefactor.pipeline.report import Report


@click.command()
@click.option("--target", default=config.DEFAULT_TARGET, show_default=True)
@click.option("-o", "--output", type=FILE, default=Path("digits-demo"), show_default=True)
@quiet_option
@output_options
def demo(target: str, output: Path, quiet: bool, as_json: bool, debug: bool) -> int:
    """Export a small trained network for handwritten digits, check it, and report."""

    def work() -> int:
        from edgefactor.pipeline import run
        from edgefactor.pipeline.demo import command_line, demo_options

        options = demo_options(target=target, output=output)
        silent = quiet or as_json
        if not silent:
            terminal.print_line(command_line(options))
        with terminal.progress(quiet=silent) as progress:
            report = run.export(options, progress)
        return finish(report, quiet=quiet, as_json=as_json)

    return guard(work, as_json=as_json, debug=debug)


@click.command()
@click.argument("bundle", type=FILE)
@click.option("--target", help="Another target for the part's memory and name: a TOML file.")
@click.option(
    "--probe",
    type=click.Choice(config.PROBE_PROGRAMS),
    default="auto",
    show_default=True,
    help="The program that drives the debug probe.",
)
@click.option(
    "--openocd-config",
    "configuration",
    multiple=True,
    metavar="FILE",
    help="Configuration of OpenOCD in place of the target's, e.g. board/st_nucleo_f7.cfg.",
)
@click.option("--data", help="Inputs: .npz, .npy, image folder or file.py:function.")
@click.option("--samples", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of random inputs.")
@click.option("--dry-run", is_flag=True, help="Print the commands and run nothing.")
@quiet_option
@output_options
def flash(quiet: bool, as_json: bool, debug: bool, **values: Any) -> int:
    """Run BUNDLE on a real board and compare every tensor with the reference.

    Its check program replaces what is in the board's flash, a boot loader included.
    """

    def work() -> int:
        from edgefactor.pipeline.flash import flash as run_on_board

        options = config.FlashOptions(**values)
        with terminal.progress(quiet=quiet or as_json) as progress:
            result = run_on_board(options, progress)
        if as_json:
            terminal.print_json(result.to_dict())
        elif not quiet or not result.ok:
            for line in result.lines():
                print(line)
        return 0 if result.ok else 1

    return guard(work, as_json=as_json, debug=debug)


def finish(result: Report, *, quiet: bool, as_json: bool) -> int:
    """Prints a report and returns the exit code that it means."""
    if as_json:
        terminal.print_json(result.to_dict())
    elif not quiet:
        from edgefactor.pipeline.report_view import render

        render(result, terminal.console())
    elif not result.ok:
        from edgefactor.pipeline.report_view import failures

        for line in failures(result):
            terminal.print_line(line)
    return 0 if result.ok else 1
