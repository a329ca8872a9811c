"""PyTorch operators with an ONNX form of our own compute what PyTorch computes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.pipeline.config import parse_shape
from edgefactor.pipeline.inputs.example import choose_inputs, index_limits
from edgefactor.pipeline.load import LoadedModel
from edgefactor.pipeline.trace import to_onnx
from tests.pipeline.onnx_runs import run_onnx

INDICES = torch.tensor([[3, 0, 6, 3, 1]])


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(7, 4, mode="sum")
        self.register_buffer("weights", torch.linspace(-1, 1, 5)[None])

    def forward(self, x: Tensor) -> Tensor:
        return self.bag(x, per_sample_weights=self.weights)


def bag(mode: str) -> nn.Module:
    return nn.EmbeddingBag(7, 4, mode=mode)


def to(points: int, p: float) -> nn.Module:
    return Function(lambda x: torch.cdist(x, torch.linspace(-1, 2, points * 3).view(points, 3), p))


CASES: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "embedding bag, mean": (lambda: bag("mean"), INDICES),
    "embedding bag, sum": (lambda: bag("sum"), INDICES),
    "embedding bag, maximum": (lambda: bag("max"), INDICES),
    "embedding bag, weighted": (Weighted, INDICES),
    "cumprod": (lambda: Function(lambda x: x.cumprod(-1)), torch.randn(1, 2, 6)),
    "cumprod of rows": (lambda: Function(lambda x: x.cumprod(1)), torch.randn(1, 3, 2)),
    "cdist": (lambda: to(5, 2.0), torch.randn(1, 4, 3)),
    "cdist by sums": (lambda: to(5, 1.0), torch.randn(1, 4, 3)),
    "cdist by maxima": (lambda: to(5, float("inf")), torch.randn(1, 3)),
}


def loaded(network: nn.Module) -> LoadedModel:
    return LoadedModel(kind="module", program=network.eval(), source="net.pt")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_computes_what_pytorch_computes(case: tuple[Callable[[], nn.Module], Tensor]) -> None:
    torch.manual_seed(6)
    network, x = case[0](), case[1]
    model = to_onnx(loaded(network), [x]).model
    assert not {"Loop", "NonZero", "Identity"} & {node.op_type for node in model.graph.node}
    (found,) = run_onnx(model, x.numpy().astype(np.float32))
    with torch.no_grad():
        np.testing.assert_allclose(found, network(x).numpy(), atol=1e-5)


REFUSED: dict[str, tuple[nn.Module, Tensor, str]] = {
    "long cumprod": (Function(lambda x: x.cumprod(1)), torch.ones(1, 65), "65 factors"),
    "other norm": (to(2, 3.0), torch.ones(1, 3), "order 3"),
    "padded bag": (nn.EmbeddingBag(7, 4, padding_idx=0), INDICES, "padding_idx"),
    "bags": (nn.EmbeddingBag(7, 4), torch.zeros(2, 3, dtype=torch.int64), "2 bags"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_the_reason(case: tuple[nn.Module, Tensor, str]) -> None:
    network, x, words = case
    with pytest.raises(UnsupportedOperatorError, match=words) as caught:
        to_onnx(loaded(network), [x])
    assert caught.value.hint


def test_indices_of_an_embedding_bag_are_below_its_rows() -> None:
    model = loaded(bag("sum"))
    inputs = choose_inputs(model, [parse_shape("1,5")])
    assert inputs[0].dtype == torch.int64 and index_limits(model, inputs) == (7,)
