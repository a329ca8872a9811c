"""Graph -> Graph: chains of functions around a table become one table.

PyTorch writes GELU, Mish and their like as several operators on the same tensor. Each would round
to int8; as one table the result is rounded once, and costs one look-up.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgefactor.export.ir import Array, Graph, Op
from edgefactor.export.ops.elementwise import Add, Mul, Sub
from edgefactor.export.ops.lookup import Lookup
from edgefactor.export.ops.select import Select
from edgefactor.export.ops.table import Table, substitute
from edgefactor.pipeline.passes.neighbours import sole_consumer

#: Words of an expression; longer ones stay several tables.
_LONGEST = 400
_WORDS: dict[type[Op], str] = {Add: "add", Sub: "sub", Mul: "mul"}
_CLAMPS = {"none": "", "relu": " 0 max", "relu6": " 0 max 6 min"}
_LOOKUPS = {
    "relu": "x 0 max",
    "sigmoid": "x sigmoid",
    "tanh": "x tanh",
    "silu": "x x sigmoid mul",
    "abs": "x abs",
    "neg": "x neg",
}


def _number(held: Array) -> str:
    """A constant of one element as a word."""
    return repr(float(np.asarray(held).reshape(())[()]))


def _function(graph: Graph, op: Op | None) -> tuple[str, str] | None:
    """The tensor that an operator is a function of, and the function."""
    if isinstance(op, Table):
        return op.inputs[0], op.expression
    if isinstance(op, Lookup) and op.function in _LOOKUPS:
        return op.inputs[0], _LOOKUPS[op.function]
    if isinstance(op, Lookup) and op.function == "clip":
        ends = [f" {op.low!r} max" if op.low is not None else ""]
        ends.append(f" {op.high!r} min" if op.high is not None else "")
        return op.inputs[0], "x" + "".join(ends)
    if not isinstance(op, Add | Sub | Mul):
        return None
    held = [graph.tensors[name].data is not None for name in op.inputs]
    if sum(held) != 1:
        return None
    tensor, source = (op.inputs[i] for i in (held.index(True), held.index(False)))
    same_shape = graph.tensors[source].shape == graph.tensors[op.outputs[0]].shape
    if graph.tensors[tensor].elements != 1 or not same_shape:
        return None
    number = _number(graph.tensors[tensor].values)
    pair = f"{number} x" if held[0] else f"x {number}"
    return source, f"{pair} {_WORDS[type(op)]}{_CLAMPS[op.activation]}"


def _joined(graph: Graph, table: Table, after: Op) -> tuple[str, tuple[Op, ...]] | None:
    """The expression of what reads a table, and the operators that it makes superfluous."""
    source, result = table.inputs[0], table.outputs[0]
    function = _function(graph, after)
    if function is not None:
        return substitute(function[1], table.expression), (table,)
    if not isinstance(after, Add | Sub | Mul | Select):
        return None
    whole = graph.tensors[after.outputs[0]].shape == graph.tensors[source].shape
    parts: list[str] = []
    gone: list[Op] = [table]
    for name in after.inputs:
        maker = graph.producer(name)
        other = _function(graph, maker)
        if name == result:
            parts.append(table.expression)
        elif name == source:
            parts.append("x")
        elif isinstance(after, Select) and whole and graph.tensors[name].elements == 1:
            held = graph.tensors[name].data
            if held is None:
                return None
            parts.append(_number(held))
        elif other is not None and other[0] == source and sole_consumer(graph, name) is after:
            assert maker is not None
            parts.append(other[1])
            gone.append(maker)
        else:
            return None
    if isinstance(after, Select):
        return f"{' '.join(parts)} where", tuple(gone)
    expression = f"{parts[0]} {parts[1]} {_WORDS[type(after)]}{_CLAMPS[after.activation]}"
    return expression, tuple(gone)


def fuse_tables(graph: Graph) -> Graph:
    """Join tables with the functions before and after them, as long as there are any."""
    while (rewritten := _step(graph)) is not None:
        graph = rewritten
    return graph


def _step(graph: Graph) -> Graph | None:
    for table in graph.ops:
        if not isinstance(table, Table):
            continue
        before = graph.producer(table.inputs[0])
        function = _function(graph, before)
        if function and before and sole_consumer(graph, table.inputs[0]) is table:
            expression = substitute(table.expression, function[1])
            if len(expression.split()) <= _LONGEST:
                merged = replace(table, inputs=(function[0],), expression=expression)
                return _replaced(graph, table, merged, (before,))
        after = sole_consumer(graph, table.outputs[0])
        joined = _joined(graph, table, after) if after is not None else None
        if after is None or joined is None or len(joined[0].split()) > _LONGEST:
            continue
        merged = Table(
            name=after.name,
            inputs=table.inputs,
            outputs=after.outputs,
            source=after.source,
            expression=joined[0],
            boolean=isinstance(after, Table) and after.boolean,
        )
        return _replaced(graph, after, merged, joined[1])
    return None


def _replaced(graph: Graph, old: Op, new: Op, gone: tuple[Op, ...]) -> Graph:
    dead = {id(op) for op in gone}
    kept = tuple(new if op is old else op for op in graph.ops if id(op) not in dead)
    return graph.edit(ops=kept)
