from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.pipeline.checking.onnx_constants import changed_constant
from tests.export.graphs import lowered, to_int8


@pytest.fixture(scope="module")
def graph() -> Graph:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    return to_int8(lowered(net, (1, 2, 6, 6)).graph)


def test_the_file_as_it_was_written(graph: Graph, tmp_path: Path) -> None:
    onnx.save(write_onnx(graph), tmp_path / "m.onnx")
    assert changed_constant(tmp_path / "m.onnx", graph) is None


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.float32])
def test_one_changed_element_is_found(graph: Graph, tmp_path: Path, kind: type) -> None:
    model = write_onnx(graph)
    entry = max(
        (t for t in model.graph.initializer if numpy_helper.to_array(t).dtype == kind),
        key=lambda t: numpy_helper.to_array(t).size,
    )
    array = numpy_helper.to_array(entry).copy()
    array.reshape(-1)[-1] += 1
    entry.CopyFrom(numpy_helper.from_array(array, entry.name))
    onnx.save(model, tmp_path / "m.onnx")
    found = changed_constant(tmp_path / "m.onnx", graph)
    assert found is not None
    assert (found.tensor, found.differing_elements) == (entry.name, 1)
    assert found.found - found.expected == pytest.approx(1)


def test_a_missing_constant_is_found(graph: Graph, tmp_path: Path) -> None:
    model = write_onnx(graph)
    name = model.graph.initializer[0].name
    del model.graph.initializer[0]
    onnx.save(model, tmp_path / "m.onnx")
    found = changed_constant(tmp_path / "m.onnx", graph)
    assert found is not None
    assert (found.tensor, found.found) == (name, 0)
