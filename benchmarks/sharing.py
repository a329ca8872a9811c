"""What weight sharing at export costs in accuracy: ``--share``, ``--bits``, ``--share-vectors``.

    python benchmarks/sharing.py [--shared DIR] [--network NAME ...] [--samples N]

By the NumPy reference of the int8 Graph, which every runtime equals; against PyTorch in float.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from networks import NETWORKS, Change, int8_graph
from shared_models import DEFAULT_FOLDER, load_network

from edgefactor.export.ports import decode_outputs, encode_inputs
from edgefactor.export.reference import run_samples
from edgefactor.pipeline.load import load
from edgefactor.pipeline.sharing_at_export.share_codes import share_codes
from edgefactor.pipeline.sharing_at_export.uniform_codes import share_uniform
from edgefactor.pipeline.sharing_at_export.vector_codes import share_vectors

FORMS: dict[str, Change | None] = {
    "int8": None,
    "16 values": partial(share_codes, values=16),
    "4 bits": partial(share_uniform, bits=4),
    "vectors of 2": partial(share_vectors, width=2),
    "vectors of 4": partial(share_vectors, width=4),
}


def report(name: str, shared: Path, samples: int) -> None:
    """Print one line a form of the weights."""
    network = load_network(name, shared, samples=samples, calibration=128)
    model = load(network.weights, factory=network.factory).module.eval()
    with torch.no_grad():
        wanted = model(torch.from_numpy(network.inputs)).numpy().reshape(samples, -1)
    for form, change in FORMS.items():
        graph = int8_graph(network, network.weights, change)
        codes = run_samples(graph, encode_inputs(graph, [network.inputs]))
        found = decode_outputs(graph, codes)[0].reshape(samples, -1)
        ratio = float((wanted**2).sum() / ((wanted - found) ** 2).sum())
        line = f"{name:12} {form:13} {10 * np.log10(ratio):5.1f} dB"
        if network.labels is not None:
            before, after = (
                100 * np.mean(values.argmax(axis=1) == network.labels) for values in (wanted, found)
            )
            line += f"  {after:5.1f} % (float {before:.1f} %)"
        click.echo(line)


@click.command()
@click.option("--shared", type=click.Path(path_type=Path), default=DEFAULT_FOLDER)
@click.option("--network", "networks", multiple=True, default=NETWORKS, show_default=True)
@click.option("--samples", type=click.IntRange(min=1), default=300, show_default=True)
def main(shared: Path, networks: tuple[str, ...], samples: int) -> None:
    """Compare the forms of sharing."""
    for name in networks:
        report(name, shared, samples)


if __name__ == "__main__":
    main()
