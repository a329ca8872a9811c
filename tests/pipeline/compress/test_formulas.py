"""Operations and parameters of factorized layers are those of the textbooks' formulas."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.layer_cost import cost_of_layer, target_of
from edgefactor.pipeline.compress.method import parse_options
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.inputs.data import Dataset

FORMULAS = runpy.run_path(
    str(Path(__file__).parents[3] / "benchmarks" / "compression" / "formulas.py")
)
counts, Layer = FORMULAS["counts"], FORMULAS["Layer"]

#: Method, its options, the numbers of the formula, whether it is for 1x1 layers.
CASES: dict[str, tuple[str, dict[str, Any], tuple[int, ...], bool]] = {
    "svd": ("svd", {"rank": 5}, (5,), True),
    "tucker": ("tucker", {"rank": 6, "rank_in": 4}, (6, 4), False),
    "cp": ("cp", {"rank": 7}, (7,), False),
    "spatial": ("spatial", {"rank": 5}, (5,), False),
    "depthwise": ("depthwise", {}, (1,), False),
    "depthwise, multiplier": ("depthwise", {"multiplier": 2}, (2,), False),
    "grouped": ("grouped", {"groups": 4}, (4,), False),
    "shift": ("shift", {}, (1,), False),
    "shift, SAL": ("shift", {"taps": "attention"}, (1,), False),
    "shift, SAL2": ("shift", {"taps": "attention-2"}, (2,), False),
    "dictionary": ("dictionary", {"atoms": 6, "nonzeros": 3}, (6, 3), True),
}


def test_the_example_of_the_lectures() -> None:
    layer = Layer(inputs=3, outputs=128, window=(3, 3), map_in=(7, 7), map_out=(5, 5))
    assert counts("convolution", layer)[1] == 86_400
    assert counts("depthwise", layer, (1,))[1] == 10_275
    assert counts("spatial", Layer(inputs=1, outputs=1, window=(3, 3)), (1,))[0] == 6


@pytest.mark.parametrize("window, stride", [((3, 3), 1), ((3, 3), 2), ((5, 3), 1)])
@pytest.mark.parametrize("name", CASES)
def test_counts_are_those_of_the_formulas(name: str, window: tuple[int, int], stride: int) -> None:
    method, values, numbers, pointwise = CASES[name]
    window = (1, 1) if pointwise else window
    stride = 1 if pointwise else stride
    torch.manual_seed(0)
    padding = (window[0] // 2, window[1] // 2)
    layer = nn.Conv2d(8, 12, window, stride=stride, padding=padding)
    model = nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    images = np.random.default_rng(0).standard_normal((8, 8, 10, 9)).astype(np.float32)
    context = Context(trainer=TorchTrainer(), train=Dataset(inputs=(images,)))
    given = {**values, "must_save": "nothing"}
    if "taps" in values:
        given["training"] = {"epochs": 0}
    options = parse_options(BY_NAME[method].options, given, where="test")
    before = cost_of_layer(layer, (1, 8, 10, 9), target_of("cortex-m4"))
    BY_NAME[method].apply(model, ["0"], options, context)
    after = cost_of_layer(model[0], (1, 8, 10, 9), target_of("cortex-m4"))
    map_out = (-(-10 // stride), -(-9 // stride))
    geometry = Layer(inputs=8, outputs=12, window=window, map_in=(10, 9), map_out=map_out)
    assert (before.parameters, before.multiplies) == counts("convolution", geometry)
    assert (after.parameters, after.multiplies) == counts(method, geometry, numbers)
