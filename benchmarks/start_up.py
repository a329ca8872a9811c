"""Huffman codes decoded once, by tile, or not used: flash, RAM, instructions, on emulated Arm.

    python benchmarks/start_up.py [--shared DIR] [--target NAME] [--ram SIZE] [NETWORK ...]

Networks: resnet8 with 16 values by plain k-means, the same with half of its weights at 0, and what
compression/mnist.py left in --compressed (lenet-300-100.pt2, lenet-5.pt2; left out if they are not
there). Before anything is counted, every tensor is compared with the NumPy reference, on the board
and on this computer. All counts are exact.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from networks import FORMS, SAMPLES, int8_graph
from shared_models import DEFAULT_FOLDER, Network, load_network

from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.c_writer import write_c
from edgefactor.export.ir import Graph
from edgefactor.export.ports import encode_inputs, input_rows
from edgefactor.export.reference import run_samples
from edgefactor.pipeline.bundle import C_FOLDER
from edgefactor.pipeline.run import write_sources
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.host import HostRunner
from edgefactor.runtime.memory import flash_use, ram_use
from edgefactor.runtime.parity import compare_codes
from edgefactor.targets.catalogue import load_target

COMPRESSED = Path("build/compression")
SHARED_NETWORK = "resnet8"
CALIBRATED = 128
#: In words, and what of the target is other than by default; with the RAM of --ram or without.
WAYS: tuple[tuple[str, CTarget, bool], ...] = (
    ("balanced, none", CTarget(huffman="none"), False),
    ("size, by tile", CTarget(optimize="size", huffman="tile"), False),
    ("size, at start-up", CTarget(optimize="size"), True),
    ("balanced, at start-up", CTarget(), True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network in one way."""

    network: str
    way: str
    flash_bytes: int
    weight_bytes: int
    ram_bytes: int
    decoded_bytes: int
    start_up: int
    instructions: int
    differing: int


def pruned_network(name: str, compressed: Path, shared: Path) -> Network:
    """One of compression/mnist.py, with images of MNIST."""
    with np.load(shared / "data" / "mnist.npz") as arrays:
        images = {
            key: arrays[f"x_{key}"][:CALIBRATED, None].astype(np.float32) / 255
            for key in ("train", "test")
        }
        labels = arrays["y_test"][:CALIBRATED].astype(np.int64)
    return Network(
        name=name.replace("-", "_"),
        weights=compressed / f"{name}.pt2",
        factory=None,
        calibration=images["train"],
        inputs=images["test"],
        labels=labels,
    )


def count(network: Network, graph: Graph, name: str, way: str, wanted: CTarget, title: str) -> Row:
    """Build, compare and count."""
    target = load_target(name)
    features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
    sources = write_c(graph, replace(wanted, features=features), prefix=network.name)
    codes = encode_inputs(graph, [network.inputs[:SAMPLES]])
    rows = input_rows(graph, codes)
    order = [tensor.name for tensor in graph.activations]
    expected = run_samples(graph, codes)
    with tempfile.TemporaryDirectory() as place:
        write_sources(Path(place), sources, target)
        with HostRunner(Path(place) / C_FOLDER) as host:
            differing = compare_codes(expected, host.run(rows), order).differing_elements
        with EmulatedRunner(Path(place) / C_FOLDER, target) as runner:
            differing += compare_codes(expected, runner.run(rows), order).differing_elements
            flash = flash_use(runner.firmware(), sources.symbols)
            ram = ram_use(runner.firmware(), runner.memory(rows))
            start_up = runner.start_up(rows)
            instructions = runner.instructions(rows).per_inference
    return Row(
        network=title,
        way=way,
        flash_bytes=flash.total_bytes,
        weight_bytes=flash.weights_bytes,
        ram_bytes=ram.total_bytes,
        decoded_bytes=ram.weights_bytes,
        start_up=start_up.instructions,
        instructions=instructions,
        differing=differing,
    )


def networks(shared: Path, compressed: Path) -> dict[str, Callable[[], tuple[Network, Graph]]]:
    """Title -> the network and its int8 Graph."""

    def shared_form(form: str) -> tuple[Network, Graph]:
        network = load_network(SHARED_NETWORK, shared, samples=SAMPLES)
        with tempfile.TemporaryDirectory() as place:
            return network, FORMS[form](network, Path(place))

    def pruned_form(name: str) -> tuple[Network, Graph]:
        network = pruned_network(name, compressed, shared)
        return network, int8_graph(network, network.weights)

    found: dict[str, Callable[[], tuple[Network, Graph]]] = {}
    for form in ("16 values", "half of 16 values"):
        found[f"{SHARED_NETWORK}, {form}"] = lambda form=form: shared_form(form)
    for name in ("lenet-300-100", "lenet-5"):
        if (compressed / f"{name}.pt2").is_file():
            found[name] = lambda name=name: pruned_form(name)
    return found


@click.command()
@click.option("--shared", type=click.Path(path_type=Path), default=DEFAULT_FOLDER)
@click.option("--compressed", type=click.Path(path_type=Path), default=COMPRESSED)
@click.option("--target", default="cortex-m4", show_default=True)
@click.option("--ram", type=int, default=128 * 1024, show_default=True, help="Arena and weights.")
@click.argument("wanted", nargs=-1)
def main(shared: Path, compressed: Path, target: str, ram: int, wanted: tuple[str, ...]) -> None:
    """Print a Markdown table."""
    titles = ("flash", "of that weights", "RAM", "of that decoded", "at start-up", "inference")
    click.echo(f"| {target} | {' | '.join(titles)} |\n|{'---|' * (len(titles) + 1)}")
    for title, make in networks(shared, compressed).items():
        if wanted and not any(text in title for text in wanted):
            continue
        network, graph = make()
        for way, c_target, uses_ram in WAYS:
            limits = replace(c_target, start_up_bytes=ram if uses_ram else 0)
            row = count(network, graph, target, way, limits, title)
            if row.differing:
                raise click.ClickException(f"{title}, {way}: {row.differing} elements differ")
            numbers = (
                row.flash_bytes, row.weight_bytes, row.ram_bytes, row.decoded_bytes, row.start_up,
                row.instructions,
            )  # fmt: skip
            click.echo(f"| {title}: {way} | {' | '.join(f'{n:,}' for n in numbers)} |")


if __name__ == "__main__":
    main()
