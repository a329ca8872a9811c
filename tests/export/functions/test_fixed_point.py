"""Fixed-point functions against float64."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgefactor.export.functions import fixed_point

#: Relative to 1; the series of the exponential ends with the fourth power of 1/8.
TOLERANCE = 2.0**-21


@given(st.integers(-(2**31), 0), st.integers(0, 5))
def test_exp(raw: int, integer_bits: int) -> None:
    found = fixed_point.exp_on_negative_values(np.array([raw]), integer_bits)[0] / 2**31
    assert abs(found - np.exp(raw / 2.0 ** (31 - integer_bits))) < TOLERANCE


@given(st.integers(0, 2**31 - 1))
def test_quotients(raw: int) -> None:
    real = raw / 2**31
    assert (
        abs(fixed_point.one_over_one_plus(np.array([raw]))[0] / 2**31 - 1 / (1 + real)) < TOLERANCE
    )
    found = fixed_point.one_minus_over_one_plus(np.array([raw]))[0] / 2**31
    assert abs(found - (1 - real) / (1 + real)) < TOLERANCE


@given(st.integers(-(2**31) + 1, 2**31 - 1))
def test_logistic_and_tanh(raw: int) -> None:
    real = raw / 2.0**27
    found = fixed_point.logistic(np.array([raw]), 4)[0] / 2**31
    assert abs(found - 1 / (1 + np.exp(-real))) < TOLERANCE
    found = fixed_point.tanh(np.array([raw]), 4)[0] / 2**31
    assert abs(found - np.tanh(real)) < TOLERANCE


@given(st.integers(2**19, 2**31 - 1))
def test_log(raw: int) -> None:
    found = fixed_point.log(np.array([raw]), 12, 5)[0] / 2.0**26
    assert abs(found - np.log(raw / 2.0**19)) < 2.0**-20


@given(st.integers(2**19, 2**31 - 1))
def test_reciprocal(raw: int) -> None:
    mantissa, exponent = fixed_point.reciprocal(np.array([raw]), 12)
    found = mantissa[0] / 2.0 ** (31 + exponent[0])
    assert abs(found * (raw / 2.0**19) - 1) < TOLERANCE


def test_leading_zeros() -> None:
    values = np.array([1, 2, 3, 2**30, 2**31 - 1])
    assert fixed_point.leading_zeros(values).tolist() == [31, 30, 30, 1, 1]
