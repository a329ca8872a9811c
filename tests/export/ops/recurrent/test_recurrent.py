"""GRU, LSTM and plain recurrent layers: the integers everywhere, the reals against PyTorch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.functions.recurrence import GATES, OUTPUT, STATES, state_quantization
from edgefactor.export.ir import DType, Graph, Quantization
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ops.recurrent.family import FAMILY
from edgefactor.export.ops.recurrent.op import Recurrent
from edgefactor.export.ops.requantize import requantize_codes
from edgefactor.export.ports import decode_outputs, encode_inputs
from edgefactor.export.reference import run_samples
from edgefactor.pipeline.lower import lower
from tests.export.graphs import lowered, to_int8
from tests.export.ops.every_runtime import (
    activation,
    check_everywhere,
    check_on_board,
    graph_of,
    held,
    quantization,
)
from tests.pipeline.onnx_runs import run_onnx

#: (cell, steps, inputs, units, distinct weight codes or 0 for all, reverse, every step)
CASES = [
    ("gru", 1, 1, 1, 0, False, True),
    ("gru", 12, 5, 6, 0, False, True),
    ("gru", 4, 10, 16, 0, True, False),
    ("gru", 3, 8, 16, 16, False, False),
    ("lstm", 1, 3, 4, 0, False, True),
    ("lstm", 11, 7, 5, 0, True, True),
    ("lstm", 5, 4, 8, 4, False, False),
    ("rnn", 1, 2, 3, 0, True, False),
    ("rnn", 111, 2, 1, 0, False, True),
]
TARGETS = {
    "portable": IsaFeatures(),
    "dsp": IsaFeatures(dsp=True, unaligned=True),
}


def random_layer(
    name: str, case: tuple, generator: np.random.Generator, *, keeps_state: bool = False
):
    """A layer with random integers: its tensors and its operator."""
    cell, steps, inputs, units, distinct, reverse, every_step = case
    rows = GATES[cell] * units
    scale = float(np.float32(generator.uniform(0.01, 0.06)))
    source = quantization(0.05, int(generator.integers(-128, 128)))
    tensors = [activation(f"{name}x", (1, steps, 1, inputs), source)]
    for role, width, in_scale in (("w", inputs, source.scale), ("r", units, OUTPUT.scale)):
        codes = generator.integers(-127, 128, (rows, 1, 1, width))
        if distinct:
            codes = generator.integers(0, distinct, codes.shape) * 7 - 50
        # Sums of this size move the gates without closing all of them.
        reach = 60.0 * np.sqrt(width) * generator.uniform(0.5, 2.0, rows) * 74
        scales = (40 * scale / (reach * in_scale)).astype(np.float32).astype(float)
        bias = generator.integers(-3000, 3000, rows).astype(np.int32)
        along = Quantization(scales=tuple(scales), axis=0)
        tensors.append(held(f"{name}{role}", codes.astype(np.int8), along))
        tensors.append(held(f"{name}{role}b", bias, Quantization(scales=along.scales, axis=0)))
    if keeps_state:
        shape = (1, STATES[cell], 1, units)
        kept_as = state_quantization(cell)
        tensors.append(activation(f"{name}s", shape, kept_as, DType.INT16))
    op = Recurrent(
        name=name,
        inputs=tuple(tensor.name for tensor in tensors),
        outputs=(name,),
        cell=cell,
        reverse=reverse,
        every_step=every_step,
        gate_scale=scale,
        gate_zero_point=int(generator.integers(-128, 128)),
    )
    return tensors, op


def table(*, keeps_state: bool = False) -> tuple[Graph, dict[str, np.ndarray]]:
    """All cases side by side, with random inputs."""
    generator = np.random.default_rng(5)
    tensors, ops, inputs = [], [], {}
    for index, case in enumerate(CASES):
        made, op = random_layer(f"c{index}", case, generator, keeps_state=keeps_state)
        tensors += made
        ops.append((op, OUTPUT))
        inputs[made[0].name] = generator.integers(-128, 128, made[0].shape).astype(np.int8)
        if keeps_state:
            inputs[made[-1].name] = generator.integers(-(2**15), 2**15, made[-1].shape).astype(
                np.int16
            )
    return graph_of(ops, tensors, dtype=DType.INT16 if keeps_state else DType.INT8), inputs


@pytest.mark.parametrize("features", TARGETS)
def test_every_runtime(features: str, tmp_path: Path) -> None:
    graph, inputs = table()
    found = check_everywhere(graph, inputs, tmp_path, CTarget(features=TARGETS[features]))
    for op in graph.ops:
        values = found[op.outputs[0]].astype(int)
        assert values.size < 5 or values.std() > 5, f"{op.name} hardly moves"


def test_states_in_every_runtime(tmp_path: Path) -> None:
    graph, inputs = table(keeps_state=True)
    check_everywhere(graph, inputs, tmp_path)


def test_a_constant_first_state(tmp_path: Path) -> None:
    graph, inputs = table(keeps_state=True)
    tensors = dict(graph.tensors)
    for op in graph.ops[::2]:
        name = op.inputs[5]
        tensors[name] = held(name, inputs.pop(name), tensors[name].quant)
    ports = tuple(port for port in graph.inputs if port.tensor in inputs)
    check_everywhere(graph.edit(tensors=tensors, inputs=ports), inputs, tmp_path)


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_step_by_step_is_the_same_as_at_once(cell: str) -> None:
    """Eight steps at once, and one at a time with the state handed on."""
    generator = np.random.default_rng(8)
    made, op = random_layer("r", (cell, 8, 3, 5, 0, False, True), generator)
    tensors = {tensor.name: tensor for tensor in made}
    inputs = [tensors[name] for name in op.inputs]
    values = [generator.integers(-128, 128, inputs[0].shape).astype(np.int8)]
    values += [tensor.values for tensor in inputs[1:]]
    output = activation("y", FAMILY.output_shape(op, inputs), OUTPUT)
    whole = FAMILY.reference(op, inputs, output, values)
    state = np.zeros((1, STATES[cell], 1, 5), np.int16)
    step = replace(op, inputs=(*op.inputs, "s"))
    frame = replace(inputs[0], shape=(1, 1, 1, 3))
    kept = activation("s", state.shape, state_quantization(cell), DType.INT16)
    for number in range(8):
        now = [values[0][:, number : number + 1], *values[1:], state]
        state = FAMILY.reference(step, [frame, *inputs[1:], kept], kept, now)
        result = requantize_codes(state[0, 0, 0], kept.quant, OUTPUT)
        np.testing.assert_array_equal(result, whole[0, number, 0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_exact_on_the_board(name: str, tmp_path: Path) -> None:
    graph, inputs = table()
    check_on_board(graph, inputs, tmp_path, name)


class Layers(nn.Module):
    """Recurrent layers of a kind; all results and the last state, or the last result alone."""

    def __init__(self, kind: str, *, last: bool = False, **options: object) -> None:
        super().__init__()
        self.layers = getattr(nn, kind)(6, 9, batch_first=True, **options)
        self.last = last

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        results, state = self.layers(x)
        if self.last:
            return (results[:, -1],)
        return results, state[0] if isinstance(state, tuple) else state


@pytest.mark.parametrize(
    ("module", "layers"),
    [
        (Layers("GRU"), 1),
        (Layers("GRU", bidirectional=True), 2),
        (Layers("GRU", num_layers=2, last=True, bias=False), 2),
        (Layers("LSTM"), 1),
        (Layers("LSTM", num_layers=2, bidirectional=True), 4),
    ],
)
def test_near_pytorch(module: Layers, layers: int) -> None:
    stages = lowered(module, (1, 8, 6))
    assert sum(isinstance(op, Recurrent) for op in stages.graph.ops) == layers
    x = np.random.default_rng(1).standard_normal((1, 8, 6)).astype(np.float32)
    expected = [value.detach().numpy() for value in module(torch.from_numpy(x))]
    for found, value in zip(run_onnx(write_onnx(stages.graph), x), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=1e-5)
    graph = to_int8(stages.graph, (x,))
    values = run_samples(graph, encode_inputs(graph, [x]))
    for real, value in zip(decode_outputs(graph, values), expected, strict=True):
        assert np.abs(real.reshape(value.shape) - value).max() < 0.035


def test_only_the_last_result_is_kept_where_no_other_is_read() -> None:
    graph = lowered(Layers("GRU", last=True), (1, 8, 6)).graph
    (layer,) = (op for op in graph.ops if isinstance(op, Recurrent))
    assert not layer.every_step
    assert graph.tensors[layer.outputs[0]].shape == (1, 1, 1, 9)


class Cells(nn.Module):
    """Returns the state of the cells of an LSTM alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.LSTM(6, 9, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)[1][1]


def test_cells_are_not_taken_for_the_last_result() -> None:
    module = Cells()
    stages = lowered(module, (1, 8, 6))
    x = np.random.default_rng(1).standard_normal((1, 8, 6)).astype(np.float32)
    (found,) = run_onnx(write_onnx(stages.graph), x)
    np.testing.assert_allclose(found, module(torch.from_numpy(x)).detach().numpy(), atol=1e-5)


def test_shared_weights_are_stored_as_indices() -> None:
    """Sixteen values a matrix stay sixteen, and take four bits."""
    module = Layers("GRU", last=True)
    with torch.no_grad():
        for weights in (module.layers.weight_ih_l0, module.layers.weight_hh_l0):
            weights.copy_(torch.round(weights / 0.06).clamp(-8, 7) * 0.06)
    graph = to_int8(lowered(module, (1, 8, 6)).graph)
    (layer,) = (op for op in graph.ops if isinstance(op, Recurrent))
    for name in (layer.inputs[1], layer.inputs[3]):
        assert len(np.unique(graph.tensors[name].values)) <= 16
    code = FAMILY.layer_code(layer, graph, CTarget(optimize="size"))
    assert code.bits <= 4
    assert code.weight_bytes < 27 * (6 + 9)


def test_torchscript() -> None:
    module = Layers("LSTM", last=True).eval()
    script = torch.jit.trace(module, torch.zeros(1, 8, 6))
    graph = lowered(script, (1, 8, 6)).graph
    assert [type(op) for op in graph.ops].count(Recurrent) == 1


#: Reason -> operator, batch, attributes, whether the sequence lengths are given.
REFUSED = {
    "its batch is 2": ("GRU", 2, {"linear_before_reset": 1}, False),
    "it resets before the product": ("GRU", 1, {}, False),
    "its activations are": ("RNN", 1, {"activations": ["Relu"]}, False),
    "it clips": ("LSTM", 1, {"clip": 1.0}, False),
    "its sequences end early": ("LSTM", 1, {}, True),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_refused(reason: str) -> None:
    kind, batch, attributes, lengths = REFUSED[reason]
    rows = GATES[kind.lower()] * 2
    constants = {
        "w": np.ones((1, rows, 4), np.float32),
        "r": np.ones((1, rows, 2), np.float32),
        "n": np.full(batch, 2, np.int32),
    }
    names = ["x", "w", "r", "", "n" if lengths else ""]
    node = onnx.helper.make_node(kind, names, ["y"], hidden_size=2, **attributes)
    shapes = {"x": [3, batch, 4], "y": [3, 1, batch, 2]}
    ends = [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    kept = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = onnx.helper.make_graph([node], "net", ends[:1], ends[1:], kept)
    with pytest.raises(UnsupportedOperatorError, match=reason):
        lower(onnx.helper.make_model(graph), name="net")
