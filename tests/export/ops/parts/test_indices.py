"""Embeddings, arg-max and arg-min: every code, every axis, and a network of tokens to a class."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.ir import DType
from edgefactor.export.ops.arg_extreme import ArgExtreme
from edgefactor.export.ops.embed import FAMILY as EMBED
from edgefactor.export.ops.embed import Embed
from edgefactor.export.ops.parts.indices import index_quantization, index_type
from edgefactor.export.serialize import from_json
from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.inputs.example import choose_inputs
from edgefactor.pipeline.load import LoadedModel
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.run import export
from tests.export.ops.every_runtime import (
    CODES,
    activation,
    check_everywhere,
    graph_of,
    held,
    quantization,
)
from tests.export.ops.lowering import check_lowering, kinds, parse

SCALE = quantization(0.05, -3)


@pytest.mark.parametrize("rows", [1, 5, 128, 129, 256])
def test_every_code_reads_a_row(rows: int, tmp_path: Path) -> None:
    """Those beyond the table too, which every runtime moves to its ends."""
    generator = np.random.default_rng(rows)
    x = activation("x", (1, 256), index_quantization(rows))
    table = held("t", generator.integers(-128, 128, (rows, 3)).astype(np.int8), SCALE)
    op = Embed(name="y", inputs=("x", "t"), outputs=("y",), rows=rows, low=-6.0, high=6.0)
    graph = graph_of([(op, SCALE)], [x, table])
    # The scale of the result is the table's.
    scale = graph.tensors["y"].quant
    graph = graph_of([(op, scale)], [x, held("t", np.asarray(table.values, np.int8), scale)])
    found = check_everywhere(graph, {"x": CODES.reshape(1, 256)}, tmp_path)["y"]
    last = 127 - graph.tensors["x"].quant.zero_point
    np.testing.assert_array_equal(found[0, -1], table.values[min(last, rows - 1)])


@pytest.mark.parametrize("rows", [257, 5000, 2**15])
def test_every_wide_code_reads_a_row(rows: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(rows)
    codes = np.arange(-32768, 32768, 7, dtype=np.int16).reshape(1, -1)
    codes[0, :4] = rows - 1, min(rows, 32767), -1, 32767
    x = activation("x", codes.shape, index_quantization(rows), index_type(rows))
    op = Embed(name="y", inputs=("x", "t"), outputs=("y",), rows=rows, low=-6.0, high=6.0)
    table = generator.integers(-128, 128, (rows, 3)).astype(np.int8)
    scale = EMBED.output_rule(op)
    assert not isinstance(scale, str)
    graph = graph_of([(op, scale)], [x, held("t", table, scale)])
    found = check_everywhere(graph, {"x": codes}, tmp_path)["y"]
    np.testing.assert_array_equal(found[0], table[np.clip(codes[0], 0, rows - 1)])


#: Shape, axis.
AXES = [
    ((1, 3, 4, 5), 3),
    ((1, 3, 4, 5), 2),
    ((1, 3, 4, 5), 1),
    ((1, 3, 4, 5), 0),
    ((1, 256), 1),
    ((1, 129, 2), 1),
    ((2, 128), 1),
]


def test_places_of_extremes(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    tensors, cases, inputs = [], [], {}
    for number, (shape, axis) in enumerate(AXES):
        tensors.append(activation(f"x{number}", shape, SCALE))
        # Few codes, so that many are equal.
        inputs[f"x{number}"] = generator.choice([-128, -3, 7, 127], shape).astype(np.int8)
        for largest in (True, False):
            y = f"y{len(cases)}"
            op = ArgExtreme(
                name=y,
                inputs=(f"x{number}",),
                outputs=(y,),
                axis=axis,
                count=shape[axis],
                largest=largest,
            )
            cases.append((op, SCALE))
    check_everywhere(graph_of(cases, tensors), inputs, tmp_path)


def test_places_on_long_axes(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    tensors, cases, inputs = [], [], {}
    for number, (shape, axis) in enumerate((((1, 257), 1), ((1, 3, 2000, 2), 2), ((1, 30001), 1))):
        tensors.append(activation(f"x{number}", shape, SCALE))
        inputs[f"x{number}"] = generator.integers(-100, 100, shape).astype(np.int8)
        inputs[f"x{number}"][..., -1] = 126
        op = ArgExtreme(
            name=f"y{number}",
            inputs=(f"x{number}",),
            outputs=(f"y{number}",),
            axis=axis,
            count=shape[axis],
            largest=number != 1,
        )
        cases.append((op, SCALE))
    found = check_everywhere(graph_of(cases, tensors, dtype=DType.INT16), inputs, tmp_path)
    assert found["y2"].item() == 30000


#: Inputs, body, operators that are left.
LOWERINGS = {
    "arg-max": ("float[1,4,5] x", "a = ArgMax <axis = 1> (x) y = Cast <to = 1> (a)", "ArgExtreme"),
    "arg-min, no axis left": (
        "float[1,4,5,6] x",
        "a = ArgMin <axis = -1, keepdims = 0> (x) y = Cast <to = 1> (a)",
        "ArgExtreme",
    ),
    "of channels": (
        "float[1,4,6,6] x",
        "p = MaxPool <kernel_shape = [2, 2]> (x) a = ArgMax <axis = 1, keepdims = 0> (p) "
        "y = Cast <to = 1> (a)",
        "MaxPool2D ArgExtreme",
    ),
}


@pytest.mark.parametrize("case", LOWERINGS.values(), ids=LOWERINGS.keys())
def test_lowering(case: tuple[str, str, str]) -> None:
    inputs, body, expected = case
    graph = check_lowering(parse(inputs, body))
    assert [kind for kind in kinds(graph) if kind != "Reshape"] == expected.split()


#: Inputs, body, words of the message.
UNSUPPORTED = {
    "a long axis": (
        "float[1,32769] x",
        "a = ArgMax <axis = 1> (x) y = Cast <to = 1> (a)",
        "its axis has 32769",
    ),
    "the last of equals": (
        "float[1,4] x",
        "a = ArgMax <axis = 1, select_last_index = 1> (x) y = Cast <to = 1> (a)",
        "last of equal",
    ),
    "both computed": (
        "float[1,4] x, int64[1,2] i",
        "y = Gather <axis = 1> (x, i)",
        "both its data and its indices",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_what_cannot_be_done_is_refused(case: tuple[str, str, str]) -> None:
    inputs, body, words = case
    with pytest.raises(UnsupportedOperatorError, match=words) as caught:
        lower(parse(inputs, body), name="net")
    assert caught.value.hint


class Tagger(nn.Module):
    """Token ids and a real number a token to the class of each token."""

    def __init__(self, vocabulary: int = 200) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 8)
        self.head = nn.Linear(9, 6)

    def forward(self, tokens: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([self.embed(tokens), times.unsqueeze(-1)], dim=-1)
        scores = self.head(x)
        return scores, scores.argmax(dim=-1)


def save(module: nn.Module, folder: Path) -> Path:
    """The module as an exported program; its example carries the largest index."""
    file = folder / "net.pt2"
    example = (torch.tensor([[3, 1, 4, 199]]), torch.randn(1, 4))
    torch.export.save(torch.export.export(module.eval(), example), file)
    return file


def test_tokens_in_and_classes_out(tmp_path: Path) -> None:
    """Through the whole export, without data, and checked again from the bundle."""
    torch.manual_seed(0)
    options = ExportOptions(
        model=save(Tagger(), tmp_path), output=tmp_path / "out", target="host", samples=20
    )
    report = export(options)
    exact = [rung for rung in report.parity if rung.exact_required]
    assert len(exact) >= 3
    assert all(rung.passed for rung in report.parity)
    assert report.ok


def test_a_module_shows_which_inputs_are_indices() -> None:
    loaded = LoadedModel(kind="module", program=Tagger().eval(), source="net.pt")
    tokens, times = choose_inputs(loaded, data_shapes=[(1, 4), (1, 4)])
    assert (tokens.dtype, times.dtype) == (torch.int64, torch.float32)
    assert 0 <= int(tokens.min()) <= int(tokens.max()) < 200


class WideTagger(nn.Module):
    """Token ids of a long vocabulary, sliced, to many classes; padding is left out of the mean."""

    def __init__(self, vocabulary: int = 2000, classes: int = 300) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 8)
        self.head = nn.Linear(8, classes)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        tokens = tokens[:, 1:]
        scores = self.head(self.embed(tokens))
        real = (tokens != 0).float().unsqueeze(-1)
        return (scores * real).sum(1) / real.sum(1), scores.argmax(dim=-1)


@pytest.mark.parametrize("target", ["host", "cortex-m0plus", "cortex-m4"])
def test_wide_tokens_in_and_wide_classes_out(target: str, tmp_path: Path) -> None:
    """Ports of 16 bits through the whole export, and checked again from the bundle."""
    torch.manual_seed(0)
    file = tmp_path / "net.pt2"
    example = (torch.tensor([[3, 1, 4, 1999, 7]]),)
    torch.export.save(torch.export.export(WideTagger().eval(), example), file)
    report = export(ExportOptions(model=file, output=tmp_path / "out", target=target, samples=20))
    exact = [rung for rung in report.parity if rung.exact_required]
    assert len(exact) >= 3
    assert all(rung.passed for rung in report.parity)
    assert report.ok
    graph = from_json((tmp_path / "out" / "graph.json").read_text(), "graph.json")
    (tokens,) = graph.inputs
    assert graph.tensors[tokens.tensor].dtype is DType.INT16
    assert [graph.tensors[port.tensor].dtype for port in graph.outputs] == ["int8", "int16"]
    header = (tmp_path / "out" / "c" / "net.h").read_text()
    assert "const int16_t *in0, int8_t *out0, int16_t *out1" in header


def test_a_table_of_too_many_rows_is_refused(tmp_path: Path) -> None:
    options = ExportOptions(
        model=save(Tagger(vocabulary=32769), tmp_path), output=tmp_path / "out", target="host"
    )
    with pytest.raises(UnsupportedOperatorError, match="its table has 32769"):
        export(options)
