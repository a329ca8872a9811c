"""A finished bundle, opened: its Graph, its target, and data for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefactor.export.ir import Graph
from edgefactor.export.ops.embed import Embed
from edgefactor.export.serialize import from_json
from edgefactor.pipeline import bundle
from edgefactor.pipeline.config import Normalization
from edgefactor.pipeline.inputs.data import Dataset, random_data, read
from edgefactor.pipeline.inputs.samples import check_classes
from edgefactor.pipeline.records import normalization
from edgefactor.targets.catalogue import load_target
from edgefactor.targets.description import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBundle:
    """What an export wrote.

    Attributes:
        folder: The bundle.
        facts: The options of the export, from the manifest.
        graph: The int8 Graph.
        target: What it was exported for.
    """

    folder: Path
    facts: Mapping[str, Any]
    graph: Graph
    target: Target

    @property
    def normalization(self) -> Normalization:
        """From stored values to inputs, as at the export."""
        return normalization(self.facts["normalization"])

    def data(self, place: str | None, samples: int, seed: int) -> Dataset:
        """Evaluation data, or ``samples`` random inputs where none is named.

        Raises:
            DataError: The data cannot be read or does not fit the network.
        """
        shapes = tuple(port.shape for port in self.graph.inputs)
        if place is None:
            return random_data(shapes, samples, seed, self._index_limits())
        names = tuple(port.name for port in self.graph.inputs)
        data = read(place, names=names, shapes=shapes, normalization=self.normalization)
        check_classes(data, self.graph.outputs[0].shape)
        return data

    def _index_limits(self) -> tuple[int, ...]:
        """Rows of the table that an input chooses from; 0 for other inputs."""
        return tuple(
            min(
                (op.rows for op in self.graph.consumers(port.tensor) if isinstance(op, Embed)),
                default=0,
            )
            for port in self.graph.inputs
        )


def open_bundle(folder: Path) -> OpenedBundle:
    """Read a bundle's manifest and Graph.

    Raises:
        OptionError: The folder is no bundle, or was changed.
    """
    facts: Mapping[str, Any] = bundle.read_manifest(folder)["options"]
    path = folder / bundle.GRAPH
    graph = from_json(path.read_text(encoding="utf-8"), str(path))
    return OpenedBundle(
        folder=folder, facts=facts, graph=graph, target=load_target(str(facts["target"]))
    )
