"""``--share auto``: the best combination of forms for a size, and what it does to a network."""

from __future__ import annotations

import functools
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgefactor.errors import BudgetError, OptionError
from edgefactor.export.c_code.code_cache import CodeCache
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures, LayerCode
from edgefactor.export.ir import Graph
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ports import decode_outputs, encode_inputs
from edgefactor.export.reference import run_samples
from edgefactor.export.validate import validate
from edgefactor.pipeline.sharing_at_export import flash_budget
from edgefactor.pipeline.sharing_at_export.allocation import Choice, allocate, smallest
from edgefactor.pipeline.sharing_at_export.flash_budget import (
    METADATA,
    Linked,
    fit_flash,
    flash_notes,
)
from edgefactor.pipeline.sharing_at_export.share_codes import observe_inputs
from edgefactor.pipeline.sharing_at_export.tuning import Tuned
from tests.export.graphs import lowered, to_int8

CODE_BYTES = 3000
KERNEL_BYTES = 100
TARGET = CTarget(features=IsaFeatures(dsp=True, unaligned=True))
choices = st.lists(
    st.builds(
        Choice,
        size_bytes=st.integers(0, 400),
        loss=st.floats(0, 100, allow_nan=False).map(lambda x: round(x, 3)),
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, derandomize=True)
@given(st.lists(choices, min_size=1, max_size=5), st.integers(0, 1500))
def test_no_combination_is_better(layers: list[list[Choice]], budget: int) -> None:
    combinations = itertools.product(*(range(len(options)) for options in layers))

    def of(chosen: tuple[int, ...]) -> tuple[int, float]:
        taken = [options[i] for options, i in zip(layers, chosen, strict=True)]
        return sum(c.size_bytes for c in taken), sum(c.loss for c in taken)

    possible = [loss for size, loss in map(of, combinations) if size <= budget]
    found = allocate(layers, budget)
    if found is None:
        assert not possible
        assert of(smallest(layers))[0] > budget
        return
    size, loss = of(found)
    assert size <= budget
    assert loss == pytest.approx(min(possible))


class Network(nn.Module):
    def __init__(self, *, resized: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(),
            nn.Upsample(scale_factor=2) if resized else nn.Identity(),
            nn.Conv2d(16, 32, 3, stride=4 if resized else 2), nn.ReLU(),
            nn.Flatten(), nn.Linear(512 if resized else 288, 24), nn.ReLU(), nn.Linear(24, 10),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


def images(count: int, seed: int) -> np.ndarray:
    """Mixtures of a few patterns, as real inputs are, [count, 3, 8, 8]."""
    patterns = np.random.default_rng(0).standard_normal((6, 3, 8, 8))
    shares = np.random.default_rng(seed).standard_normal((count, 6))
    return np.tensordot(shares, patterns, 1).astype(np.float32)


@functools.cache
def network(*, resized: bool = False) -> tuple[Graph, Graph, list[dict[str, np.ndarray]]]:
    """Float Graph, int8 Graph, samples; ``resized`` has an operator that PyTorch does not run."""
    graph = lowered(Network(resized=resized), (1, 3, 8, 8)).graph
    name = graph.inputs[0].name
    samples = [{name: image[None]} for image in images(64, seed=1)]
    return graph, to_int8(graph), samples


def codes(graph: Graph) -> list[LayerCode]:
    return list(CodeCache(target=TARGET).code(graph).values())


def weight_bytes(graph: Graph) -> int:
    return sum(code.weight_bytes for code in codes(graph))


def linked(graph: Graph) -> Linked:
    """An image whose kernels take 100 bytes a file."""
    files = {name for code in codes(graph) for name in code.sources if name.endswith(".c")}
    sources = dict.fromkeys(files, KERNEL_BYTES)
    weights = weight_bytes(graph)
    total = CODE_BYTES + weights + sum(sources.values())
    return Linked(total_bytes=total, weights_bytes=weights, sources=sources)


@functools.cache
def fitted(
    flash_bytes: int,
    *,
    keep: tuple[str, ...] = (),
    compiler: bool = True,
    tuned: bool = True,
    resized: bool = False,
) -> Graph:
    float_graph, int8, samples = network(resized=resized)
    return validate(
        fit_flash(
            float_graph,
            int8,
            observe_inputs(float_graph, samples),
            samples,
            TARGET,
            lambda graph: linked(graph) if compiler else None,
            flash_bytes=flash_bytes,
            keep=keep,
            tuned=tuned,
            progress=lambda _: None,
        ),
        "share",
        quantized=True,
    )


def noise(graph: Graph) -> float:
    """Of the outputs against the int8 network as it is, on inputs of its own."""
    _, int8, _ = network()
    inputs = images(16, seed=9)
    outputs = [
        decode_outputs(g, run_samples(g, encode_inputs(g, [inputs])))[0] for g in (int8, graph)
    ]
    return float(((outputs[0] - outputs[1]) ** 2).sum() / (outputs[0] ** 2).sum())


def test_less_flash_costs_more_noise_and_is_kept() -> None:
    _, int8, _ = network()
    whole = linked(int8).total_bytes
    saved = weight_bytes(int8)
    noises = []
    for share in (0.0, 0.3, 0.75):
        budget = whole - int(share * saved)
        graph = fitted(budget)
        assert budget - 0.1 * saved < linked(graph).total_bytes <= budget
        assert json.loads(graph.metadata[METADATA])["linked_bytes"] == linked(graph).total_bytes
        noises.append(noise(graph))
    assert noises[0] == 0
    assert noises == sorted(noises)
    assert noises[1] < 3e-3 < noises[2]
    assert "as they are" in flash_notes(fitted(whole))[0]


def test_tuning_takes_half_of_the_noise_away() -> None:
    _, int8, _ = network()
    budget = linked(int8).total_bytes - int(0.75 * weight_bytes(int8))
    plain, tuned = fitted(budget, tuned=False), fitted(budget)
    assert noise(tuned) < 0.5 * noise(plain)
    assert json.loads(tuned.metadata[METADATA])["tuned"]
    assert "did not train" in flash_notes(plain)[1]
    assert len(flash_notes(tuned)) == 1


def test_what_tuning_made_too_large_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever tuning gives, what comes out fits the budget that the search has kept."""

    def tune(_: object, start: dict[str, Tuned], __: object) -> dict[str, Tuned]:
        none = np.zeros(0)
        return {
            name: replace(
                layer, form=replace(layer.form, scale=none, codebook=none, weights=layer.weights)
            )
            for name, layer in start.items()
        }

    monkeypatch.setattr(flash_budget, "tune", tune)
    _, int8, _ = network()
    # No other test asks for this budget: what `fitted` gives is kept.
    budget = linked(int8).total_bytes - int(0.7 * weight_bytes(int8))
    graph = fitted(budget)
    facts = json.loads(graph.metadata[METADATA])
    assert linked(graph).total_bytes <= budget
    assert facts["linked_bytes"] == linked(graph).total_bytes
    assert not facts["tuned"]


def test_what_cannot_be_trained_through_is_shared_all_the_same() -> None:
    _, int8, _ = network(resized=True)
    budget = linked(int8).total_bytes - int(0.6 * weight_bytes(int8))
    graph = fitted(budget, resized=True)
    assert budget - 0.1 * weight_bytes(int8) < linked(graph).total_bytes <= budget
    assert not json.loads(graph.metadata[METADATA])["tuned"]
    forms = json.loads(graph.metadata[METADATA])["layers"]
    assert len(set(forms.values())) > 1


def test_a_layer_that_is_kept_keeps_its_weights() -> None:
    _, int8, _ = network()
    name = next(op.name for op in int8.ops if isinstance(op, Conv2D))
    budget = linked(int8).total_bytes - weight_bytes(int8) // 2
    graph = fitted(budget, keep=(name,))
    changed = 0
    for op in int8.ops:
        if isinstance(op, Conv2D):
            same = all(
                np.array_equal(int8.tensors[tensor].values, graph.tensors[tensor].values)
                for tensor in op.inputs[1:]
            )
            # The last layer is small: it may stay as it is, too.
            assert same or op.name != name
            changed += not same
    assert changed
    with pytest.raises(OptionError, match="No layer"):
        fitted(CODE_BYTES, keep=("nothing*",))


def test_what_cannot_fit_says_the_least_that_can() -> None:
    with pytest.raises(BudgetError, match="do not fit the flash budget") as caught:
        fitted(CODE_BYTES + 100)
    least = int(caught.value.found.split()[0].replace(",", ""))
    assert f"--flash {least} " in caught.value.hint
    graph = fitted(least, tuned=False)
    assert linked(graph).total_bytes == least
    with pytest.raises(BudgetError):
        fitted(least - 1, tuned=False)


def test_without_a_compiler_the_rest_of_the_image_is_a_guess() -> None:
    graph = fitted(20_000, compiler=False)
    assert weight_bytes(graph) <= 8000
    assert "guess" in flash_notes(graph)[1]
