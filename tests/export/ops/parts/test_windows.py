"""Padding and sizes of sliding windows, against PyTorch and ONNX Runtime."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ops.parts.windows import same_padding, window_output
from edgefactor.pipeline.lower import lower
from tests.export.ops.lowering import run_float

SIZE, SMALL = st.integers(1, 20), st.integers(1, 4)


@given(
    st.tuples(SIZE, SIZE), st.tuples(SMALL, SMALL), st.tuples(SMALL, SMALL), st.tuples(SMALL, SMALL)
)
def test_same_gives_one_output_a_stride(size, kernel, stride, dilation) -> None:
    top, left, bottom, right = padding = same_padding(size, kernel, stride, dilation)
    assert 0 <= bottom - top <= 1
    assert 0 <= right - left <= 1
    expected = tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
    assert window_output(size, kernel, stride, dilation, padding) == expected


@given(
    st.tuples(SIZE, SIZE),
    st.tuples(SMALL, SMALL),
    st.tuples(SMALL, SMALL),
    st.tuples(SMALL, SMALL),
    st.tuples(st.integers(0, 4), st.integers(0, 4)),
)
def test_sizes_are_pytorchs(size, kernel, stride, dilation, padding) -> None:
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(max(n, s) for n, s in zip(size, spans, strict=True))
    x, weights = torch.zeros(1, 1, *size), torch.zeros(1, 1, *kernel)
    expected = torch.nn.functional.conv2d(x, weights, None, stride, padding, dilation).shape[2:]
    assert window_output(size, kernel, stride, dilation, (*padding, *padding)) == tuple(expected)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("size", [(7, 8), (8, 9)])
def test_paddings_by_word(mode: str, size: tuple[int, int]) -> None:
    body = f'y = Conv <auto_pad = "{mode}", strides = [2, 2]> (x, w)'
    header = '<ir_version: 8, opset_import: ["" : 18]>'
    shape = f"float[1,2,{size[0]},{size[1]}] x"
    model = onnx.parser.parse_model(f"{header} net ({shape}) => (float y) {{ {body} }}")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    weights = np.random.default_rng(0).uniform(-0.3, 0.3, (3, 2, 3, 4)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    x = np.random.default_rng(1).uniform(-3, 3, (1, 2, *size)).astype(np.float32)
    expected = run_float(model, {"x": x})
    found = run_float(write_onnx(lower(model, name="net")), {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
