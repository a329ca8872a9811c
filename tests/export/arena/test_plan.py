"""The arena: nothing that is alive overlaps, and little is wasted."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.export.arena.plan import ALIGNMENT, ArenaPlan, plan_arena, without_skipped
from edgefactor.export.c_code.layer_code import Call, LayerCode
from edgefactor.export.ir import DType, Graph, Op, Port, Tensor

CALL = (Call(function="f", struct="s", args={}, inputs=()),)
ALIAS = LayerCode(calls=())
PLAIN = LayerCode(calls=CALL)
IN_PLACE = LayerCode(calls=CALL, in_place=(0,))
BOTH = LayerCode(calls=CALL, in_place=(0, 1))


VIEW = LayerCode(calls=CALL, inside=16)


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


def test_scratch_lies_over_an_input_that_dies() -> None:
    graph = network({"x": 640, "a": 128}, {"a": ("x",)})
    expanded = LayerCode(calls=CALL, scratch_bytes=1280, scratch_lead=640, overlaps=((0, -640),))
    assert plan(graph, a=expanded).arena_bytes == 1280 + 128
    assert plan(graph, a=LayerCode(calls=CALL, scratch_bytes=1280)).arena_bytes == 2048
    kept = network({"x": 640, "a": 128, "b": 1}, {"a": ("x",), "b": ("x", "a")})
    assert plan(kept, a=expanded).arena_bytes == 640 + 1280 + 128


def test_a_network_without_operators() -> None:
    graph = network({"x": 5}, {}, outputs=("x",))
    found = plan(graph)
    assert (found.offsets, found.arena_bytes, found.lower_bound_bytes) == ({"x": 0}, 5, 5)


def concat(*parts: tuple[int, int]) -> LayerCode:
    """One copy an input, each to an offset of the output."""
    return LayerCode(calls=CALL * len(parts), sources=("ef_move.h",), parts=parts)


def test_parts_of_a_concatenation_are_computed_where_they_belong() -> None:
    sizes = {"x": 64, "a": 32, "b": 16, "c": 48, "d": 8}
    graph = network(sizes, {"a": ("x",), "b": ("x",), "c": ("a", "b"), "d": ("c",)})
    code = {op.name: PLAIN for op in graph.ops} | {"c": concat((0, 0), (1, 32))}
    found = plan_arena(graph, code)
    assert found.offsets["a"] == found.offsets["c"] == found.offsets["b"] - 32
    assert found.skipped == {"c": frozenset({0, 1})}
    assert without_skipped(code, found)["c"].calls == ()
    assert found.arena_bytes == 64 + 48


def test_inputs_and_repeated_parts_of_a_concatenation_are_copied() -> None:
    sizes = {"x": 16, "a": 16, "c": 48}
    graph = network(sizes, {"a": ("x",), "c": ("a", "a", "x")})
    code = {"a": PLAIN, "c": concat((0, 0), (1, 16), (2, 32))}
    found = plan_arena(graph, code)
    assert found.skipped == {"c": frozenset({0})}
    assert len(without_skipped(code, found)["c"].calls) == 2


def test_a_slice_is_a_view_and_the_rest_is_free() -> None:
    sizes = {"x": 64, "v": 16, "a": 16, "b": 16}
    graph = network(sizes, {"v": ("x",), "a": ("v",), "b": ("a",)})
    found = plan(graph, v=VIEW)
    assert found.offsets["v"] == found.offsets["x"] + 16
    assert found.skipped == {"v": frozenset({0})}
    # Only bytes 16 to 32 of the input are alive when the others are computed.
    assert found.arena_bytes == 64


def test_a_view_is_not_overwritten_while_its_neighbour_is_needed() -> None:
    sizes = {"x": 64, "v": 16, "w": 32, "a": 16, "b": 16}
    graph = network(sizes, {"v": ("x",), "w": ("x",), "a": ("v",), "b": ("a", "w")})
    found = plan(graph, v=VIEW, w=LayerCode(calls=CALL, inside=16), a=IN_PLACE)
    assert found.in_place == ()
    assert found.offsets["v"] == found.offsets["w"]


def test_views_start_at_words() -> None:
    graph = network({"x": 64, "v": 16}, {"v": ("x",)})
    found = plan(graph, v=LayerCode(calls=CALL, inside=3))
    assert found.skipped == {}


@st.composite
def networks(draw: st.DrawFn) -> tuple[Graph, dict[str, LayerCode]]:
    """Random operators of all the kinds that share memory."""
    sizes = {"x": 4 * draw(st.integers(1, 16))}
    ops: dict[str, tuple[str, ...]] = {}
    code: dict[str, LayerCode] = {}
    for index in range(draw(st.integers(1, 14))):
        name = f"t{index}"
        earlier = st.sampled_from(list(sizes)[-5:])
        kind = draw(st.sampled_from(("plain", "in place", "alias", "view", "concat", "overlap")))
        first, second = draw(earlier), draw(earlier)
        if kind == "concat":
            ops[name] = first, second
            sizes[name] = sizes[first] + sizes[second]
            code[name] = concat((0, 0), (1, sizes[first]))
        elif kind == "view":
            inside = 4 * draw(st.integers(0, sizes[first] // 4 - 1))
            ops[name] = (first,)
            sizes[name] = sizes[first] - inside
            code[name] = LayerCode(calls=CALL, inside=inside)
        elif kind == "alias":
            ops[name], sizes[name], code[name] = (first,), sizes[first], ALIAS
        elif kind == "in place":
            ops[name], sizes[name], code[name] = (first, second), sizes[first], IN_PLACE
        else:
            lead = draw(st.integers(-16, 16))
            ops[name], sizes[name] = (first,), 4 * draw(st.integers(1, 16))
            overlaps = ((0, lead),) if kind == "overlap" else ()
            scratch = draw(st.integers(0, 60))
            over = draw(st.none() | st.integers(0, 40))
            code[name] = LayerCode(
                calls=CALL, overlaps=overlaps, scratch_bytes=scratch, scratch_lead=over
            )
    return network(sizes, ops), code


@settings(max_examples=150, deadline=None)
@given(networks())
def test_nobody_reads_what_another_wrote(case: tuple[Graph, dict[str, LayerCode]]) -> None:
    """Runs the plan on an arena of names: every byte says which tensor's byte it is."""
    graph, code = case
    found = plan_arena(graph, code)
    left = without_skipped(code, found)
    arena: list[tuple[str, int]] = [("", 0)] * found.arena_bytes
    meaning: dict[str, list[tuple[str, int]]] = {}

    def extent(name: str) -> slice:
        start = found.offsets[name]
        return slice(start, start + graph.tensors[name].bytes)

    def check(name: str) -> None:
        assert arena[extent(name)] == meaning[name], name

    def write(name: str) -> None:
        arena[extent(name)] = meaning[name]

    for port in graph.inputs:
        meaning[port.tensor] = [(port.tensor, i) for i in range(graph.tensors[port.tensor].bytes)]
    for port in graph.inputs:
        write(port.tensor)
    for op in graph.ops:
        name, layer = op.outputs[0], code[op.name]
        inputs = [meaning[source] for source in op.inputs]
        if layer.parts:
            meaning[name] = inputs[0] + inputs[1]
        elif layer.is_alias:
            meaning[name] = inputs[0]
        elif layer.inside is not None:
            meaning[name] = inputs[0][layer.inside :]
        else:
            meaning[name] = [(name, i) for i in range(graph.tensors[name].bytes)]
        skipped = found.skipped.get(op.name, frozenset())
        if left[op.name].calls:
            for index, source in enumerate(op.inputs):
                if not (layer.parts and index in skipped):
                    check(source)
            used = slice(0, 0)
            if op.name in found.scratch:
                start = found.scratch[op.name]
                used = slice(start, start + layer.scratch_bytes)
                arena[used] = [("scratch", i) for i in range(layer.scratch_bytes)]
                for source in op.inputs if not layer.parts else ():
                    place = extent(source)
                    apart = used.stop <= place.start or place.stop <= used.start
                    if layer.scratch_lead is None or apart:
                        check(source)
                    else:
                        assert start + layer.scratch_lead <= place.start
            if layer.parts:
                start = found.offsets[name]
                for index, offset in layer.parts:
                    if index not in skipped:
                        part = inputs[index]
                        arena[start + offset : start + offset + len(part)] = part
            else:
                write(name)
            assert all(byte[0] == "scratch" for byte in arena[used])
        check(name)
    for port in graph.outputs:
        check(port.tensor)


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
