"""Deep Compression's Fig. 3 (arXiv 1510.00149): 16 weights, 4 centroids, one step of fine-tuning.

    python benchmarks/compression/figure_3.py

Shares the figure's weights by k-means, sums the figure's gradients over the clusters, and counts
the storage. Prints what the figure shows; fails if anything differs from it.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import nn

from edgefactor.pipeline.compress import accounting
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.freezing import records
from edgefactor.pipeline.compress.method import PerLayer
from edgefactor.pipeline.compress.share import Share, ShareOptions
from edgefactor.pipeline.compress.shared_weight import original_of
from edgefactor.pipeline.compress.training import TorchTrainer

WEIGHTS = [
    [2.09, -0.98, 1.48, 0.09],
    [0.05, -0.14, -1.08, 2.12],
    [-0.91, 1.92, 0, -1.03],
    [1.87, 0, 1.53, 1.49],
]
GRADIENTS = [
    [-0.03, -0.01, 0.03, 0.02],
    [-0.01, 0.01, -0.02, 0.12],
    [-0.01, 0.02, 0.04, 0.01],
    [-0.07, -0.02, 0.01, -0.02],
]
INDEX = [[3, 0, 2, 1], [1, 1, 0, 3], [0, 3, 1, 0], [3, 1, 2, 2]]
CENTROIDS, FINE_TUNED = [-1.0, 0.0, 1.5, 2.0], [-0.97, -0.04, 1.48, 1.96]
RATE = 3.2


def main() -> None:
    """Shares, fine-tunes, counts, compares."""
    layer = nn.Linear(4, 4, bias=False)
    layer.weight.data = torch.tensor(WEIGHTS)
    model = nn.Sequential(layer)
    options = ShareOptions(values=PerLayer.of(4), start="linear", grid=False)
    Share().apply(model, ["0"], options, Context(trainer=TorchTrainer()))
    centroids = original_of(layer)
    before = centroids.detach()[:, 0].numpy().copy()
    (layer.weight * torch.tensor(GRADIENTS)).sum().backward()  # type: ignore[no-untyped-call]
    assert centroids.grad is not None
    after = before - centroids.grad[:, 0].numpy()  # learning rate 1, as in the figure
    record, weight = records(model)["0"]
    assert record.index is not None
    index = record.index.reshape(4, 4)
    rate = accounting.total({"0": (record, weight)}, 16).rate
    for name, value in (
        ("cluster index", index.tolist()),
        ("centroids", " ".join(f"{number:.2f}" for number in before)),
        ("fine-tuned centroids", " ".join(f"{number:.2f}" for number in after)),
        ("rate", rate),
    ):
        print(f"{name}: {value}")
    same = (
        np.array_equal(index, INDEX)
        and np.allclose(before, CENTROIDS, atol=0.006)
        and np.allclose(after, FINE_TUNED, atol=0.006)
        and rate == RATE
    )
    sys.exit(0 if same else "not as the figure")


if __name__ == "__main__":
    main()
