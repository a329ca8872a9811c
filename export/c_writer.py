"""Writes an integer Graph as C: data and calls; the kernels are hand-written files beside it.

The kernels a model needs are copied from ``runtime/csrc``; ``docs/bundle.md`` describes the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgefactor import __version__
from edgefactor.export.arena.plan import ALIGNMENT, ArenaPlan, without_skipped
from edgefactor.export.arena.scratch_fit import fit_scratch
from edgefactor.export.c_code import c_text
from edgefactor.export.c_code.code_cache import CodeCache
from edgefactor.export.c_code.layer_code import (
    INPUT_BY_ROWS,
    Call,
    CSymbol,
    CTarget,
    CValue,
    LayerCode,
    Ref,
)
from edgefactor.export.ir import DType, Graph, Op, Port, State
from edgefactor.export.ops.slice import Slice
from edgefactor.export.start_up import MARK_BYTES, with_start_up
from edgefactor.export.templates import render

KERNEL_FOLDER = Path(__file__).resolve().parent.parent / "runtime" / "csrc"
_INDENT = "    "


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """What was done to raw inputs before the network saw them: (x * scale - mean) / std."""

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TracePoint:
    """One tensor that the traced build reports, in this order."""

    step: int
    tensor: str
    layer: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CSources:
    """The generated C of a model.

    Attributes:
        prefix: Of all its public names.
        files: Path in the bundle's ``c`` folder -> text.
        code: Operator name -> what it became; weights that several share count for the first.
        plan: The arena.
        symbols: C symbol -> (operator name, "weights" or "tables").
        traces: What the traced build reports.
        inputs: How many inputs the network has.
        outputs: How many outputs.
        states: How many states it keeps, which are neither.
        by_rows: Whether the input is handed over by rows and has no place in the arena.
        prepared_bytes: RAM for weights that are decoded at start-up; 0 if none are.
    """

    prefix: str
    files: Mapping[str, str]
    code: Mapping[str, LayerCode]
    plan: ArenaPlan
    symbols: Mapping[str, tuple[str, str]]
    traces: tuple[TracePoint, ...]
    inputs: int
    outputs: int
    states: int
    by_rows: bool
    prepared_bytes: int = 0


def weights_digest(graph: Graph) -> str:
    """sha256 over structure, scales and codes: equal for equal networks."""
    digest = hashlib.sha256()
    for op in graph.ops:
        digest.update(repr(op).encode())
    for name, tensor in sorted(graph.tensors.items()):
        digest.update(f"{name}{tensor.shape}{tensor.quantization}".encode())
        if tensor.data is not None:
            digest.update(np.ascontiguousarray(tensor.data).tobytes())
    return digest.hexdigest()


def _initializer(value: CValue, symbols: Mapping[str, str], depth: int) -> str:
    if isinstance(value, Ref):
        return f"({value.cast}){symbols[value.suffix]}" if value.cast else symbols[value.suffix]
    if isinstance(value, CSymbol):
        return value.name
    if isinstance(value, tuple):
        return "{ " + ", ".join(c_text.integer(item) for item in value) + " }"
    if isinstance(value, Mapping):
        return "{\n" + _fields(value, symbols, depth + 1) + "\n" + _INDENT * depth + "}"
    return c_text.integer(value)


def _fields(args: Mapping[str, CValue], symbols: Mapping[str, str], depth: int = 1) -> str:
    """Initializers in declaration order: C99's designators are no C++ before C++20."""
    return ",\n".join(
        f"{_INDENT * depth}{_initializer(value, symbols, depth)} /* {name} */"
        for name, value in args.items()
    )


class _Layers:
    """Turns operators and their LayerCode into what the templates print.

    Arrays and arguments that are equal are printed once, for the first layer that has them: the
    stripes of one layer share its weights.
    """

    def __init__(self, graph: Graph, code: Mapping[str, LayerCode], plan: ArenaPlan, prefix: str):
        self.graph, self.code, self.plan = graph, code, plan
        short = c_text.unique_identifiers(op.name for op in graph.ops)
        self.names = {name: f"{prefix}_{text}" for name, text in short.items()}
        self.symbols: dict[str, tuple[str, str]] = {}
        self.printed: dict[tuple[str, bytes | str], str] = {}
        self.prepared: dict[str, int] = {}
        self.prepared_end = MARK_BYTES
        self.traces: list[TracePoint] = [
            TracePoint(
                step=step,
                tensor=port.tensor,
                layer="",
                bytes=graph.tensors[port.tensor].bytes,
            )
            for step, port in enumerate(graph.inputs)
        ]

    def _once(self, kind: str, content: bytes | str, symbol: str, op: Op, section: str) -> bool:
        """Whether ``symbol`` has to be printed: nothing equal was before."""
        if self.printed.setdefault((kind, content), symbol) != symbol:
            return False
        self.symbols[symbol] = (op.name, section)
        return True

    @property
    def prepared_bytes(self) -> int:
        """RAM for decoded weights with their mark; 0 for none."""
        return self.prepared_end if self.prepared else 0

    def _prepared(self, op: Op, symbols: Mapping[str, str]) -> tuple[list[dict[str, str]], int]:
        """The argument of the decoder, if it is new, and where its weights lie in RAM."""
        packed = self.code[op.name].packed
        assert packed is not None
        fields: dict[str, CValue] = {
            "stream": Ref(suffix="stream"),
            "units": Ref(suffix="units"),
            "stream_bytes": packed.stream.nbytes,
            "bytes": packed.size,
            "check": CSymbol(name=f"{packed.check}u"),
            "unit_count": len(packed.units),
            "bits": packed.bits,
            "fix": packed.fix,
        }
        body = _fields(fields, symbols)
        symbol = f"{self.names[op.name]}_packed"
        struct = "ef_packed"
        if not self._once(struct, body, symbol, op, "tables"):
            return [], self.prepared[self.printed[struct, body]]
        self.prepared[symbol] = self.prepared_end
        self.prepared_end += packed.ram_bytes
        return [{"struct": struct, "symbol": symbol, "body": body}], self.prepared[symbol]

    def _arrays(self, op: Op) -> tuple[list[dict[str, Any]], dict[str, str]]:
        arrays, symbols = [], {}
        for array in self.code[op.name].constants:
            symbol = f"{self.names[op.name]}_{array.suffix}"
            content = array.data.tobytes()
            if self._once(array.ctype, content, symbol, op, array.section):
                arrays.append(
                    {
                        "ctype": array.ctype,
                        "symbol": symbol,
                        "count": array.data.size,
                        "body": c_text.array_body(array.data),
                    }
                )
            symbols[array.suffix] = self.printed[array.ctype, content]
        return arrays, symbols

    def _pointer(self, tensor: str, *, typed: bool = False, const: str = "") -> str:
        place = f"a + {self.plan.offsets[tensor]}"
        if typed and self.graph.tensors[tensor].dtype is DType.INT16:
            # By way of void, because the compiler cannot see that the place is even.
            return f"({const}int16_t *)({const}void *)({place})"
        return place

    def _call(
        self, op: Op, call: Call, args: str, symbols: Mapping[str, str], prepared: int | None
    ) -> str:
        typed = not call.as_bytes
        pointers = [
            symbols[name.suffix]
            if isinstance(name, Ref)
            else self._pointer(name, typed=typed, const="const ")
            for name in call.inputs
        ]
        pointers.append(self._pointer(op.outputs[0], typed=typed))
        if call.scratch:
            offset = self.plan.scratch.get(op.name)
            pointers.append("NULL" if offset is None else f"a + {offset}")
        if prepared is not None:
            data = f"w + {prepared}"
            return f"ef_conv2d_prepared({call.function}, &{args}, {data}, {', '.join(pointers)});"
        return f"{call.function}(&{args}, {', '.join(pointers)});"

    def _fetch(self, op: Op) -> str:
        """Rows of an input that the caller hands over row by row."""
        if not isinstance(op, Slice):
            raise ValueError(f"{op.name} reads an input that is never there as a whole")
        first, end = c_text.integer(op.begin[1]), c_text.integer(op.end[1] - op.begin[1])
        return f"rows(context, {first}, {end}, {self._pointer(op.outputs[0])});"

    def layer(self, op: Op) -> dict[str, Any]:
        code = self.code[op.name]
        arrays, symbols = self._arrays(op)
        args: list[dict[str, str]] = []
        calls: list[str] = []
        prepared = None
        if code.packed is not None:
            args, prepared = self._prepared(op, symbols)
        if op.inputs[0] == self.graph.metadata.get(INPUT_BY_ROWS):
            calls.append(self._fetch(op))
        for index, call in enumerate(code.calls):
            suffix = "args" if len(code.calls) == 1 else f"args{index}"
            symbol = f"{self.names[op.name]}_{suffix}"
            body = _fields(call.args, symbols)
            if self._once(call.struct, body, symbol, op, "tables"):
                args.append({"struct": call.struct, "symbol": symbol, "body": body})
            printed = self.printed[call.struct, body]
            calls.append(self._call(op, call, printed, symbols, prepared))
        traces = []
        for name in op.outputs:
            point = TracePoint(
                step=len(self.traces),
                tensor=name,
                layer=op.name,
                bytes=self.graph.tensors[name].bytes,
            )
            self.traces.append(point)
            traces.append(
                {"step": point.step, "offset": self.plan.offsets[name], "bytes": point.bytes}
            )
        title = f"{type(op).__name__} {op.name}" + (f", {op.source}" if op.source else "")
        return {
            "title": c_text.comment(title),
            "arrays": arrays,
            "args": args,
            "calls": calls,
            "traces": traces,
        }


def _ports(
    graph: Graph,
    ports: Sequence[Port],
    role: str,
    prefix: str,
    plan: ArenaPlan,
    normalization: Normalization | None,
) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    kept = {state.input: state for state in graph.states}
    kept |= {state.output: state for state in graph.states}
    start = index = 0
    for step, port in enumerate(ports):
        tensor = graph.tensors[port.tensor]
        lists = None
        if normalization is not None and role == "input" and index == 0:
            lists = {
                "mean": ", ".join(map(c_text.floating, normalization.mean)),
                "std": ", ".join(map(c_text.floating, normalization.std)),
                "scale": c_text.floating(normalization.scale),
            }
        result.append(
            {
                "role": role,
                "index": index,
                "title": c_text.comment(port.name),
                "step": step,
                "state": _state_offset(graph, kept[port.name]) if port.name in kept else None,
                "macro": f"{prefix.upper()}_{role.upper()}{index}",
                "accessor": f"{prefix}_{role}{index}",
                "shape": ", ".join(map(str, tensor.shape)),
                "original": ", ".join(map(str, port.shape)),
                "bytes": tensor.bytes,
                "start": start,
                "ctype": f"{tensor.dtype}_t",
                "low": tensor.dtype.code_range[0],
                "high": tensor.dtype.code_range[1],
                "reach": c_text.floating(2.0 ** (8 * tensor.dtype.bytes + 1)),
                "scale": c_text.floating(tensor.quant.scale),
                "zero_point": f"({tensor.quant.zero_point})",
                "offset": plan.offsets.get(port.tensor),
                "by_rows": port.tensor not in plan.offsets,
                "row_bytes": tensor.bytes // tensor.shape[1] if len(tensor.shape) > 1 else 0,
                "normalization": lists,
            }
        )
        start += tensor.bytes
        index += port.name not in kept
    return result


def _state_offset(graph: Graph, state: State) -> int:
    """Where a state lies among all of them, in bytes."""
    before = graph.state_tensors[: graph.states.index(state)]
    return sum(graph.tensors[name].bytes for name, _ in before)


def _states(graph: Graph) -> list[dict[str, Any]]:
    """What zeros are, for every state."""
    return [
        {
            "title": c_text.comment(state.input),
            "offset": _state_offset(graph, state),
            "bytes": graph.tensors[takes].bytes,
            "zero": graph.tensors[takes].quant.zero_point & 0xFF,
        }
        for state, (takes, _) in zip(graph.states, graph.state_tensors, strict=True)
    ]


def write_c(
    graph: Graph,
    target: CTarget,
    *,
    prefix: str,
    normalization: Normalization | None = None,
) -> CSources:
    """Generate the C of a model: ``prefix.h``, ``prefix.c``, kernels, glue and trace list.

    Args:
        graph: int8 Graph.
        target: Instruction set, policy and forced encodings.
        prefix: C identifier that all public names start with.
        normalization: Offered in the header as a helper for raw inputs, if given.
    """
    code, plan = fit_scratch(graph, CodeCache(target=target).code(graph), target)
    if target.start_up_bytes:
        code, plan = with_start_up(graph, code, plan, target)
    code = without_skipped(code, plan)
    fetched = graph.metadata.get(INPUT_BY_ROWS)
    for op in graph.ops:
        if op.inputs[0] == fetched:
            code[op.name] = replace(code[op.name], calls=(), sources=())
    layers = _Layers(graph, code, plan, prefix)
    printed = [layers.layer(op) for op in graph.ops]
    stored = {name for name, section in layers.symbols.values() if section == "weights"}
    code = {
        name: layer if name in stored else replace(layer, weight_bytes=0)
        for name, layer in code.items()
    }
    inputs = _ports(graph, graph.inputs, "input", prefix, plan, normalization)
    outputs = _ports(graph, graph.outputs, "output", prefix, plan, None)
    sources = sorted({name for layer in code.values() for name in layer.sources})
    digest = weights_digest(graph)
    context: dict[str, Any] = {
        "model": {
            "title": c_text.comment(graph.name),
            "prefix": prefix,
            "macro": prefix.upper(),
            "version": __version__,
            "digest": digest[:16],
            # Never 0, which fresh memory often is.
            "mark": f"0x{int(digest[:8], 16) | 1:08X}u",
            "prepared_bytes": layers.prepared_bytes,
            "arena_bytes": plan.arena_bytes,
            "arena_align": ALIGNMENT,
            "input_bytes": sum(port["bytes"] for port in inputs),
            "output_bytes": sum(port["bytes"] for port in outputs),
            "steps": len(layers.traces),
            "by_rows": fetched is not None,
            "state_bytes": sum(graph.tensors[takes].bytes for takes, _ in graph.state_tensors),
        },
        "headers": [name for name in sources if name.endswith(".h")],
        "inputs": [port for port in inputs if port["state"] is None],
        "outputs": [port for port in outputs if port["state"] is None],
        "all_inputs": inputs,
        "all_outputs": outputs,
        "states": _states(graph),
        "wide_ports": any(port["ctype"] != "int8_t" for port in (*inputs, *outputs)),
        "layers": printed,
        "prepared": [{"symbol": name, "offset": at} for name, at in layers.prepared.items()],
    }
    files = {
        f"{prefix}.h": render("model.h.j2", **context),
        f"{prefix}.c": render("model.c.j2", **context),
        "model_glue.h": render("model_glue.h.j2", **context),
        "trace.json": _trace_json(layers.traces),
    }
    for name in sources:
        files[f"kernels/{name}"] = (KERNEL_FOLDER / name).read_text()
    return CSources(
        prefix=prefix,
        files=files,
        code=code,
        plan=plan,
        symbols=layers.symbols,
        traces=tuple(layers.traces),
        inputs=len(context["inputs"]),
        outputs=len(context["outputs"]),
        states=len(graph.states),
        by_rows=fetched is not None,
        prepared_bytes=layers.prepared_bytes,
    )


def _trace_json(traces: Sequence[TracePoint]) -> str:
    entries = [
        {"step": t.step, "tensor": t.tensor, "layer": t.layer, "bytes": t.bytes} for t in traces
    ]
    return json.dumps(entries, indent=1) + "\n"
