"""PReLU with a slope a channel: all codes in every channel."""

from pathlib import Path

import numpy as np

from edgefactor.export import numerics
from edgefactor.export.ops.prelu import PRelu
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
