"""The commands of compression: they parse, call one function, and print."""

from __future__ import annotations

import os
from typing import Any

import click

from edgefactor import terminal
from edgefactor.command import (
    FILE,
    guard,
    model_options,
    normalization_options,
    output_options,
    quiet_option,
)
from edgefactor.pipeline import config

_DATA = ".npz, .npy, image folder or file.py:function"


@click.command()
@model_options
@click.option("--recipe", required=True, help="A name of `edgefactor recipes`, or a TOML file.")
@click.option("--train", help=f"Training data, or inputs without labels: {_DATA}.")
@click.option("--data", help=f"Evaluation data: {_DATA}; the training data by default.")
@click.option("-o", "--output", type=FILE, help="The result, a .pt2; MODEL-small.pt2 by default.")
@click.option("--target", default="", help="Judge sizes and costs for this target.")
@click.option("--checkpoints", type=FILE, help="Folder of checkpoints; beside the result.")
@click.option("--keep-checkpoints", is_flag=True, help="Leave them there after success.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of everything random.")
@normalization_options
@quiet_option
@output_options
def compress(
    scale: float,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    quiet: bool,
    as_json: bool,
    debug: bool,
    **values: Any,
) -> int:
    """Make MODEL small: factorize, prune, share weights, fine-tune, as a recipe says.

    An interrupted compression goes on where it was when the same command is given again.
    """

    def work() -> int:
        from edgefactor.pipeline.compress_options import CompressOptions

        options = CompressOptions(
            normalization=config.Normalization(scale=scale, mean=mean, std=std), **values
        )
        from edgefactor.pipeline.compress import run

        silent = quiet or as_json
        with terminal.progress(quiet=silent) as progress:
            report = run.compress(options, progress, terminal.training_lines(progress))
        if os.environ.get("RANK", "0") != "0":
            return 0  # one of several processes of torchrun: the first one speaks
        if as_json:
            terminal.print_json(report.to_dict())
        elif not quiet:
            from edgefactor.compression_view import print_compression

            print_compression(report)
        return 0

    return guard(work, as_json=as_json, debug=debug)


@click.command()
@click.option("--methods", is_flag=True, help="List the methods that a recipe can name instead.")
@output_options
def recipes(methods: bool, as_json: bool, debug: bool) -> int:
    """List the recipes that come with edgefactor."""

    def work() -> int:
        from edgefactor.pipeline.compress import run

        entries: list[dict[str, Any]] = run.list_methods() if methods else run.list_recipes()
        if as_json:
            terminal.print_json(entries)
        else:
            from edgefactor.compression_view import print_entries

            print_entries(entries)
        return 0

    return guard(work, as_json=as_json, debug=debug)
