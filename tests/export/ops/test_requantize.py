"""Requantize: all codes at many pairs of scales."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.export import numerics, ops
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.ir import DType, Graph
from edgefactor.export.ops.requantize import Requantize
from tests.export.ops.every_runtime import (
    CODES,
    Codes,
    activation,
    check_everywhere,
    check_on_board,
    graph_of,
    near,
    quantization,
    random_quantization,
)

#: Every int16 code once.
CODES_16 = np.arange(-32768, 32768).astype(np.int16)


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


WIDTHS = [
    (DType.INT8, DType.INT16, "ef_requantize_s8_s16"),
    (DType.INT16, DType.INT8, "ef_requantize_s16_s8"),
    (DType.INT16, DType.INT16, "ef_requantize_s16"),
]


@pytest.mark.parametrize(("source", "target", "kernel"), WIDTHS)
def test_all_codes_between_widths(
    tmp_path: Path, source: DType, target: DType, kernel: str
) -> None:
    graph, inputs = between_widths(source, target)
    results = check_everywhere(graph, inputs, tmp_path)
    assert all(codes.dtype == str(target) for name, codes in results.items() if name[0] == "y")
    for op in graph.ops:
        code = ops.family_of(op).layer_code(op, graph, CTarget())
        assert [call.function for call in code.calls] == [kernel]


@pytest.mark.parametrize("board", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize(("source", "target"), [kinds[:2] for kinds in WIDTHS])
def test_all_codes_between_widths_on_the_board(
    tmp_path: Path, source: DType, target: DType, board: str
) -> None:
    check_on_board(*between_widths(source, target, step=7), tmp_path, board)


def between_widths(source: DType, target: DType, step: int = 1) -> tuple[Graph, dict[str, Codes]]:
    """Every code, or every so many, at six pairs of scales."""
    generator = np.random.default_rng(2)
    codes = (CODES if source is DType.INT8 else CODES_16)[None, ::step]
    tensors, cases, inputs = [], [], {}
    for number in range(6):
        scales = {
            dtype: float(np.exp(generator.uniform(-2, 2))) / dtype.code_range[1]
            for dtype in (DType.INT8, DType.INT16)
        }
        zero = int(generator.integers(-128, 128))
        quants = {
            DType.INT8: quantization(scales[DType.INT8], zero),
            DType.INT16: numerics.choose_symmetric(0, 32767 * scales[DType.INT16]),
        }
        wider = quantization(quants[target].scale * 2.0 ** (number - 3), 0)
        result = quants[target] if source is not target else wider
        tensors.append(activation(f"x{number}", codes.shape, quants[source], source))
        inputs[f"x{number}"] = codes
        op = Requantize(name=f"y{number}", inputs=(f"x{number}",), outputs=(f"y{number}",))
        cases.append((op, result))
    return graph_of(cases, tensors, dtype=target), inputs
