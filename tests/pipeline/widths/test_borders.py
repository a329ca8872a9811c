"""Borders between widths: every operator reads one width, copies are shared, ports stay int8."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgefactor.export.ir import DType, Graph
from edgefactor.export.ops.requantize import Requantize
from edgefactor.export.validate import validate
from edgefactor.pipeline.calibrate import calibrate
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.widths.choice import can_widen
from tests.export.graphs import lowered


class Branches(nn.Module):
    """Tensors with several readers, an output that is read on, a sigmoid that is joined."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a = self.first(x)
        b = self.second(a) + a
        c = torch.cat([a, torch.sigmoid(b)], 1)
        return b, nn.functional.avg_pool2d(c, 2) * 0.5


SHAPE = (1, 2, 6, 6)


@pytest.fixture(scope="module")
def branches() -> Graph:
    return lowered(Branches(), SHAPE).graph


def ranges_of(graph: Graph) -> dict[str, tuple[float, float]]:
    feeds = [{graph.inputs[0].name: np.random.default_rng(0).standard_normal(SHAPE).astype("f4")}]
    return calibrate(graph, feeds, method="min-max")


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_set_of_operators(branches: Graph, data: st.DataObject) -> None:
    able = sorted(can_widen(branches))
    wide = frozenset(data.draw(st.sets(st.sampled_from(able))))
    integer = validate(quantize(branches, ranges_of(branches), wide), "quantize", quantized=True)
    for op in integer.ops:
        if isinstance(op, Requantize):
            continue
        expected = DType.INT16 if op.name in wide else DType.INT8
        read = [integer.tensors[n] for n in op.inputs if integer.tensors[n].data is None]
        assert {t.dtype for t in read} == {expected}
        assert integer.tensors[op.outputs[0]].dtype is expected
    for port in (*integer.inputs, *integer.outputs):
        assert integer.tensors[port.tensor].dtype is DType.INT8
    borders = [op for op in integer.ops if isinstance(op, Requantize)]
    made = {(op.inputs[0], integer.tensors[op.outputs[0]].quantization) for op in borders}
    assert len(made) == len(borders)


def test_without_wide_operators_nothing_changes(branches: Graph) -> None:
    plain = quantize(branches, ranges_of(branches))
    assert all(t.dtype is DType.INT8 for t in plain.activations)
    assert sum(isinstance(op, Requantize) for op in plain.ops) == 1
