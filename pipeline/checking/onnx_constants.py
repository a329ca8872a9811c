"""Whether an int8 ONNX file holds the Graph's constants: a wrong weight hides in a tolerance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from edgefactor.export.ir import Array, Graph
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.runtime.parity import Mismatch


def changed_constant(file: Path, graph: Graph) -> Mismatch | None:
    """The first constant of a QDQ file (codes, scales, zero points) that is not the Graph's.

    Args:
        file: What ``write_onnx`` wrote for the Graph, or should have.
        graph: The int8 Graph.
    """
    stored = _constants(onnx.load(file))
    for name, expected in _constants(write_onnx(graph)).items():
        found = stored.get(name)
        if found is None or found.shape != expected.shape:
            return Mismatch(
                tensor=name,
                sample=0,
                index=(),
                expected=expected.size,
                found=0 if found is None else found.size,
                differing_elements=expected.size,
            )
        wrong = np.argwhere(found != expected)
        if len(wrong):
            place = tuple(int(i) for i in wrong[0])
            return Mismatch(
                tensor=name,
                sample=0,
                index=place,
                expected=expected[place].item(),
                found=found[place].item(),
                differing_elements=len(wrong),
            )
    return None


def _constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
