"""A finished bundle, opened: its Graph, its target, and data for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgefactor.export.ir import Graph, Port
from edgefactor.export.ops.embed import Embed
from edgefactor.export.serialize import from_json
from edgefactor.pipeline import bundle
from edgefactor.pipeline.config import Normalization
from edgefactor.pipeline.inputs.carried import Kept, carry_states
from edgefactor.pipeline.inputs.data import Dataset, FloatArray, random_data, read
from edgefactor.pipeline.inputs.samples import check_classes
from edgefactor.pipeline.records import normalization
from edgefactor.runtime.onnxruntime_runner import OnnxRuntimeRunner
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
        kept = {state.input for state in self.graph.states}
        ports = [port for port in self.graph.inputs if port.name not in kept]
        shapes = tuple(port.shape for port in ports)
        if place is None:
            limits = self._index_limits(ports)
            return self._carried(random_data(shapes, samples, seed, limits))
        names = tuple(port.name for port in ports)
        data = read(place, names=names, shapes=shapes, normalization=self.normalization)
        check_classes(data, self.graph.outputs[0].shape)
        return self._carried(data.take(samples) if kept else data)

    def _carried(self, data: Dataset) -> Dataset:
        """The data with what the float network keeps, step by step."""
        names = [port.name for port in self.graph.inputs]
        outputs = [port.name for port in self.graph.outputs]
        states = [
            Kept(
                name=state.input,
                input=names.index(state.input),
                output=outputs.index(state.output),
            )
            for state in self.graph.states
        ]
        if not states:
            return data
        runner = OnnxRuntimeRunner(self.folder / bundle.FLOAT_ONNX)

        def step(inputs: Sequence[FloatArray]) -> list[FloatArray]:
            values = runner.run(dict(zip(names, inputs, strict=True)), outputs)
            return [np.asarray(values[name], np.float32) for name in outputs]

        return carry_states(data, states, [port.shape for port in self.graph.inputs], step)

    def _index_limits(self, ports: Sequence[Port]) -> tuple[int, ...]:
        """Rows of the table that an input chooses from; 0 for other inputs."""
        return tuple(
            min(
                (op.rows for op in self.graph.consumers(port.tensor) if isinstance(op, Embed)),
                default=0,
            )
            for port in ports
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
