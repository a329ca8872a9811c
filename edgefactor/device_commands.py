"""The commands that show a network at work: they parse, call one function, and print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
