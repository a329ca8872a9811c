"""Comparisons: every element counts, and the first that differs is named."""

import numpy as np
import pytest

from edgefactor.runtime.parity import (
    LOWEST_SQNR_DB,
    accuracy,
    compare_codes,
    compare_reals,
    is_class_scores,
)

SHAPES = {"x": (2, 3), "conv": (2, 2, 2), "y": (4,)}
SAMPLES = 5
#: Tensor, sample and index of a wrong code.
WRONG = [("x", 0, (0, 0)), ("conv", 4, (1, 1, 0)), ("y", 2, (3,))]


def codes() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        name: generator.integers(-100, 100, (SAMPLES, *shape)).astype(np.int8)
        for name, shape in SHAPES.items()
    }


def test_equal() -> None:
    found = compare_codes(codes(), codes(), list(SHAPES))
    assert (found.samples, found.tensors, found.elements) == (5, 3, 5 * 18)
    assert (found.differing_elements, found.max_difference, found.first) == (0, 0, None)


@pytest.mark.parametrize(("tensor", "sample", "index"), WRONG)
def test_one_wrong_code(tensor: str, sample: int, index: tuple[int, ...]) -> None:
    expected, wrong = codes(), codes()
    wrong[tensor][(sample, *index)] += 3
    found = compare_codes(expected, wrong, list(SHAPES))
    assert (found.differing_elements, found.max_difference) == (1, 3)
    assert found.mean_difference == pytest.approx(3 / 90)
    first = found.first
    assert first is not None
    assert (first.tensor, first.sample, first.index) == (tensor, sample, index)
    assert first.found == first.expected + 3 == wrong[tensor][(sample, *index)]


def test_the_first_in_execution_order_is_named() -> None:
    wrong = codes()
    wrong["y"][0] += 1
    wrong["conv"][3] += 1
    for order, name in ((["x", "conv", "y"], "conv"), (["y", "conv", "x"], "y")):
        first = compare_codes(codes(), wrong, order).first
        assert first is not None
        assert first.tensor == name
        assert first.differing_elements == {"conv": 8, "y": 4}[name]


def test_the_largest_difference_does_not_wrap() -> None:
    low, high = np.full((1, 2), -128, np.int8), np.full((1, 2), 127, np.int8)
    assert compare_codes({"x": low}, {"x": high}, ["x"]).max_difference == 255


def test_int16_tensors_are_compared_by_element() -> None:
    expected = {"x": np.array([[-32768, 32767, 258]], np.int16)}
    traced = {"x": np.array([[0, -128, -1, 127, 2, 1]], np.int8)}
    assert compare_codes(expected, traced, ["x"]).first is None
    traced["x"][0, 3] = -128
    found = compare_codes(expected, traced, ["x"])
    assert (found.elements, found.differing_elements, found.max_difference) == (3, 1, 65280)
    assert compare_codes(expected, expected, ["x"]).differing_elements == 0
    low, high = np.full((1, 2), -32768, np.int16), np.full((1, 2), 32767, np.int16)
    assert compare_codes({"x": low}, {"x": high}, ["x"]).max_difference == 65535


def test_fewer_samples_other_shapes_and_missing_tensors() -> None:
    part = {name: array[:2].reshape(2, -1) for name, array in codes().items() if name != "conv"}
    found = compare_codes(codes(), part, list(SHAPES))
    assert (found.samples, found.tensors, found.elements) == (2, 2, 20)
    assert found.differing_elements == 0


def test_nothing_to_compare() -> None:
    found = compare_codes(codes(), {}, list(SHAPES))
    assert (found.tensors, found.elements, found.mean_difference) == (0, 0, 0.0)


def test_reals() -> None:
    generator = np.random.default_rng(1)
    wanted = generator.standard_normal((50, 10)).astype(np.float32)
    noise = (generator.standard_normal((50, 10)) * 1e-2).astype(np.float32)
    equal = compare_reals([wanted], [wanted])
    assert equal.sqnr_db == float("inf")
    assert equal.argmax_agreement == 1.0
    found = compare_reals([wanted], [wanted + noise])
    off = (wanted + noise).astype(np.float64) - wanted
    assert found.elements == 500
    assert found.max_difference == pytest.approx(np.abs(off).max())
    assert found.mean_difference == pytest.approx(np.abs(off).mean())
    ratio = 10 * np.log10((wanted.astype(np.float64) ** 2).sum() / (off**2).sum())
    assert found.sqnr_db == pytest.approx(ratio)
    same = [(a.argmax() == b.argmax()) for a, b in zip(wanted, wanted + noise, strict=True)]
    assert found.argmax_agreement == np.mean(same)


def test_several_outputs_are_no_class_scores() -> None:
    two = [np.ones((3, 4), np.float32), np.ones((3, 2, 2), np.float32)]
    assert compare_reals(two, two).argmax_agreement is None
    assert compare_reals(two, two).elements == 24
    assert is_class_scores(two[:1])
    assert not is_class_scores(two[1:])
    assert not is_class_scores([np.ones((3, 1), np.float32)])


def test_nan_is_never_equal() -> None:
    wrong = np.array([[1.0, np.nan]], np.float32)
    found = compare_reals([np.ones((1, 2), np.float32)], [wrong])
    assert found.sqnr_db == LOWEST_SQNR_DB


def test_accuracy() -> None:
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    assert accuracy(scores, np.array([1, 0, 0, 0])) == 0.75
