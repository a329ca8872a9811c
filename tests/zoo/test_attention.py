"""Masks of attention that are computed: PyTorch's values, and the same codes in every runtime."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgefactor.export.ir import DType, Graph
from edgefactor.export.ops.select import Select
from edgefactor.export.ops.softmax.family import Softmax
from edgefactor.export.ports import decode_outputs, encode_inputs
from edgefactor.export.reference import run_reference, run_samples
from edgefactor.pipeline.calibrate import calibrate
from edgefactor.pipeline.float_stages import float_stages
from edgefactor.pipeline.load import LoadedModel
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.widths.choice import can_widen
from tests.export.ops.every_runtime import check_everywhere, check_on_board
from tests.zoo.attention import (
    ATTENTION,
    ROWS,
    TOKENS,
    WIDTH,
    Classifier,
    MaskedAttention,
    Translator,
    WithMemory,
)
from tests.zoo.together import leaves, run_float

#: Tokens that are no padding, in the samples.
LENGTHS = (4, 6, 1)
Real = NDArray[np.float32]


def samples(*kinds: str) -> list[list[Tensor]]:
    """Inputs by kind: ids, other ids, tokens, a memory, what is hidden of it, lengths."""
    generator = torch.Generator().manual_seed(4)
    found = []
    for length in LENGTHS:
        ids = torch.randint(1, ROWS, (1, TOKENS), generator=generator)
        ids[:, length:] = 0
        made = {
            "ids": ids,
            "target": torch.randint(0, ROWS, (1, TOKENS), generator=generator),
            "tokens": torch.randn(1, TOKENS, WIDTH, generator=generator),
            "memory": torch.randn(1, TOKENS, 5, generator=generator),
            "hidden": ids == 0,
            "length": torch.tensor([length]),
        }
        found.append([made[kind] for kind in kinds])
    return found


def spread(module: nn.Module) -> nn.Module:
    """Weights of a size that lets attention tell tokens apart."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.5)
    return module.eval()


def lowered(module: nn.Module, example: list[Tensor]) -> Graph:
    program = torch.export.export(module, tuple(example))
    loaded = LoadedModel(kind="program", program=program, source="net.pt2")
    return float_stages(loaded, example, "net", lambda _: None).graph


def quantized(graph: Graph, feeds: list[list[Tensor]], *, wide: bool) -> Graph:
    names = [port.name for port in graph.inputs]
    real = [dict(zip(names, (t.float().numpy() for t in one), strict=True)) for one in feeds]
    ranges = calibrate(graph, real, method="min-max")
    return quantize(graph, ranges, can_widen(graph) if wide else frozenset())


def codes(int8: Graph, sample: list[Tensor]) -> dict[str, Real]:
    encoded = encode_inputs(int8, [tensor.float().numpy() for tensor in sample])
    return {name: array[0] for name, array in encoded.items()}


def check(
    module: nn.Module, feeds: list[list[Tensor]], folder: Path, *, wide: bool = False
) -> Graph:
    """PyTorch, the float Graph, the integer one, LiteRT, TFLM and C; returns the integer one."""
    spread(module)
    graph = lowered(module, feeds[0])
    integer = quantized(graph, feeds, wide=wide)
    signal, noise = np.zeros(len(graph.outputs)), np.zeros(len(graph.outputs))
    for sample in feeds:
        with torch.no_grad():
            expected = [tensor.numpy() for tensor in leaves(module(*sample))]
        inputs = [tensor.float().numpy() for tensor in sample]
        real = decode_outputs(integer, run_samples(integer, encode_inputs(integer, inputs)))
        for index, wanted in enumerate(expected):
            np.testing.assert_allclose(
                run_float(graph, inputs)[index], wanted, rtol=1e-4, atol=1e-5
            )
            signal[index] += np.square(wanted).sum()
            noise[index] += np.square(real[index].reshape(wanted.shape) - wanted).sum()
    assert np.all(10 * np.log10(signal / noise) > 25), 10 * np.log10(signal / noise)
    check_everywhere(integer, codes(integer, feeds[0]), folder)
    return integer


@pytest.mark.parametrize("wide", [False, True], ids=["8 bits", "16 bits"])
def test_masks_side_by_side(wide: bool, tmp_path: Path) -> None:
    feeds = samples("tokens", "ids", "length")
    graph = check(MaskedAttention(), feeds, tmp_path, wide=wide)
    chosen = [op for op in graph.ops if isinstance(op, Select)]
    # One choice for each, however many masks there are; two poolings.
    assert len(chosen) == len(ATTENTION) + 2
    values = run_reference(graph, codes(graph, feeds[0]))
    softmaxes = [op for op in graph.ops if isinstance(op, Softmax)]
    assert len(softmaxes) == len(ATTENTION) + 1
    for op in softmaxes:
        output = graph.tensors[op.outputs[0]]
        assert output.dtype is (DType.INT16 if wide else DType.INT8)
        weights = values[output.name]
        hidden = weights[..., LENGTHS[0] :] if weights.shape[-1] == TOKENS else weights
        # Padding weighs nothing, to the last code.
        assert np.all(hidden == output.quant.zero_point), op.name
        # No number that hides is within the range of the scores, only a margin below them.
        scale = graph.tensors[op.inputs[0]].quant.scale * op.beta
        assert scale * (2**16 if wide else 2**8) < 100


@pytest.mark.filterwarnings("ignore:.*nested.tensor.*:UserWarning")
@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"norm_first": True, "activation": "gelu"}, marks=pytest.mark.slow),
    ],
    ids=["post-norm", "pre-norm"],
)
def test_classifier_of_ids(options: dict[str, object], tmp_path: Path) -> None:
    check(Classifier(**options), samples("ids"), tmp_path)


def test_encoder_decoder(tmp_path: Path) -> None:
    check(Translator(), samples("ids", "target"), tmp_path)


def test_memory_hidden_by_an_input(tmp_path: Path) -> None:
    check(WithMemory(), samples("tokens", "memory", "hidden"), tmp_path)


def test_where_all_is_hidden_all_weighs_the_same(tmp_path: Path) -> None:
    feeds = samples("tokens", "memory", "hidden")
    graph = quantized(lowered(spread(WithMemory()), feeds[0]), feeds, wide=False)
    feeds[0][2] = torch.ones_like(feeds[0][2])
    values = check_everywhere(graph, codes(graph, feeds[0]), tmp_path)
    (softmax,) = [op for op in graph.ops if isinstance(op, Softmax)]
    assert len(np.unique(values[softmax.outputs[0]])) == 1


@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("wide", [False, True], ids=["8 bits", "16 bits"])
def test_on_a_board(wide: bool, target: str, tmp_path: Path) -> None:
    feeds = samples("tokens", "memory", "hidden")
    module = spread(WithMemory())
    graph = quantized(lowered(module, feeds[0]), feeds, wide=wide)
    check_on_board(graph, codes(graph, feeds[0]), tmp_path, target)
