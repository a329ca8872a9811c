"""The integer arithmetic against its definitions, in Python's unbounded integers and fractions."""

from fractions import Fraction

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefactor.export import numerics
from edgefactor.export.ir import Quantization

INT32 = st.integers(numerics.INT32_MIN, numerics.INT32_MAX)
MANTISSAS = st.integers(2**30, 2**31 - 1)
SHIFTS = st.integers(-31, 30)
REALS = st.floats(-1e6, 1e6, width=32)
SCALES = st.floats(2.0**-40, 2.0**20, width=32)
CODES = st.integers(numerics.INT8_MIN, numerics.INT8_MAX)


def nearest(value: Fraction, *, half_away: bool) -> int:
    """Round to the nearest integer, halves up or away from zero."""
    floor = value.numerator // value.denominator
    rest = value - floor
    if rest == Fraction(1, 2):
        return floor if half_away and value < 0 else floor + 1
    return floor + (rest > Fraction(1, 2))


def high_mul(a: int, b: int) -> int:
    return min(nearest(Fraction(a * b, 2**31), half_away=False), numerics.INT32_MAX)


def wrapped(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def scaled(x: int, multiplier: int, shift: int) -> int:
    """MultiplyByQuantizedMultiplier from gemmlowp's definitions."""
    product = high_mul(wrapped(x << max(shift, 0)), multiplier)
    return nearest(Fraction(product, 2 ** max(-shift, 0)), half_away=True)


@given(INT32, INT32)
def test_high_mul(a: int, b: int) -> None:
    found = numerics.saturating_rounding_doubling_high_mul(np.array([a]), b)
    assert found[0] == high_mul(a, b)


@pytest.mark.parametrize("a", [-(2**31), -(2**31) + 1, -1, 0, 1, 2**30, 2**31 - 1])
@pytest.mark.parametrize("b", [-(2**31), -(2**30), -1, 0, 1, 2**30, 2**31 - 1])
def test_high_mul_at_the_ends(a: int, b: int) -> None:
    found = numerics.saturating_rounding_doubling_high_mul(np.array([a]), b)
    assert found[0] == high_mul(a, b)


@given(INT32, st.integers(0, 31))
def test_divide_by_power_of_two(x: int, exponent: int) -> None:
    found = numerics.rounding_divide_by_pot(np.array([x]), exponent)
    assert found[0] == nearest(Fraction(x, 2**exponent), half_away=True)


@given(st.lists(st.tuples(INT32, MANTISSAS, SHIFTS), min_size=1, max_size=8))
def test_multiply(rows: list[tuple[int, int, int]]) -> None:
    x, multiplier, shift = np.array(rows, np.int64).T
    found = numerics.multiply_by_quantized_multiplier(x, multiplier, shift)
    assert found.tolist() == [scaled(*row) for row in rows]


@given(st.floats(2.0**-30, 2.0**30))
def test_multiplier_is_the_nearest(real: float) -> None:
    mantissa, shift = numerics.quantize_multiplier(real)
    assert 2**30 <= mantissa < 2**31
    error = abs(Fraction(mantissa) * Fraction(2) ** (shift - 31) - Fraction(real))
    assert error <= Fraction(2) ** (shift - 32)


@pytest.mark.parametrize("real", [0.0, 2.0**-33, 1e-300])
def test_multiplier_too_small_for_int32(real: float) -> None:
    assert numerics.quantize_multiplier(real) == (0, 0)
    assert numerics.multiply_by_quantized_multiplier(np.array([2**31 - 1]), 0, 0)[0] == 0


def test_multiplier_that_rounds_to_the_next_power() -> None:
    assert numerics.quantize_multiplier(1 - 2.0**-40) == (2**30, 1)


@given(st.floats(-(2.0**40), 2.0**40))
def test_round_half_away(value: float) -> None:
    expected = nearest(Fraction(value), half_away=True)
    assert numerics.round_half_away(np.array([value]))[0] == expected


@pytest.mark.parametrize("value", [0.49999999999999994, -0.49999999999999994, 0.5, -0.5, 2.5, -2.5])
def test_round_half_away_at_halves(value: float) -> None:
    expected = nearest(Fraction(value), half_away=True)
    assert numerics.round_half_away(np.array([value]))[0] == expected


@given(REALS, REALS)
def test_chosen_quantization_covers_the_range(first: float, second: float) -> None:
    low, high = min(first, second, 0.0), max(first, second, 0.0)
    chosen = numerics.choose_quantization(first, second) if first < second else None
    chosen = chosen or numerics.choose_quantization(low, high)
    assert -128 <= chosen.zero_point <= 127
    assert chosen.scale == np.float32(chosen.scale) > 0
    # The zero point is rounded: either end may lie half a step outside, and float32 rounds.
    slack = chosen.scale * (0.5 + 1e-4)
    ends = [chosen.scale * (code - chosen.zero_point) for code in (-128, 127)]
    if high - low >= 1e-9:
        assert ends[0] <= low + slack
        assert ends[1] >= high - slack
        assert chosen.scale * 255 <= (high - low) * (1 + 1e-6)
    zero = numerics.quantize(np.zeros(1, np.float32), chosen)
    assert numerics.dequantize(zero, chosen)[0] == 0.0


@pytest.mark.parametrize("ends", [(0.0, 0.0), (1e-12, 2e-12), (-1e-12, 0.0)])
def test_a_tensor_that_is_always_zero_has_a_scale(ends: tuple[float, float]) -> None:
    assert numerics.choose_quantization(*ends).scale > 0


@given(CODES, SCALES, CODES)
def test_codes_survive_dequantization(code: int, scale: float, zero_point: int) -> None:
    how = Quantization(scales=(scale,), zero_point=zero_point)
    real = numerics.dequantize(np.array([code], np.int8), how)
    assert real[0] == np.float32(float(Fraction(scale) * (code - zero_point)))
    assert numerics.quantize(real, how)[0] == code


def test_quantize_saturates_whatever_comes() -> None:
    how = Quantization(scales=(1e-6,), zero_point=-7)
    real = np.array([np.inf, 3e38, 1e30, -1e30, -3e38, -np.inf, np.nan], np.float32)
    assert numerics.quantize(real, how).tolist() == [127, 127, 127, -128, -128, -128, -128]


def test_quantize_as_onnxruntime_does() -> None:
    generator = np.random.default_rng(0)
    real = np.concatenate(
        [np.arange(-300, 300) * 0.5, generator.normal(0, 60, 4000), [1e30, -1e30]]
    ).astype(np.float32)
    for scale, zero_point in ((1.0, 0), (1.0, 3), (0.37, -128), (0.61, 127), (3e-3, -1)):
        how = Quantization(scales=(numerics.float32(scale),), zero_point=zero_point)
        np.testing.assert_array_equal(
            numerics.quantize(real, how), quantize_in_onnxruntime(real, how)
        )


def quantize_in_onnxruntime(real: np.ndarray, how: Quantization) -> np.ndarray:
    values = {"scale": np.float32(how.scale), "zero": np.int8(how.zero_point)}
    node = onnx.helper.make_node("QuantizeLinear", ["x", *values], ["y"])
    graph = onnx.helper.make_graph(
        [node],
        "quantize",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, real.shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT8, real.shape)],
        [onnx.numpy_helper.from_array(np.array(v), name) for name, v in values.items()],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": real})[0]
