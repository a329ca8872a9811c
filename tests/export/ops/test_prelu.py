"""PReLU with a slope a channel: all codes in every channel."""

from pathlib import Path

import numpy as np

from edgefactor.export import numerics, ops
from edgefactor.export.ops.prelu import PRelu
from edgefactor.export.reference import run_reference
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.runtime.litert_runner import LiteRtRunner
from tests.export.ops.every_runtime import (
    CODES,
    activation,
    check_everywhere,
    graph_of,
    held,
    near,
    random_quantization,
)


def test_all_codes_in_every_channel(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    tensors, cases, inputs = [], [], {}
    for number, channels in enumerate([2, 3, 8, 8, 16]):
        x = random_quantization(generator)
        real = generator.normal(0.2, 0.3, (1, 1, channels)).astype(np.float32)
        chosen = numerics.choose_quantization(float(real.min()), float(real.max()))
        names = f"x{number}", f"slopes{number}"
        tensors.append(activation(names[0], (1, 16, 16, channels), x))
        tensors.append(held(names[1], numerics.quantize(real, chosen), chosen))
        inputs[names[0]] = np.repeat(CODES.reshape(1, 16, 16, 1), channels, 3)
        op = PRelu(name=f"y{number}", inputs=names, outputs=(f"y{number}",))
        cases.append((op, near(x, generator)))
    check_everywhere(graph_of(cases, tensors), inputs, tmp_path)


def test_scales_are_settled_where_litert_agrees() -> None:
    """LiteRT computes multipliers in single precision; quantization moves such scales."""
    generator = np.random.default_rng(0)
    codes = np.repeat(CODES.reshape(1, 256, 1, 1), 256, 3)
    seen: set[bool] = set()
    while len(seen) < 2:
        quants = [numerics.choose_quantization(-r, r) for r in generator.uniform(0.5, 8, 3)]
        tensors = [
            activation("x", (1, 256, 1, 256), quants[0]),
            held("slopes", CODES.reshape(1, 1, 256), quants[1]),
        ]
        op = PRelu(name="y", inputs=("x", "slopes"), outputs=("y",))
        graph = graph_of([(op, quants[2])], tensors)
        settled = ops.family_of(op).is_settled(op, tensors, graph.tensors["y"])
        if settled in seen:
            continue
        seen.add(settled)
        found = LiteRtRunner(write_tflite(graph)).run({"x": codes[None]}, ["y"])["y"]
        expected = run_reference(graph, {"x": codes})["y"]
        assert np.array_equal(found.reshape(codes.shape), expected) == settled
