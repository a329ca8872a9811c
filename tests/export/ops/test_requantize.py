"""Requantize: all codes at many pairs of scales."""

from pathlib import Path

import numpy as np

from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.ops.requantize import Requantize
from tests.export.ops.every_runtime import (
    CODES,
    activation,
    check_everywhere,
    graph_of,
    near,
    random_quantization,
)


def test_all_codes_at_many_scales(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    tensors, cases, inputs, kernels = [], [], {}, set()
    for number in range(40):
        x = random_quantization(generator)
        tensors.append(activation(f"x{number}", (1, 256), x))
        inputs[f"x{number}"] = CODES.reshape(1, 256)
        op = Requantize(name=f"y{number}", inputs=(f"x{number}",), outputs=(f"y{number}",))
        cases.append((op, x if number == 0 else near(x, generator)))
    graph = graph_of(cases, tensors)
    results = check_everywhere(graph, inputs, tmp_path)
    np.testing.assert_array_equal(results["y0"].reshape(-1), CODES)
    for op in graph.ops:
        code = ops.family_of(op).layer_code(op, graph, CTarget())
        kernels.update(call.function for call in code.calls)
    assert kernels == {"ef_linear_s8", "ef_lookup_s8"}
