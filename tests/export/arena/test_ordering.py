"""The order of operators: as good as trying all of them."""

import itertools
import time
from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.export.arena.ordering import (
    Problem,
    best_order,
    near_order,
    order_for_memory,
    peak_bound,
    peak_of,
    problem_of,
)
from edgefactor.export.arena.plan import plan_arena
from edgefactor.export.c_code.layer_code import Call, LayerCode
from edgefactor.export.ir import DType, Graph, Op, Port, Tensor

CALL = (Call(function="f", struct="s", args={}, inputs=()),)
PLAIN = LayerCode(calls=CALL)


def network(sizes: dict[str, int], ops: dict[str, tuple[str, ...]]) -> Graph:
    """Operators by the tensor they define -> what they read; the last one leaves."""
    tensors = {n: Tensor(name=n, shape=(size,), dtype=DType.INT8) for n, size in sizes.items()}
    steps = tuple(Op(name=n, inputs=read, outputs=(n,)) for n, read in ops.items())
    last = list(ops)[-1]
    return Graph(
        name="net",
        tensors=tensors,
        ops=steps,
        inputs=(Port(tensor="x", name="x", shape=(sizes["x"],), perm=(0,)),),
        outputs=(Port(tensor=last, name=last, shape=(sizes[last],), perm=(0,)),),
    )


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    sizes = {"x": draw(st.integers(1, 50))}
    ops: dict[str, tuple[str, ...]] = {}
    code: dict[str, LayerCode] = {}
    for index in range(draw(st.integers(1, 7))):
        reads = draw(st.lists(st.sampled_from(list(sizes)), min_size=1, max_size=2))
        name = f"t{index}"
        ops[name], sizes[name] = tuple(reads), draw(st.integers(1, 50))
        code[name] = LayerCode(
            calls=() if draw(st.integers(0, 9)) == 0 else CALL,
            scratch_bytes=draw(st.sampled_from((0, 0, 20))),
            in_place=(0,) if draw(st.booleans()) else (),
        )
        if code[name].is_alias:
            sizes[name] = sizes[reads[0]]
    return problem_of(network(sizes, ops), code)


def every_order(problem: Problem) -> Iterator[tuple[int, ...]]:
    """All orders in which every step comes behind what it reads."""
    for order in itertools.permutations(range(len(problem.steps))):
        done = 0
        for index in order:
            if problem.before[index] & ~done:
                break
            done |= 1 << index
        else:
            yield order


@settings(max_examples=80, deadline=None)
@given(problems())
def test_no_order_has_a_lower_peak(problem: Problem) -> None:
    order = best_order(problem)
    assert order is not None
    assert order in set(every_order(problem))
    assert peak_of(problem, order) == min(peak_of(problem, o) for o in every_order(problem))


@settings(max_examples=80, deadline=None)
@given(problems())
def test_following_every_set_is_as_good_and_no_order_goes_below_the_bound(problem: Problem) -> None:
    best = min(peak_of(problem, order) for order in every_order(problem))
    assert peak_of(problem, near_order(problem, width=10_000)) == best
    assert near_order(problem, width=1) in set(every_order(problem))
    assert peak_bound(problem) <= best


def test_the_branch_that_shrinks_comes_first() -> None:
    sizes = {"x": 16, "a": 160, "b": 160, "c": 16, "d": 16, "e": 16}
    ops = {"a": ("x",), "b": ("x",), "c": ("a",), "d": ("b",), "e": ("c", "d")}
    graph = network(sizes, ops)
    code = {name: PLAIN for name in ops}
    ordered = order_for_memory(graph, code)
    assert [op.name for op in ordered.ops] == ["a", "c", "b", "d", "e"]
    assert plan_arena(ordered, code).arena_bytes < plan_arena(graph, code).arena_bytes
    assert order_for_memory(ordered, code) is ordered


def test_a_constant_part_of_a_concatenation_has_no_memory() -> None:
    graph = network({"x": 8, "a": 6, "y": 10, "token": 4}, {"a": ("x",), "y": ("token", "a")})
    code = {"a": PLAIN, "y": LayerCode(calls=CALL, parts=((0, 0), (1, 4)))}
    problem = problem_of(graph, code)
    assert peak_of(problem, (0, 1)) == 8 + 6
    assert order_for_memory(graph, code) is graph


def test_a_chain_keeps_its_order() -> None:
    ops = {"a": ("x",), "b": ("a",), "c": ("b",)}
    graph = network({"x": 8, "a": 99, "b": 3, "c": 50}, ops)
    assert order_for_memory(graph, {name: PLAIN for name in ops}) is graph


def test_hundreds_of_operators_with_branches_take_seconds() -> None:
    generator = np.random.default_rng(0)
    sizes, ops = {"x": 64}, {}
    last = "x"
    for block in range(60):
        ends = []
        for branch in range(3):
            name = last
            for depth in range(2):
                new = f"b{block}_{branch}_{depth}"
                ops[new], sizes[new] = (name,), int(generator.integers(1, 500))
                name = new
            ends.append(name)
        last = f"j{block}"
        ops[last], sizes[last] = tuple(ends), 64
    graph = network(sizes, ops)
    code = {name: PLAIN for name in ops}
    start = time.process_time()
    ordered = order_for_memory(graph, code)
    assert time.process_time() - start < 10
    assert len(ordered.ops) == len(graph.ops) == 420
    problem = problem_of(graph, code)
    order = best_order(problem)
    assert order is not None
    assert peak_of(problem, order) <= peak_of(problem, range(len(graph.ops)))


def test_of_too_many_sets_some_are_followed() -> None:
    names = [f"t{index}" for index in range(20)]
    sizes = {"x": 4} | {name: 5 + index for index, name in enumerate(names)} | {"y": 4}
    ops = {name: ("x",) for name in names} | {"y": tuple(names)}
    problem = problem_of(network(sizes, ops), {name: PLAIN for name in ops})
    assert best_order(problem, most_states=10) is None
    assert sorted(near_order(problem)) == list(range(21))
