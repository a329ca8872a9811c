"""PyTorch idioms become Graphs that compute the same, as ONNX Runtime runs them."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edgefactor.errors import ModelError, UnsupportedOperatorError
from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ports import decode_outputs, encode_inputs
from edgefactor.export.reference import run_samples
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.export.validate import validate
from edgefactor.pipeline.lower import lower
from edgefactor.runtime.litert_runner import LiteRtRunner
from tests.export.graphs import lowered, to_int8
from tests.pipeline.networks import give_statistics

Shapes = tuple[tuple[int, ...], ...]


class Net(nn.Module):
    """A forward function over layers that are made once."""

    def __init__(self, forward: Callable[..., object], **layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.function = forward

    def forward(self, *inputs: Tensor) -> object:
        return self.function(self.layers, *inputs)


def conv(i: int, o: int, k: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, **options)


def squeeze_excite(m: nn.ModuleDict, x: Tensor) -> Tensor:
    x = m["c"](x)
    gate = torch.sigmoid(m["b"](m["a"](x.mean([2, 3], keepdim=True)).relu()))
    return x * gate


def shuffle(m: nn.ModuleDict, x: Tensor) -> Tensor:
    x = m["c"](x)
    n, c, h, w = x.shape
    return m["d"](x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))


def two_heads(m: nn.ModuleDict, x: Tensor) -> tuple[Tensor, Tensor]:
    flat = torch.flatten(m["c"](x).relu(), 1)
    return m["a"](flat), m["b"](flat)


def halves(m: nn.ModuleDict, x: Tensor) -> Tensor:
    first, second = m["c"](x).chunk(2, 1)
    return first * second.sigmoid()


def inside_and_out(m: nn.ModuleDict, x: Tensor) -> tuple[Tensor, Tensor]:
    x = m["c"](x)
    return x, m["d"](x.relu())


def nested_outputs(m: nn.ModuleDict, x: Tensor) -> dict[str, Tensor]:
    y = m["c"](x)
    return {"map": y, "mean": y.mean([2, 3])}


def lines() -> nn.Sequential:
    return give_statistics(
        nn.Sequential(
            nn.Conv1d(3, 4, 5, padding=2, stride=2),
            nn.BatchNorm1d(4),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Flatten(),
            nn.Linear(16, 3),
        )
    )


#: Name -> (module, shapes of its inputs).
IDIOMS: dict[str, tuple[Callable[[], nn.Module], Shapes]] = {
    "flatten, linear": (
        lambda: nn.Sequential(conv(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)),
        ((1, 3, 6, 6),),
    ),
    "1-D": (lines, ((1, 3, 16),)),
    "mean([2, 3])": (
        lambda: Net(lambda m, x: m["a"](m["c"](x).mean([2, 3])), c=conv(2, 4), a=nn.Linear(4, 3)),
        ((1, 2, 5, 5),),
    ),
    "mean(-1).mean(-1)": (
        lambda: Net(lambda m, x: m["c"](x).mean(-1).mean(-1), c=conv(2, 4)),
        ((1, 2, 5, 5),),
    ),
    "channels last in": (
        lambda: Net(lambda m, x: m["c"](x.permute(0, 3, 1, 2)), c=conv(3, 4)),
        ((1, 6, 5, 3),),
    ),
    "channels last out": (
        lambda: Net(lambda m, x: m["c"](x).permute(0, 2, 3, 1), c=conv(3, 4)),
        ((1, 3, 6, 5),),
    ),
    "features of a line transposed": (
        lambda: Net(lambda m, x: m["c"](x.transpose(1, 2)).transpose(1, 2), c=nn.Conv1d(3, 4, 3)),
        ((1, 8, 3),),
    ),
    "turned map": (
        lambda: Net(lambda m, x: m["d"](m["c"](x).transpose(2, 3)), c=conv(3, 4), d=conv(4, 2)),
        ((1, 3, 8, 6),),
    ),
    "unsqueezed line": (
        lambda: Net(lambda m, x: m["c"](x.unsqueeze(1)).squeeze(2), c=conv(1, 4, 3)),
        ((1, 3, 9),),
    ),
    "rows through a dense layer": (
        lambda: Net(lambda m, x: m["a"](x).relu(), a=nn.Linear(6, 3)),
        ((1, 5, 6),),
    ),
    "maps through a dense layer": (
        lambda: Net(lambda m, x: m["a"](m["c"](x)), c=conv(2, 3), a=nn.Linear(4, 3)),
        ((1, 2, 6, 6),),
    ),
    "two inputs": (
        lambda: Net(lambda m, x, y: m["c"](x) + m["d"](y), c=conv(2, 3), d=conv(4, 3)),
        ((1, 2, 6, 6), (1, 4, 6, 6)),
    ),
    "an image and a vector": (
        lambda: Net(
            lambda m, x, y: torch.cat([m["c"](x).mean([2, 3]), m["a"](y)], 1),
            c=conv(2, 3),
            a=nn.Linear(5, 4),
        ),
        ((1, 2, 6, 6), (1, 5)),
    ),
    "two heads": (
        lambda: Net(two_heads, c=conv(2, 3), a=nn.Linear(48, 3), b=nn.Linear(48, 2)),
        ((1, 2, 6, 6),),
    ),
    "an output that is also read": (
        lambda: Net(inside_and_out, c=conv(2, 3), d=conv(3, 2)),
        ((1, 2, 6, 6),),
    ),
    "the same output twice": (
        lambda: Net(lambda m, x: (lambda y: (y, y))(m["c"](x)), c=conv(2, 3)),
        ((1, 2, 6, 6),),
    ),
    "an input that is an output": (
        lambda: Net(lambda m, x: (x, m["c"](x)), c=conv(2, 3)),
        ((1, 2, 6, 6),),
    ),
    "outputs by name": (lambda: Net(nested_outputs, c=conv(2, 3)), ((1, 2, 6, 6),)),
    "the same layer twice": (
        lambda: Net(lambda m, x: m["c"](m["c"](x).relu()), c=conv(3, 3)),
        ((1, 3, 7, 7),),
    ),
    "residual": (
        lambda: Net(lambda m, x: (x + m["c"](x).relu()).relu(), c=conv(3, 3, padding=1)),
        ((1, 3, 5, 5),),
    ),
    "batch norm on its own": (
        lambda: give_statistics(
            nn.Sequential(nn.MaxPool2d(2), nn.BatchNorm2d(3), nn.ReLU(), conv(3, 2))
        ),
        ((1, 3, 8, 8),),
    ),
    "batch norm of a vector": (
        lambda: give_statistics(nn.Sequential(nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))),
        ((1, 6),),
    ),
    "batch norm after a dense layer": (
        lambda: give_statistics(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU())),
        ((1, 6),),
    ),
    "reshape to halves": (
        lambda: Net(
            lambda m, x: m["a"](m["c"](x).reshape(1, 2, -1)), c=conv(2, 4), a=nn.Linear(32, 3)
        ),
        ((1, 2, 6, 6),),
    ),
    "channel shuffle": (lambda: Net(shuffle, c=conv(2, 6), d=conv(6, 2)), ((1, 2, 7, 7),)),
    "squeeze and excite": (
        lambda: Net(squeeze_excite, c=conv(2, 4), a=conv(4, 2, 1), b=conv(2, 4, 1)),
        ((1, 2, 6, 6),),
    ),
    "groups and dilation": (
        lambda: nn.Sequential(conv(4, 8, groups=2, dilation=2, padding=2), nn.ReLU6()),
        ((1, 4, 7, 7),),
    ),
    "padding by word": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, (4, 3), padding="same"), nn.ReLU()),
        ((1, 2, 6, 6),),
    ),
    "matrix on the right": (
        lambda: Net(lambda m, x: x @ m["a"].weight.T + 1.5, a=nn.Linear(6, 3)),
        ((1, 4, 6),),
    ),
    "no batch axis out": (
        lambda: Net(lambda m, x: m["a"](x)[0], a=nn.Linear(6, 3)),
        ((1, 4, 6),),
    ),
    "split in halves": (
        lambda: Net(halves, c=conv(2, 6)),
        ((1, 2, 6, 6),),
    ),
}


def run_onnx(graph: Graph, inputs: list[np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        write_onnx(graph).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {port.name: array for port, array in zip(graph.inputs, inputs, strict=True)}
    return session.run([port.name for port in graph.outputs], feeds)


class Together(nn.Module):
    """All idioms side by side: tracing takes a second however small the network."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(make() for make, _ in IDIOMS.values())

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        outputs: list[Tensor] = []
        start = 0
        for part, (_, shapes) in zip(self.parts, IDIOMS.values(), strict=True):
            outputs += leaves(part(*inputs[start : start + len(shapes)]))
            start += len(shapes)
        return outputs


def leaves(result: object) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    values = result.values() if isinstance(result, dict) else result
    return [tensor for item in values for tensor in leaves(item)]


def check(module: nn.Module, shapes: Shapes) -> None:
    """Float Graph against PyTorch, int8 Graph against LiteRT and, roughly, PyTorch."""
    graph = lowered(module, *shapes).graph
    generator = np.random.default_rng(4)
    inputs = [generator.standard_normal(shape).astype(np.float32) for shape in shapes]
    with torch.no_grad():
        expected = [t.numpy() for t in leaves(module(*map(torch.from_numpy, inputs)))]
    found = run_onnx(graph, inputs)
    for port, array, wanted in zip(graph.outputs, found, expected, strict=True):
        assert array.shape == wanted.shape, port.name
        np.testing.assert_allclose(array, wanted, rtol=1e-4, atol=1e-5, err_msg=port.name)
    int8 = to_int8(graph, inputs)
    codes = encode_inputs(int8, inputs)
    values = run_samples(int8, codes)
    order = [tensor.name for tensor in int8.activations]
    others = LiteRtRunner(write_tflite(int8), reference=True).run(codes, order)
    for tensor in order:
        np.testing.assert_array_equal(others[tensor].reshape(values[tensor].shape), values[tensor])
    real = decode_outputs(int8, values)
    for port, array, wanted in zip(int8.outputs, real, expected, strict=True):
        step = int8.tensors[port.tensor].quant.scale
        np.testing.assert_allclose(
            array.reshape(wanted.shape), wanted, atol=8 * step, err_msg=port.name
        )


def test_computes_what_pytorch_computes() -> None:
    torch.manual_seed(3)
    shapes = tuple(shape for _, shapes in IDIOMS.values() for shape in shapes)
    check(Together().eval(), shapes)


@pytest.mark.slow
@pytest.mark.parametrize("name", IDIOMS)
def test_each_on_its_own(name: str) -> None:
    make, shapes = IDIOMS[name]
    torch.manual_seed(3)
    check(make().eval(), shapes)


@pytest.mark.parametrize("name", ["mean([2, 3])", "channels last in"])
def test_no_transpose_where_none_is_needed(name: str) -> None:
    make, shapes = IDIOMS[name]
    graph = lowered(make().eval(), *shapes).graph
    assert "Transpose" not in [type(op).__name__ for op in graph.ops]


def model(body: str, inputs: str = "float[1,4] x") -> onnx.ModelProto:
    text = f'<ir_version: 8, opset_import: ["" : 18]> net ({inputs}) => (float[1,4] y) {{ {body} }}'
    return onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("y = Det (x)", "Det"),
        ("z = Multinomial (x) y = Det (z)", "Det, Multinomial"),
    ],
)
def test_operators_without_an_implementation(body: str, words: str) -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        lower(model(body), name="net", source_of=lambda node: "net.py:7 in forward")
    assert words in caught.value.message
    assert "net.py:7 in forward" in caught.value.where
    assert "Det" in caught.value.where


def test_weights_that_are_computed() -> None:
    text = "float[1,4,6,6] x, float[4,4,1,1] w"
    with pytest.raises(UnsupportedOperatorError) as caught:
        lower(model("y = Conv (x, w)", text), name="net")
    assert "Conv" in caught.value.where


def test_shapes_that_are_not_known() -> None:
    proto = model("y = Relu (x)", "float[N,4] x")
    with pytest.raises(ModelError, match="shape"):
        lower(proto, name="net")


def test_names_of_layers_are_those_of_pytorch() -> None:
    graph = lowered(nn.Sequential(conv(3, 4), nn.Flatten(), nn.Linear(64, 5)), (1, 3, 6, 6)).graph
    names = [op.name for op in graph.ops]
    assert names[0] == "0"
    assert "2" in names


def test_what_nothing_needs_is_left_out() -> None:
    body = "unused = Sigmoid (x) y = Relu (x)"
    graph = validate(lower(model(body), name="net"), "lower")
    assert len(graph.ops) == 1


class Ones(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(1, 3)


def test_output_that_is_always_the_same() -> None:
    with pytest.raises(ModelError, match="the same for every input") as caught:
        lowered(nn.Sequential(Ones()), (1, 4))
    assert caught.value.where.startswith("output ")
