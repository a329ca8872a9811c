import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edgefactor.errors import EdgefactorError, ModelError, OptionError
from edgefactor.pipeline.config import parse_shape
from edgefactor.pipeline.inputs.example import choose_inputs, index_limits, input_names, try_model
from edgefactor.pipeline.load import LoadedModel, load
from edgefactor.pipeline.trace import TracedModel, to_onnx
from tests.pipeline import networks
from tests.pipeline.onnx_runs import run_onnx

INPUT = (1, 3, 8, 8)


def as_module(network: nn.Module) -> LoadedModel:
    return LoadedModel(kind="module", program=network.eval(), source="net.pt")


def from_module(folder: Path) -> LoadedModel:
    return as_module(networks.convolutional())


def from_script(folder: Path) -> LoadedModel:
    return load(networks.script(folder / "net.pt", networks.convolutional()))


def from_program(folder: Path) -> LoadedModel:
    path = folder / "net.pt2"
    return load(networks.program(path, networks.convolutional(), torch.zeros(INPUT)))


def from_dynamic_program(folder: Path) -> LoadedModel:
    path, example = folder / "dynamic.pt2", torch.zeros(3, *INPUT[1:])
    return load(networks.program(path, networks.convolutional(), example, dynamic=True))


WAYS = [from_module, from_script, from_program, from_dynamic_program]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.__name__)
def traced(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LoadedModel, TracedModel]:
    way: Callable[[Path], LoadedModel] = request.param
    loaded = way(tmp_path_factory.mktemp("way"))
    inputs = choose_inputs(loaded, [parse_shape("1,3,8,8")])
    return loaded, to_onnx(loaded, inputs)


def test_computes_what_pytorch_computes(traced: tuple[LoadedModel, TracedModel]) -> None:
    x = np.random.default_rng(3).standard_normal(INPUT).astype(np.float32)
    with torch.no_grad():
        expected = traced[0].module(torch.from_numpy(x)).numpy()
    assert np.allclose(run_onnx(traced[1].model, x)[0], expected, atol=1e-5)


def test_names_and_static_shapes(traced: tuple[LoadedModel, TracedModel]) -> None:
    graph = onnx.shape_inference.infer_shapes(traced[1].model, data_prop=True).graph
    assert [value.name for value in graph.input] == ["input"]
    assert [value.name for value in graph.output] == ["output"]
    assert tuple(d.dim_value for d in graph.input[0].type.tensor_type.shape.dim) == INPUT


def test_no_path_and_no_text_of_the_machine(traced: tuple[LoadedModel, TracedModel]) -> None:
    content = traced[1].model.SerializeToString()
    assert b"site-packages" not in content and str(Path(__file__).parent).encode() not in content
    assert b"stack_trace" not in content


def test_every_weighted_node_knows_its_source(traced: tuple[LoadedModel, TracedModel]) -> None:
    nodes = [n for n in traced[1].model.graph.node if n.op_type in ("Conv", "Gemm")]
    assert len(nodes) == 2
    assert all("module" in traced[1].source_of(node) for node in nodes)


def test_same_bytes_every_time(traced: tuple[LoadedModel, TracedModel]) -> None:
    loaded, first = traced
    again = to_onnx(loaded, choose_inputs(loaded, [parse_shape("1,3,8,8")]))
    assert again.model.SerializeToString(deterministic=True) == first.model.SerializeToString(
        deterministic=True
    )
    assert again.sources == first.sources


def test_place_in_the_users_code() -> None:
    traced = to_onnx(as_module(networks.Own()), (torch.zeros(1, 6),))
    relu = next(n for n in traced.model.graph.node if n.op_type == "Relu")
    assert traced.source_of(relu).startswith("networks.py:")
    assert "self.layer(x).relu()" in traced.source_of(relu)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    to_onnx(as_module(networks.convolutional()), (torch.zeros(INPUT),))
    assert capfd.readouterr() == ("", "")


class TwoByTwo(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        return {"sum": left + right, "output0": left * 2}


def test_several_inputs_and_outputs() -> None:
    loaded = as_module(TwoByTwo())
    assert input_names(loaded) == ("left", "right")
    inputs = choose_inputs(loaded, [parse_shape("right=1,4"), parse_shape("left=1,4")])
    model = to_onnx(loaded, inputs).model
    assert [v.name for v in model.graph.input] == ["left", "right"]
    assert [v.name for v in model.graph.output] == ["output0", "output1"]
    one, two = np.float32([[1, 2, 3, 4]]), np.float32([[5, 6, 7, 8]])
    total, double = run_onnx(model, one, two)
    assert np.array_equal(total, one + two) and np.array_equal(double, 2 * one)


# -- example inputs --------------------------------------------------------------------------------


def test_example_from_program_has_batch_one(tmp_path: Path) -> None:
    assert choose_inputs(from_dynamic_program(tmp_path))[0].shape == INPUT


def test_example_from_data() -> None:
    assert choose_inputs(as_module(networks.Own()), (), [(1, 6)])[0].shape == (1, 6)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (networks.convolutional(), "Conv2d (0) takes [N, 3, H, W]"),
        (networks.Own(), "Linear (layer) takes [..., 6]"),
        (nn.Sequential(nn.Conv1d(5, 2, 3)), "Conv1d (0) takes [N, 5, L]"),
        (nn.Sequential(nn.Conv2d(8, 8, 3, groups=4)), "takes [N, 8, H, W]"),
        (nn.ReLU(), "do not say"),
    ],
)
def test_unknown_input_shape(network: nn.Module, words: str) -> None:
    with pytest.raises(ModelError, match="not known") as caught:
        choose_inputs(as_module(network))
    assert words in caught.value.found and "--input-shape" in caught.value.hint


WRONG_SHAPES = ["1,4,8,8", "1,3,9,9", "1,3", "1,8,8,3"]


@pytest.mark.parametrize(
    ("way", "shape"),
    list(itertools.product([from_module, from_script, from_program], WRONG_SHAPES)),
)
def test_wrong_input_shape(tmp_path: Path, way: Callable[[Path], LoadedModel], shape: str) -> None:
    loaded = way(tmp_path)
    with pytest.raises(ModelError, match="does not take") as caught:
        try_model(loaded, choose_inputs(loaded, [parse_shape(shape)]))
    expected = "exported with" if loaded.kind == "ExportedProgram" else "[N, 3, H, W]"
    assert expected in caught.value.expected and "\n" not in caught.value.found


def test_program_for_another_batch(tmp_path: Path) -> None:
    path = networks.program(tmp_path / "m.pt2", networks.convolutional(), torch.zeros(4, 3, 8, 8))
    loaded = load(path)
    with pytest.raises(ModelError) as caught:
        try_model(loaded, choose_inputs(loaded))
    assert "batch 1 or a dynamic batch" in caught.value.hint


@pytest.mark.parametrize("shapes", [["2,3,8,8"], ["nothing=1,3,8,8"], ["input=1,3,8,8", "1,3,8,8"]])
def test_shapes_that_fit_no_input(shapes: list[str]) -> None:
    with pytest.raises(OptionError):
        choose_inputs(as_module(networks.convolutional()), [parse_shape(s) for s in shapes])


class Bad(nn.Module):
    """Fails in the way that its kind says."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> object:
        if self.kind == "complex":
            return torch.fft.fft(x)
        if self.kind == "nothing":
            return None
        if self.kind == "NaN":
            return torch.log(-x.abs())
        return len(x)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("complex", "complex64"), ("nothing", "nothing"), ("NaN", "NaN"), ("number", "a int")],
)
def test_outputs_that_cannot_be_exported(kind: str, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        try_model(as_module(Bad(kind)), (torch.ones(1, 4),))
    assert words in str(caught.value)


class SomeOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, None, dict[str, Tensor]]:
        return x + 1, None, {"twice": 2 * x}


def test_none_among_outputs_is_left_out() -> None:
    loaded, x = as_module(SomeOutputs()), torch.ones(1, 4)
    assert [t.tolist() for t in try_model(loaded, [x])] == [[[2] * 4], [[2] * 4]]
    assert len(to_onnx(loaded, [x]).model.graph.output) == 2


class Projected(nn.Module):
    """LSTM layers whose states are projected to fewer values."""

    def __init__(self, *, bias: bool, both: bool) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.recurrent = nn.LSTM(3, 6, 2, bias, proj_size=2, batch_first=True, bidirectional=both)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.recurrent(x)
        return y, h, c


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(("bias", "both", "saved"), [(True, False, False), (False, True, True)])
def test_projected_lstm(tmp_path: Path, bias: bool, both: bool, saved: bool) -> None:
    network, x = Projected(bias=bias, both=both).eval(), torch.randn(1, 4, 3)
    loaded = as_module(network)
    if saved:
        loaded = load(networks.program(tmp_path / "net.pt2", network, x))
    with torch.no_grad():
        expected = network(x)
    found = run_onnx(to_onnx(loaded, [x]).model, x.numpy())
    for values, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(values, wanted.numpy(), atol=1e-5)


class DataDependent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x - 1


def test_an_operator_that_the_exporter_lacks() -> None:
    loaded = LoadedModel(kind="module", program=nn.FractionalMaxPool2d(2, 3).eval(), source="n.pt")
    with pytest.raises(ModelError) as caught:
        to_onnx(loaded, [torch.randn(1, 2, 8, 8)])
    assert "aten.fractional_max_pool2d" in caught.value.hint


def test_path_that_depends_on_data() -> None:
    with pytest.raises(EdgefactorError) as caught:
        to_onnx(as_module(DataDependent()), (torch.ones(1, 4),))
    assert isinstance(caught.value, ModelError)
    assert "test_trace.py" in caught.value.where and "values of tensors" in caught.value.hint


@pytest.mark.parametrize(
    ("kernel", "dilation", "script"),
    [(3, 2, True), (4, 1, True), (4, 3, True), (2, 1, True), (4, 3, False)],
)
def test_padding_by_name(tmp_path: Path, kernel: int, dilation: int, script: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 3, (kernel, 3), padding="same", dilation=(dilation, 1)),
        nn.Conv2d(3, 2, kernel, padding="same", dilation=dilation, bias=False),
    )
    x = torch.randn(1, 2, 11, 9)
    loaded = as_module(network)
    if script:
        torch.jit.save(torch.jit.script(network), tmp_path / "net.pt")
        loaded = load(tmp_path / "net.pt")
    found = run_onnx(to_onnx(loaded, [x]).model, x.numpy())
    expected = network(x).detach().numpy()
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "words"),
    [("1,8,8,3", "x.transpose(0, 3, 1, 2)"), ("1,9", "--input-shape"), ("1,4,8,8", "--input")],
)
def test_layout_that_would_do(shape: str, words: str) -> None:
    loaded = as_module(networks.convolutional())
    with pytest.raises(ModelError) as caught:
        try_model(loaded, choose_inputs(loaded, [parse_shape(shape)]))
    assert words in caught.value.hint


def test_missing_channel_axis() -> None:
    loaded = as_module(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 2)))
    with pytest.raises(ModelError) as caught:
        try_model(loaded, choose_inputs(loaded, [parse_shape("1,8,8")]))
    assert "x[:, None]" in caught.value.hint


class Words(nn.Module):
    """Ids and what is visible of them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)

    def forward(self, ids: Tensor, seen: Tensor) -> Tensor:
        return self.embed(ids).masked_fill(~seen.unsqueeze(-1), 0.0)


@pytest.mark.parametrize("kind", ["module", "script", "program"])
def test_inputs_of_ids_and_of_truth_values(kind: str, tmp_path: Path) -> None:
    network, file = Words().eval(), tmp_path / "net.pt"
    given = torch.zeros(1, 5, dtype=torch.int64), torch.ones(1, 5, dtype=torch.bool)
    loaded = as_module(network)
    if kind == "script":
        torch.jit.save(torch.jit.script(network), file)
        loaded = load(file)
    elif kind == "program":
        loaded = load(networks.program(tmp_path / "net.pt2", network, *given))
    shapes = [parse_shape("ids=1,5"), parse_shape("seen=1,5")]
    inputs = choose_inputs(loaded, shapes)
    assert [tensor.dtype for tensor in inputs] == [torch.int64, torch.bool]
    # Not padding, and whatever the file's own example is.
    assert index_limits(loaded, inputs) == (7, 2) and int(inputs[0].min()) > 0
    assert try_model(loaded, inputs)[0].shape == (1, 5, 4)


class Counted(nn.Module):
    """Ids, and which of them count: 0 or 1."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.embed(ids.clamp(min=0)) * mask.unsqueeze(-1)


def test_whole_numbers_that_are_no_ids(tmp_path: Path) -> None:
    ids = torch.zeros(1, 5, dtype=torch.int64)
    loaded = load(networks.program(tmp_path / "net.pt2", Counted(), ids, torch.ones_like(ids)))
    assert index_limits(loaded, choose_inputs(loaded)) == (7, 2)


def decoder(**options: bool) -> nn.Module:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerDecoderLayer(4, 1, 4, batch_first=True)
            self.layers = nn.TransformerDecoder(layer, 1)

        def forward(self, x: Tensor) -> Tensor:
            later = torch.ones(3, 3, dtype=torch.bool).triu(1)
            return self.layers(x, x, tgt_mask=later, **options)

    return Decoder().eval()


def test_mask_of_truth_values_that_pytorch_looks_at() -> None:
    x = torch.randn(1, 3, 4)
    with pytest.raises(ModelError) as caught:
        to_onnx(as_module(decoder()), [x])
    assert "tgt_is_causal" in caught.value.hint
    assert to_onnx(as_module(decoder(tgt_is_causal=True)), [x]).model.graph.node


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_attention_that_was_traced_as_pytorch_runs_it_fast(tmp_path: Path) -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 4, batch_first=True).eval()
    x = torch.randn(1, 3, 4)
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(layer, x), tmp_path / "net.pt")
    with pytest.raises(ModelError) as caught:
        to_onnx(load(tmp_path / "net.pt"), [x])
    assert "set_fastpath_enabled" in caught.value.hint


class Hides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        mask = torch.zeros(1, 3, 3).masked_fill(x[:, None, :, 0] > 0, float("-inf"))[:, None]
        heads = x[:, None]
        return nn.functional.scaled_dot_product_attention(heads, heads, heads, attn_mask=mask)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_attention_to_nothing_is_what_pytorch_makes_of_it(sign: float) -> None:
    x = sign * torch.rand(1, 3, 4)
    expected = Hides()(x).numpy()
    assert np.isfinite(expected).all()
    (found,) = run_onnx(to_onnx(as_module(Hides()), [x]).model, x.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-6)
