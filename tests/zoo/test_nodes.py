"""The ONNX node tests: every one of a claimed operator passes, or is left out for a reason."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.export.ops.every_runtime import check_everywhere
from tests.zoo import node_cases
from tests.zoo.node_cases import COMMAND, TABLE, Case, Result, claimed, outcome
from tests.zoo.side_by_side import all_codes, prefixed, side_by_side

#: Tests whose C is compiled into one program.
BATCH = 40
#: Every so many-th test runs in C by default; ``slow`` runs all.
SAMPLED = 6
#: More operators may be claimed; fewer tests must never pass.
LEAST_PASSED = 680
#: No more tests than these run.
MOST = 800


@functools.cache
def outcomes() -> dict[str, Result | str]:
    return {case.name: outcome(case) for case in claimed()}


def passed() -> list[Result]:
    return [found for found in outcomes().values() if isinstance(found, Result)]


def run_together(results: Sequence[Result], folder: Path) -> None:
    """NumPy, LiteRT, TFLM and sanitized C, compared in every tensor."""
    graph = side_by_side([result.graph for result in results])
    codes = all_codes([result.codes for result in results])
    found = check_everywhere(graph, codes, folder)
    for index, result in enumerate(results):
        for name, values in result.values.items():
            np.testing.assert_array_equal(found[prefixed(index, name)], values)


def test_every_test_that_runs_is_within_quantization_error() -> None:
    for name, found in outcomes().items():
        if isinstance(found, Result):
            assert found.steps <= found.allowed, name
            assert found.passed, f"{name}: {found.sqnr_db:.1f} dB"
    assert len(passed()) >= LEAST_PASSED


def test_every_test_left_out_has_a_reason() -> None:
    for name, found in outcomes().items():
        assert isinstance(found, Result) or len(found) > 15, f"{name}: {found!r}"


def test_table_is_up_to_date() -> None:
    """The numbers of a row depend on the libraries; which tests pass and why not does not."""
    rows = [line.split(" | ") for line in TABLE.read_text().splitlines() if "| test_" in line]
    written = {row[1]: row[2] for row in rows}
    found = {
        name: "passed" if isinstance(result, Result) else "left out"
        for name, result in outcomes().items()
    }
    assert written == found, f"write the table again: {COMMAND}"


def with_operators(results: Sequence[Result]) -> list[Result]:
    """A network without operators has no C: its output is its input."""
    return [result for result in results if result.graph.ops]


def test_a_sample_runs_the_same_everywhere(tmp_path: Path) -> None:
    run_together(with_operators(passed())[::SAMPLED], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, MOST, BATCH))
def test_all_run_the_same_everywhere(start: int, tmp_path: Path) -> None:
    chosen = with_operators(passed())[start : start + BATCH]
    assert len(with_operators(passed())) < MOST
    if chosen:
        run_together(chosen, tmp_path)


def test_a_wrong_result_is_noticed() -> None:
    case = next(case for case in claimed() if case.name == "test_add")
    wrong = Case(
        name=case.name,
        kinds=case.kinds,
        model=case.model,
        inputs=case.inputs,
        expected=tuple(array[::-1].copy() for array in case.expected),
    )
    found = node_cases.run(wrong)
    assert not found.passed
