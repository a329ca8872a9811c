"""Forms under a budget whose kernels' code counts once: beside every combination there is."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.pipeline.sharing_at_export.form_search import (
    UNKNOWN_BYTES,
    CodedChoice,
    code_bytes,
    least,
    search,
)

KNOWN = {"a.c": 120, "b.c": 60, "c.c": 30, "d.h": 0}
coded = st.lists(
    st.builds(
        CodedChoice,
        size_bytes=st.integers(0, 300),
        loss=st.floats(0, 100, allow_nan=False).map(lambda x: round(x, 3)),
        sources=st.frozensets(st.sampled_from(sorted(KNOWN)), max_size=2),
    ),
    min_size=1,
    max_size=4,
)


def of(layers: list[list[CodedChoice]], chosen: tuple[int, ...]) -> tuple[int, float]:
    taken = [choices[i] for choices, i in zip(layers, chosen, strict=True)]
    sources = frozenset().union(*(choice.sources for choice in taken))
    size = sum(choice.size_bytes for choice in taken) + code_bytes(sources, KNOWN)
    return size, sum(choice.loss for choice in taken)


@settings(deadline=None, derandomize=True)
@given(st.lists(coded, min_size=1, max_size=4), st.integers(0, 1000))
def test_what_is_found_fits_and_says_what_it_takes(
    layers: list[list[CodedChoice]], budget: int
) -> None:
    combinations = list(itertools.product(*(range(len(choices)) for choices in layers)))
    found = search(layers, budget, KNOWN)
    if found is not None:
        assert of(layers, found.chosen) == (found.size_bytes, found.loss)
        assert found.size_bytes <= budget
    # Code apart, the search is exact: no worse than the best that leaves room for all of it.
    room = budget - sum(KNOWN.values())
    safe = [loss for chosen in combinations for size, loss in [of(layers, chosen)] if size <= room]
    if safe:
        assert found is not None
        assert found.loss <= min(safe) + 1e-9
    smallest = least(layers, KNOWN)
    assert of(layers, smallest.chosen) == (smallest.size_bytes, smallest.loss)


def test_a_kernel_for_little_is_given_up() -> None:
    # Vectors do a little better than values in each layer, and need a kernel of 120 bytes.
    values = CodedChoice(size_bytes=100, loss=1.0, sources=frozenset({"c.c"}))
    fine = CodedChoice(size_bytes=160, loss=0.1, sources=frozenset({"c.c"}))
    vectors = CodedChoice(size_bytes=100, loss=0.9, sources=frozenset({"a.c"}))
    layers = [[values, fine, vectors], [values, fine, vectors]]
    found = search(layers, 350, KNOWN)
    assert found is not None
    assert found.chosen == (1, 1)
    assert found.size_bytes == 350
    # Without room for the finer values the kernel of the vectors alone is worth its code.
    found = search(layers, 325, KNOWN)
    assert found is not None
    assert found.loss < 1.2
    assert search(layers, 200, KNOWN) is None
    assert least(layers, KNOWN).size_bytes == 230


def test_a_file_that_no_image_held_is_guessed() -> None:
    assert code_bytes(["new.c", "new.h", "a.c"], KNOWN) == UNKNOWN_BYTES + KNOWN["a.c"]
