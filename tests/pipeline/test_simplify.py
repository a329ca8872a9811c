import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from edgefactor.errors import ModelError, UnsupportedOperatorError
from edgefactor.pipeline.load import LoadedModel
from edgefactor.pipeline.passes.onnx_graph import static_shapes
from edgefactor.pipeline.simplify import simplify
from edgefactor.pipeline.trace import TracedModel, to_onnx
from tests.pipeline import networks
from tests.pipeline.onnx_runs import run_onnx

RNG = np.random.default_rng(11)


class Apply(nn.Module):
    """A function as a network, with whatever layers it uses."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.layers)


IMAGE, MAPS, ROWS = (1, 3, 6, 5), (1, 4, 9), (1, 5, 12)

# Network, input shape, and how often which operator is left.
CASES: dict[str, tuple[nn.Module, tuple[int, ...], dict[str, int]]] = {
    "conv + norm + relu": (
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        IMAGE,
        {"Conv": 1, "Relu": 1},
    ),
    "conv1d + norm": (
        nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6)), MAPS, {"Conv": 1}
    ),
    "depthwise + norm": (
        nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6)), IMAGE, {"Conv": 1}
    ),
    "dense + norm": (
        nn.Sequential(nn.Linear(12, 7), nn.BatchNorm1d(7), nn.Tanh()), (1, 12),
        {"Gemm": 1, "Tanh": 1},
    ),
    "dense without bias + norm": (
        nn.Sequential(nn.Linear(12, 7, bias=False), nn.BatchNorm1d(7)), (1, 12), {"Gemm": 1}
    ),
    "norm alone": (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), IMAGE,
                   {"BatchNormalization": 1, "Relu": 1}),
    "norm of a shared conv": (
        Apply(lambda x, conv, norm: norm(conv(x)) + conv(x),
              nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)),
        IMAGE, {"Conv": 1, "BatchNormalization": 1, "Add": 1},
    ),
    "dropout and identity": (
        nn.Sequential(nn.Identity(), nn.Dropout(), nn.ReLU(), nn.Identity()), IMAGE, {"Relu": 1}
    ),
    "dense on rows": (nn.Linear(12, 7), ROWS, {"Gemm": 1, "Reshape": 2}),
    "dense on rows without bias": (nn.Linear(12, 7, bias=False), ROWS,
                                   {"Gemm": 1, "Reshape": 2}),
    "global mean": (Apply(lambda x: x.mean((2, 3))), IMAGE,
                    {"GlobalAveragePool": 1, "Reshape": 1}),
    "global mean kept": (Apply(lambda x: x.mean((-1, -2), keepdim=True)), IMAGE,
                         {"GlobalAveragePool": 1}),
    "adaptive pool": (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)),
                      IMAGE, {"GlobalAveragePool": 1, "Reshape": 1, "Gemm": 1}),
    "mean over time": (Apply(lambda x: x.mean(2)), MAPS,
                       {"GlobalAveragePool": 1, "Reshape": 1}),
    "mean over channels": (Apply(lambda x: x.mean(1)), IMAGE, {"ReduceMean": 1}),
    "mean over all": (Apply(lambda x: x.mean()), IMAGE, {"ReduceMean": 1, "Reshape": 1}),
    "views": (Apply(lambda x: x.unsqueeze(0).squeeze(1).flatten(1).view(1, 5, 3, 6).relu()),
              IMAGE, {"Reshape": 1, "Relu": 1}),
    "relu6 and clip": (Apply(lambda x: F.relu6(x).clamp(0.5, 2.0)), IMAGE, {}),
    "hard-swish": (nn.Hardswish(), IMAGE, {"HardSwish": 1}),
    "hard-sigmoid": (nn.Hardsigmoid(), IMAGE, {"HardSigmoid": 1}),
    "SiLU": (nn.SiLU(), IMAGE, {"Sigmoid": 1, "Mul": 1}),
    "split and concat": (Apply(lambda x: torch.cat(x.chunk(2, 2)[::-1], 2)), IMAGE,
                         {"Split": 1, "Concat": 1}),
    "pad": (Apply(lambda x: F.pad(x, (1, 0, 2, 1))), IMAGE, {"Pad": 1}),
    "nearest": (nn.Upsample(scale_factor=2), IMAGE, {"Resize": 1}),
    "two outputs, one handed through": (Apply(lambda x: (x.relu(), x.relu() + 1)), IMAGE, {}),
    "matrix and scalar bias": (Apply(lambda x: x @ torch.ones(12, 2) + 0.5), (1, 12),
                               {"Gemm": 1}),
}  # fmt: skip


def trace(network: nn.Module, shape: tuple[int, ...]) -> TracedModel:
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            networks.give_statistics(module)
    loaded = LoadedModel(kind="module", program=network.eval(), source="net.pt")
    return to_onnx(loaded, (torch.zeros(shape),))


@functools.cache
def simplified_case(name: str) -> tuple[TracedModel, TracedModel]:
    traced = trace(*CASES[name][:2])
    return traced, simplify(traced)


@pytest.mark.parametrize("name", CASES)
def test_canonical_form(name: str) -> None:
    _, shape, operators = CASES[name]
    traced, result = simplified_case(name)
    left = Counter(node.op_type for node in result.model.graph.node)
    assert not operators or left == Counter(operators), left
    x = RNG.standard_normal(shape).astype(np.float32)
    for found, expected in zip(run_onnx(result.model, x), run_onnx(traced.model, x), strict=True):
        assert found.shape == expected.shape
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_form_that_the_lowering_relies_on(name: str) -> None:
    model = simplified_case(name)[1].model
    graph = model.graph
    onnx.checker.check_model(model, full_check=True)
    shapes = static_shapes(model)
    constants = {tensor.name for tensor in graph.initializer}
    assert len({node.name for node in graph.node}) == len(graph.node)
    for node in graph.node:
        assert node.op_type not in ("Constant", "Identity", "Dropout", "Flatten", "Squeeze")
        assert all(name in shapes for name in node.output)
        if node.op_type == "Gemm":
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            assert attributes == {"transB": 1} and node.input[1] in constants
            assert len(shapes[node.input[0]]) == 2
            assert len(node.input) == 2 or shapes[node.input[2]] == (shapes[node.input[1]][0],)
        if node.op_type == "Reshape":
            sizes = next(t for t in graph.initializer if t.name == node.input[1])
            assert tuple(numpy_helper.to_array(sizes)) == shapes[node.output[0]]
    used = {name for node in graph.node for name in node.input}
    assert constants <= used


def test_weights_keep_their_names_and_nodes_their_source() -> None:
    result = simplify(trace(networks.convolutional(), (1, 3, 8, 8)))
    weighted = [n for n in result.model.graph.node if n.op_type in ("Conv", "Gemm")]
    assert [list(n.input[1:]) for n in weighted] == [
        ["0.weight", "0.bias"],
        ["4.weight", "4.bias"],
    ]
    assert [result.source_of(n) for n in weighted] == ["module 0", "module 4"]


def test_same_bytes_every_time() -> None:
    traced = trace(networks.convolutional(), (1, 3, 8, 8))
    first, second = (simplify(traced).model.SerializeToString() for _ in range(2))
    assert first == second


def test_the_traced_model_is_not_changed() -> None:
    traced = trace(networks.convolutional(), (1, 3, 8, 8))
    before = traced.model.SerializeToString()
    simplify(traced)
    assert traced.model.SerializeToString() == before


# -- what is refused -------------------------------------------------------------------------------


def model_of(
    nodes: list[onnx.NodeProto], shape: tuple[int | str, ...] = (1, 4), **constants: Any
) -> TracedModel:
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return TracedModel(
        model=helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    )


def test_gemm_with_factors() -> None:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=3.0, transB=0)
    w = RNG.standard_normal((4, 3)).astype(np.float32)
    traced = model_of([node], w=w, b=np.float32([2.0]))
    graph = traced.model.graph.output[0]
    graph.CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3)))
    result = simplify(traced).model
    x = RNG.standard_normal((1, 4)).astype(np.float32)
    assert np.allclose(run_onnx(result, x)[0], 0.5 * x @ w + 6, atol=1e-6)
    assert [len(n.attribute) for n in result.graph.node if n.op_type == "Gemm"] == [1]


@pytest.mark.parametrize("turned", [{}, {"transA": 1}, {"transA": 1, "transB": 1, "alpha": 0.5}])
def test_gemm_of_two_activations(turned: dict[str, Any]) -> None:
    node = helper.make_node("Gemm", ["x", "x", "b"], ["y"], beta=3.0, **turned)
    traced = model_of([node], shape=(4, 4), b=np.float32([2.0, 1.0, -1.0, 0.0]))
    graph = traced.model.graph.output[0]
    graph.CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, (4, 4)))
    x = RNG.standard_normal((4, 4)).astype(np.float32)
    expected = run_onnx(traced.model, x)[0]
    result = simplify(traced).model
    assert np.allclose(run_onnx(result, x)[0], expected, atol=1e-5)
    assert {"Gemm", "MatMul"}.intersection(n.op_type for n in result.graph.node) == {"MatMul"}


def test_control_flow() -> None:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"])], "b", [],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, (1, 4))],
    )  # fmt: skip
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch, name="if0")
    with pytest.raises(UnsupportedOperatorError) as caught:
        simplify(model_of([node], c=np.array(True)))
    assert "If cannot be exported" in caught.value.message and "if0" in caught.value.where


def test_operator_of_another_domain() -> None:
    node = helper.make_node("Fancy", ["x"], ["y"], domain="com.example", name="n")
    with pytest.raises(UnsupportedOperatorError, match="Fancy cannot be"):
        simplify(model_of([node]))


def test_shape_that_depends_on_data() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["n"]),
        helper.make_node("Cast", ["n"], ["y"], to=TensorProto.FLOAT),
    ]
    traced = model_of(nodes)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, "count"))
    traced.model.graph.output[0].CopyFrom(output)
    with pytest.raises(ModelError, match="no static shape"):
        simplify(traced)


def test_absurd_shape() -> None:
    shape = (1, 1 << 15, 1 << 15)
    traced = model_of([helper.make_node("Relu", ["x"], ["y"])], shape)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    traced.model.graph.output[0].CopyFrom(output)
    with pytest.raises(ModelError, match="absurd shape"):
        simplify(traced)


def test_external_data() -> None:
    traced = model_of([helper.make_node("Add", ["x", "w"], ["y"])], w=np.ones((1, 4), np.float32))
    tensor = traced.model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    with pytest.raises(ModelError, match="another file") as caught:
        simplify(traced)
    assert caught.value.found == "../../etc/passwd"


def test_norm_with_negative_variance() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    networks.give_statistics(network)
    assert isinstance(network[1].running_var, Tensor)
    network[1].running_var[1] = -1
    loaded = LoadedModel(kind="module", program=network, source="net.pt")
    with pytest.raises(ModelError, match="NaN or infinite"):
        simplify(to_onnx(loaded, (torch.zeros(1, 4),)))
