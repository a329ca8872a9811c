"""The choice of 16-bit activations: where it is made, what it gains, that it is reported."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgefactor.export.ir import DType, Graph
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.elementwise import Add
from edgefactor.export.ops.normalize.family import Normalize
from edgefactor.export.ops.softmax.family import Softmax
from edgefactor.export.ports import decode_outputs, encode_inputs
from edgefactor.export.reference import run_samples
from edgefactor.export.validate import validate
from edgefactor.pipeline.calibrate import calibrate
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.sharing_at_export.share_codes import observe_inputs, share_codes
from edgefactor.pipeline.widths.choice import WANTED_DB, Widths, choose_widths, recorded_widths
from edgefactor.pipeline.widths.sensitivity import decibels, noise_ratios
from edgefactor.runtime.onnxruntime_runner import OnnxRuntimeRunner
from examples.zoo.prepare import build, draw
from examples.zoo.residual_stream import INPUT_SHAPE
from tests.export.graphs import lowered

Samples = NDArray[np.float32]
BLOCKS = 6
Choice = tuple[Graph, Widths | None]


def samples(count: int, seed: int) -> Samples:
    torch.manual_seed(seed)
    return draw("residual_stream", count).numpy()


@pytest.fixture(scope="module")
def stream() -> Graph:
    return lowered(build("residual_stream"), INPUT_SHAPE).graph


@pytest.fixture(scope="module")
def choice(stream: Graph) -> Choice:
    return chosen(stream)


def chosen(graph: Graph, **options: bool) -> Choice:
    name = graph.inputs[0].name
    data = samples(16, 1)
    feeds = [{name: row[None]} for row in data]
    ranges = calibrate(graph, feeds, method="percentile")
    return choose_widths(
        graph,
        ranges,
        lambda: calibrate(graph, feeds, method="min-max"),
        {name: data[:8]},
        **options,
    )


def integer_sqnr(graph: Graph, integer: Graph) -> float:
    """By the integer reference, on data that the choice has not seen."""
    data = samples(8, 2)
    exact = OnnxRuntimeRunner(write_onnx(graph).SerializeToString()).run(
        {graph.inputs[0].name: data}
    )
    wanted = [exact[port.name] for port in graph.outputs]
    found = decode_outputs(integer, run_samples(integer, encode_inputs(integer, [data])))
    return decibels(noise_ratios(wanted, found))


def wide_tensors(graph: Graph) -> set[str]:
    return {t.name for t in graph.activations if t.dtype is DType.INT16}


def test_the_stream_is_widened_and_little_else(stream: Graph, choice: Choice) -> None:
    integer, widths = choice
    assert widths is not None
    validate(integer, "test", quantized=True)
    assert widths.int8_sqnr_db < 16
    assert integer_sqnr(stream, chosen_int8(stream)) < 16
    assert widths.sqnr_db >= WANTED_DB
    assert integer_sqnr(stream, integer) >= WANTED_DB - 1
    wide = wide_tensors(integer)
    sums = [op for op in stream.ops if isinstance(op, Add)]
    assert len(sums) == BLOCKS
    assert any(op.outputs[0] in wide for op in sums)
    assert 0 < len(widths.wide) < len(stream.ops) / 2
    narrow = [op for op in integer.ops if isinstance(op, Conv2D) and op.outputs[0] not in wide]
    assert len(narrow) > BLOCKS
    ports = (*integer.inputs, *integer.outputs)
    assert all(integer.tensors[port.tensor].dtype is DType.INT8 for port in ports)


def chosen_int8(graph: Graph) -> Graph:
    feeds = [{graph.inputs[0].name: row[None]} for row in samples(16, 1)]
    return quantize(graph, calibrate(graph, feeds, method="percentile"))


def test_the_report_names_each_tensor_and_why(choice: Choice) -> None:
    integer, widths = choice
    assert widths is not None
    found = recorded_widths(integer)
    assert found is not None
    entries = found["wide"]
    assert isinstance(entries, list)
    names = [entry["tensor"] for entry in entries]
    assert names == [entry.tensor for entry in widths.wide]
    copies = {name for name in wide_tensors(integer) if name.endswith(".int16")}
    assert set(names) == wide_tensors(integer) - copies
    worst = min(entries, key=lambda entry: entry["int8_sqnr_db"])
    assert worst["int8_sqnr_db"] < WANTED_DB < worst["int16_sqnr_db"]
    assert f"{worst['int8_sqnr_db']:.1f} dB" in worst["reason"]


def test_the_same_choice_again(stream: Graph, choice: Choice) -> None:
    first, second = choice[0], chosen(stream)[0]
    assert first.metadata == second.metadata
    assert [op.name for op in first.ops] == [op.name for op in second.ops]


def test_a_network_that_is_fine_stays_as_it_was() -> None:
    torch.manual_seed(1)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(800, 4)
    )
    graph = lowered(net, INPUT_SHAPE).graph
    integer, widths = chosen(graph)
    assert widths is None
    assert recorded_widths(integer) is None
    plain = chosen_int8(graph)
    assert {n: (t.dtype, t.quantization) for n, t in integer.tensors.items()} == {
        n: (t.dtype, t.quantization) for n, t in plain.tensors.items()
    }


def test_everything_that_can_be_wide(stream: Graph) -> None:
    integer, widths = chosen(stream, everything=True)
    assert widths is not None
    inputs = {port.tensor for port in integer.inputs}
    outputs = {port.tensor for port in integer.outputs}
    narrow = {t.name for t in integer.activations} - wide_tensors(integer)
    assert all(name.endswith(".int8") for name in narrow - inputs - outputs)
    assert {entry.reason for entry in widths.wide} == {"asked for by --activations int16"}


def test_noise_that_widening_cannot_help() -> None:
    """Weights that 8 bits cannot hold: the activations are left as they are, and it is said."""
    torch.manual_seed(2)
    layer = torch.nn.Conv2d(3, 4, 1, bias=False)
    with torch.no_grad():
        # The large weights see inputs that hardly move.
        layer.weight[:, 0] = 1.0
        layer.weight[:, 1:] = torch.randn(4, 2, 1, 1) * 1e-3
    scale = torch.nn.Conv2d(3, 3, 1, groups=3, bias=False)
    with torch.no_grad():
        scale.weight.copy_(torch.tensor([1e-4, 1.0, 1.0]).reshape(3, 1, 1, 1))
    graph = lowered(torch.nn.Sequential(scale, layer), INPUT_SHAPE).graph
    integer, widths = chosen(graph)
    assert widths is not None
    assert widths.int8_sqnr_db < WANTED_DB
    assert widths.wide == ()
    assert wide_tensors(integer) == set()


def test_weights_are_shared_where_activations_stay_in_8_bits(stream: Graph, choice: Choice) -> None:
    integer, _ = choice
    name = stream.inputs[0].name
    moments = observe_inputs(stream, [{name: row[None]} for row in samples(4, 1)])
    shared = share_codes(integer, moments, values=4)
    kinds = set()
    for op in shared.ops:
        if isinstance(op, Conv2D):
            codes = np.unique(np.asarray(shared.tensors[op.inputs[1]].values))
            wide = shared.tensors[op.inputs[0]].dtype is DType.INT16
            assert (len(codes) > 4) == wide
            kinds.add(wide)
    assert kinds == {True, False}


TOKENS = (1, 6, 16)


class LargeChannel(torch.nn.Module):
    """A stream of tokens with one channel far larger than the others, which a norm takes away."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(TOKENS[-1])
        self.look = torch.nn.Linear(TOKENS[-1], TOKENS[-1])
        self.head = torch.nn.Linear(TOKENS[-1] - 1, 4)
        self.sizes = torch.nn.Parameter(torch.tensor([300.0, *[1.0] * (TOKENS[-1] - 1)]))
        with torch.no_grad():
            self.norm.weight[1:] = 60.0
            self.norm.bias.normal_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stream = torch.tanh(self.look(x)) * self.sizes
        return self.head(self.norm(stream)[:, :, 1:].mean(1))


class LargeScores(torch.nn.Module):
    """Scores over hundreds, of which small differences between the largest count."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = torch.nn.Linear(TOKENS[-1], 8)
        self.values = torch.nn.Parameter(torch.randn(8, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        near = torch.tanh(self.scores(x)) * 1.5
        far = torch.tensor([0.0, 0.0, 0.0, 0.0, -350.0, -350.0, -350.0, -350.0])
        return torch.softmax(near + far, -1) @ self.values


@pytest.mark.parametrize(
    ("net", "kind"), [(LargeChannel, Normalize), (LargeScores, Softmax)], ids=["norm", "softmax"]
)
def test_norms_and_scores_are_widened(net: type[torch.nn.Module], kind: type) -> None:
    torch.manual_seed(4)
    graph = lowered(net().eval(), TOKENS).graph
    assert any(isinstance(op, kind) for op in graph.ops)
    data = torch.randn(16, *TOKENS[1:]).numpy()
    name = graph.inputs[0].name
    feeds = [{name: row[None]} for row in data]
    ranges = calibrate(graph, feeds, method="min-max")
    integer, widths = choose_widths(graph, ranges, lambda: ranges, {name: data[:8]})
    assert widths is not None
    assert widths.int8_sqnr_db < WANTED_DB - 1
    assert widths.sqnr_db >= WANTED_DB
    (op,) = [op for op in integer.ops if isinstance(op, kind)]
    assert integer.tensors[op.inputs[0]].dtype is DType.INT16
    assert integer.tensors[op.outputs[0]].dtype is DType.INT16
