"""The arena: nothing that is alive overlaps, and little is wasted."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.export.ir import DType, Graph, Op, Port, Tensor
from edgefactor.export.layer_code import Call, LayerCode
from edgefactor.export.plan import ALIGNMENT, ArenaPlan, Buffer, place, plan_arena

CALL = (Call(function="f", struct="s", args={}, inputs=()),)
ALIAS = LayerCode(calls=())
PLAIN = LayerCode(calls=CALL)
IN_PLACE = LayerCode(calls=CALL, in_place=(0,))
BOTH = LayerCode(calls=CALL, in_place=(0, 1))


@st.composite
def buffer_lists(draw: st.DrawFn) -> list[Buffer]:
    buffers = []
    for index in range(draw(st.integers(1, 12))):
        first = draw(st.integers(-1, 10))
        buffers.append(
            Buffer(
                name=f"b{index}",
                size=draw(st.integers(1, 200)),
                first=first,
                last=first + draw(st.integers(0, 6)),
            )
        )
    return buffers


def alive_together(a: Buffer, b: Buffer) -> bool:
    return bool(set(range(a.first, a.last + 1)) & set(range(b.first, b.last + 1)))


@settings(max_examples=60, deadline=None)
@given(buffer_lists())
def test_live_buffers_do_not_overlap(buffers: list[Buffer]) -> None:
    placement = place(buffers)
    offsets, size, bound = placement.offsets, placement.arena_bytes, placement.lower_bound_bytes
    assert place(buffers) == placement
    assert size == max(offsets[b.name] + b.size for b in buffers)
    assert size >= bound >= max(b.size for b in buffers)
    assert all(offset % ALIGNMENT == 0 for offset in offsets.values())
    for a, b in itertools.combinations(buffers, 2):
        if alive_together(a, b):
            first, second = sorted((a, b), key=lambda buffer: offsets[buffer.name])
            assert offsets[first.name] + first.size <= offsets[second.name]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 100), min_size=2, max_size=12))
def test_a_chain_reaches_the_bound(sizes: list[int]) -> None:
    buffers = [
        Buffer(name=f"b{step}", size=size, first=step - 1, last=step)
        for step, size in enumerate(sizes)
    ]
    placement = place(buffers)
    # Which of two buffers lies last decides a few bytes; the search stops at that.
    assert placement.arena_bytes < placement.lower_bound_bytes + ALIGNMENT


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 300), min_size=2, max_size=10),
    st.lists(st.integers(-50, 200), min_size=9, max_size=9),
)
def test_outputs_overlap_inputs_by_no_more_than_their_lead(
    sizes: list[int], wanted: list[int]
) -> None:
    buffers = [
        Buffer(name=f"b{step}", size=size, first=step - 1, last=step)
        for step, size in enumerate(sizes)
    ]
    leads = {
        (f"b{step}", f"b{step + 1}"): lead
        for step, lead in zip(range(len(sizes) - 1), wanted, strict=False)
    }
    placement = place(buffers, leads)
    assert placement.arena_bytes >= placement.lower_bound_bytes
    for (source, result), lead in leads.items():
        start = placement.offsets[source], placement.offsets[result]
        ends = [start[i] + sizes[int(name[1:])] for i, name in enumerate((source, result))]
        apart = ends[0] <= start[1] or ends[1] <= start[0]
        assert apart or start[1] + lead <= start[0]


def network(
    sizes: dict[str, int],
    ops: dict[str, tuple[str, ...]],
    inputs: tuple[str, ...] = ("x",),
    outputs: tuple[str, ...] = (),
) -> Graph:
    """Operators by the tensor they define -> what they read."""
    tensors = {n: Tensor(name=n, shape=(size,), dtype=DType.INT8) for n, size in sizes.items()}
    steps = tuple(Op(name=n, inputs=read, outputs=(n,)) for n, read in ops.items())

    def ports(names: tuple[str, ...]) -> tuple[Port, ...]:
        return tuple(Port(tensor=n, name=n, shape=(sizes[n],), perm=(0,)) for n in names)

    last = outputs or (list(ops)[-1],)
    return Graph(name="net", tensors=tensors, ops=steps, inputs=ports(inputs), outputs=ports(last))


def plan(graph: Graph, **code: LayerCode) -> ArenaPlan:
    return plan_arena(graph, {op.name: code.get(op.name, PLAIN) for op in graph.ops})


def test_in_place_where_the_input_dies() -> None:
    graph = network({"x": 64, "a": 64, "b": 64}, {"a": ("x",), "b": ("a",)})
    found = plan(graph, a=IN_PLACE, b=IN_PLACE)
    assert found.in_place == ("a", "b")
    assert found.arena_bytes == 64
    assert set(found.offsets.values()) == {0}


def test_not_in_place_while_the_input_is_still_needed() -> None:
    graph = network({"x": 64, "a": 64, "b": 64}, {"a": ("x",), "b": ("a", "x")})
    found = plan(graph, a=IN_PLACE)
    assert found.in_place == ()
    assert found.offsets["a"] != found.offsets["x"]


def test_not_in_place_over_an_output_or_into_less_room() -> None:
    sizes = {"x": 32, "a": 32, "b": 32, "c": 48}
    graph = network(sizes, {"a": ("x",), "b": ("a",), "c": ("b",)}, outputs=("a", "c"))
    found = plan(graph, b=IN_PLACE, c=IN_PLACE)
    assert found.in_place == ()


def test_second_operand_and_operands_in_the_same_memory() -> None:
    graph = network(
        {"x": 32, "y": 32, "a": 32, "v": 32, "b": 32},
        {"a": ("x", "y"), "v": ("a",), "b": ("a", "v")},
        inputs=("x", "y"),
        outputs=("x", "b"),
    )
    found = plan(graph, a=BOTH, v=ALIAS, b=BOTH)
    assert found.in_place == ("a",)
    assert found.offsets["a"] == found.offsets["y"]
    assert found.offsets["v"] == found.offsets["a"]
    assert found.offsets["b"] != found.offsets["a"]


def test_a_view_keeps_its_memory_alive() -> None:
    graph = network(
        {"x": 16, "v": 16, "a": 16, "b": 16}, {"v": ("x",), "a": ("x",), "b": ("v", "a")}
    )
    found = plan(graph, v=ALIAS, a=IN_PLACE)
    assert found.in_place == ()
    assert found.offsets["v"] == found.offsets["x"] != found.offsets["a"]


def test_inputs_that_nothing_reads_keep_apart() -> None:
    graph = network({"x": 16, "y": 16, "a": 16}, {"a": ("x",)}, inputs=("x", "y"))
    found = plan(graph)
    assert found.offsets["x"] != found.offsets["y"]


def test_scratch_lives_for_one_step() -> None:
    scratch = LayerCode(calls=CALL, scratch_bytes=100)
    graph = network({"x": 16, "a": 16, "b": 16}, {"a": ("x",), "b": ("a",)})
    found = plan(graph, a=scratch, b=scratch)
    assert set(found.scratch) == {"a", "b"}
    assert 132 == found.lower_bound_bytes <= found.arena_bytes < 132 + ALIGNMENT
    assert found.peak_step in ("a", "b")


def test_a_network_without_operators() -> None:
    graph = network({"x": 5}, {}, outputs=("x",))
    found = plan(graph)
    assert (found.offsets, found.arena_bytes, found.lower_bound_bytes) == ({"x": 0}, 5, 5)


def test_random_networks_are_planned_the_same_twice() -> None:
    generator = np.random.default_rng(0)
    sizes = {"x": 100}
    ops: dict[str, tuple[str, ...]] = {}
    for index in range(30):
        earlier = list(sizes)[-4:]
        ops[f"t{index}"] = tuple(generator.choice(earlier, size=2))
        sizes[f"t{index}"] = int(generator.integers(1, 400))
    graph = network(sizes, ops)
    assert plan(graph) == plan(graph)
