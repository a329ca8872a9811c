"""What TensorFlow Lite Micro with CMSIS-NN would need for a network: an estimate.

    python benchmarks/tflm_estimate.py [--shared DIR]

For networks that nobody measured there: its sources cannot be built with what is here.
Instructions are those of the types of layer in cmsis_nn_figures.toml, flash and arena follow the
rules of tflm_figures.toml. Run as a script it compares the estimates with what was measured of
three networks, from which the rules come, and the memory of activations, for all networks, with
what the allocator of the pip package tflite-micro says.
"""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator, Model, ModelT, TensorType

from edgefactor.export.ir import Graph, Op
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.elementwise import Add
from edgefactor.export.ops.pool import AveragePool2D
from edgefactor.export.ops.reshape import Reshape
from edgefactor.export.ops.softmax.family import Softmax
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.pipeline.checking.footprint import multiply_accumulates

TFLM = Path(__file__).with_name("tflm_figures.toml")
CMSIS_NN = Path(__file__).with_name("cmsis_nn_figures.toml")
WIDE, FEW = 48, 3
"""Input channels from which on a layer counts as wide, and up to which as a first layer."""
CONVOLUTION, PAD, RESHAPE = BuiltinOperator.CONV_2D, BuiltinOperator.PAD, BuiltinOperator.RESHAPE
ITEM_BYTES = {TensorType.INT8: 1, TensorType.INT16: 2, TensorType.INT32: 4, TensorType.FLOAT32: 4}
CALIBRATED = 8
ALLOCATED_BYTES = 1 << 23
"""More than any network here needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What TFLM needs; instructions only for targets that are known.

    Attributes:
        kind: "measured" or "estimated".
    """

    kind: str
    instructions: Mapping[str, int]
    flash_bytes: int
    arena_bytes: int
    stack_bytes: int


def layer_type(op: Op, graph: Graph) -> str:
    """The nearest type of cmsis_nn_figures.toml; empty for a layer that costs nothing."""
    if isinstance(op, Conv2D):
        channels = graph.tensors[op.inputs[0]].shape[3]
        _, height, width, _ = graph.tensors[op.inputs[1]].shape
        if op.groups > 1:
            return "depthwise 3x3"
        if graph.tensors[op.outputs[0]].shape[1:3] == (1, 1):
            return "dense"
        if (height, width) == (1, 1):
            if max(op.stride) > 1:
                return "1x1 with stride 2"
            return "1x1 of 64 to 256" if channels >= WIDE else "1x1 of 8 to 32"
        if channels == 1:
            return "10x4 of 1 channel"
        return "3x3 of 3 channels" if channels <= FEW else "3x3 of 16 to 64"
    if isinstance(op, Add):
        return "add"
    if isinstance(op, AveragePool2D):
        return "average pool"
    return "softmax" if isinstance(op, Softmax) else ""


def instructions(graph: Graph) -> int:
    """On a Cortex-M4."""
    figures = tomllib.loads(CMSIS_NN.read_text())["types"]
    total = 0.0
    for op in graph.ops:
        kind = layer_type(op, graph)
        if not kind:
            continue
        work = multiply_accumulates(op, graph)
        # A pool reads each of its inputs once.
        counted = op.inputs[0] if isinstance(op, AveragePool2D) else op.outputs[0]
        total += figures[kind] * (work or graph.tensors[counted].elements)
    return round(total)


def arena_bytes(graph: Graph, rules: Mapping[str, int]) -> int:
    """The most activations and scratch alive at once, and what the interpreter keeps.

    Of the TFLite file, since explicit PAD operators, which PyTorch's padding asks for, take memory.
    """
    operators = file_operators(write_tflite(graph))
    kept = rules["per_operator"] * _operators(graph) + rules["per_channel"] * _channels(graph)
    padded = sum(operator.code == PAD for operator in operators)
    kept += rules["per_operator"] * padded
    return _peak(operators, scratch=True, copies=False) + kept + rules["interpreter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOperator:
    """An operator of a TFLite file.

    Attributes:
        code: Of its kind.
        inputs: Activations that it reads, with their bytes.
        outputs: Those that it writes.
        taps: Weights of an output channel, for a convolution; else 0.
        last: Whether nothing follows.
    """

    code: int
    inputs: Mapping[int, int]
    outputs: Mapping[int, int]
    taps: int
    last: bool


def file_operators(content: bytes) -> list[FileOperator]:
    """The operators of a TFLite file, in order."""
    model = ModelT.InitFromObj(Model.GetRootAs(content))
    graph = model.subgraphs[0]
    codes = [entry.builtinCode for entry in model.operatorCodes]
    held = {
        index: int(np.prod(tensor.shape)) * ITEM_BYTES[tensor.type]
        for index, tensor in enumerate(graph.tensors)
        if model.buffers[tensor.buffer].data is None
    }
    operators = []
    for step, operator in enumerate(graph.operators):
        code = codes[operator.opcodeIndex]
        shape = graph.tensors[operator.inputs[1]].shape if code == CONVOLUTION else (0, 0)
        operators.append(
            FileOperator(
                code=code,
                inputs={i: held[i] for i in operator.inputs if i in held},
                outputs={i: held[i] for i in operator.outputs},
                taps=int(np.prod(shape[1:])) if max(shape[1:3], default=0) > 1 else 0,
                last=step == len(graph.operators) - 1,
            )
        )
    return operators


def _peak(operators: list[FileOperator], *, scratch: bool, copies: bool) -> int:
    """The most bytes alive at once.

    Args:
        operators: In order.
        scratch: Whether CMSIS-NN's is counted: two columns of int16 for a window.
        copies: Whether a RESHAPE has an output of its own, as TFLM allocates it. Converters write
            dense layers without one.
    """
    owner: dict[int, int] = {}
    size: dict[int, int] = {}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for step, operator in enumerate(operators):
        for index, held in operator.inputs.items():
            root = owner.setdefault(index, index)
            size.setdefault(root, _rounded(held))
            first.setdefault(root, 0)
            last[root] = step
        for index, held in operator.outputs.items():
            view = operator.code == RESHAPE and not copies
            root = owner.setdefault(index, owner[next(iter(operator.inputs))] if view else index)
            size.setdefault(root, _rounded(held))
            first.setdefault(root, step)
            last[root] = len(operators) if operator.last else max(step, last.get(root, step))
    return max(
        sum(size[t] for t in size if first[t] <= step <= last[t])
        + (4 * operator.taps if scratch else 0)
        for step, operator in enumerate(operators)
    )


def allocated_bytes(content: bytes) -> int | None:
    """What the pip package tflite-micro allocates for activations; None if it is not there.

    Its allocator, on this computer and with the reference kernels, which have no scratch, prints
    it where only a file descriptor can hear it.
    """
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError:
        return None
    recording = runtime.InterpreterConfig.kAllocationRecording
    interpreter = runtime.Interpreter.from_bytes(
        content, arena_size=ALLOCATED_BYTES, intrepreter_config=recording
    )
    kept = os.dup(2)
    with tempfile.TemporaryFile() as place:
        os.dup2(place.fileno(), 2)
        try:
            interpreter.print_allocations()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        place.seek(0)
        found = re.search(rb"Arena allocation head (\d+) bytes", place.read())
    return int(found[1]) if found else None


def model_bytes(graph: Graph, rules: Mapping[str, int]) -> int:
    """Of the flatbuffer: weights, biases, and what is kept for each channel and operator."""
    total = rules["per_operator"] * _operators(graph) + rules["per_channel"] * _channels(graph)
    for op in graph.ops:
        if isinstance(op, Conv2D):
            total += sum(graph.tensors[name].bytes for name in op.inputs[1:])
    return total


def _convolves(graph: Graph) -> bool:
    return any(layer_type(op, graph).startswith(("1x1", "3x3", "10x4")) for op in graph.ops)


def _operators(graph: Graph) -> int:
    """A network with maps has a RESHAPE in front of its dense layers."""
    return sum(not isinstance(op, Reshape) for op in graph.ops) + _convolves(graph)


def _channels(graph: Graph) -> int:
    """Output channels that have a scale of their own: none in dense layers."""
    return sum(
        graph.tensors[op.outputs[0]].shape[3]
        for op in graph.ops
        if isinstance(op, Conv2D) and layer_type(op, graph) != "dense"
    )


def _rounded(size: int) -> int:
    return -(-size // 16) * 16


def estimate(graph: Graph) -> Baseline:
    """The estimate for an int8 Graph."""
    figures = tomllib.loads(TFLM.read_text())
    code, stack, arena = figures["code"], figures["stack"], figures["arena"]
    convolves = _convolves(graph)
    flash = code["dense"] + (code["convolution"] if convolves else 0)
    if any(layer_type(op, graph) == "depthwise 3x3" for op in graph.ops):
        flash += code["depthwise"]
    return Baseline(
        kind="estimated",
        instructions={"cortex-m4": instructions(graph)},
        flash_bytes=flash + model_bytes(graph, figures["model"]),
        arena_bytes=arena_bytes(graph, arena),
        stack_bytes=stack["convolution" if convolves else "dense"],
    )


def baseline(name: str, graph: Graph) -> Baseline:
    """What was measured of a network, else the estimate."""
    measured: dict[str, Any] | None = tomllib.loads(TFLM.read_text()).get(name)
    return estimate(graph) if measured is None else Baseline(kind="measured", **measured)


@click.command()
@click.option("--shared", type=click.Path(path_type=Path), default=None)
def main(shared: Path | None) -> None:
    """Compare the estimates with what was measured."""
    from networks import NETWORKS, OWN, int8_graph
    from shared_models import DEFAULT_FOLDER, load_network, random_network

    for name in (*NETWORKS, *OWN):
        with tempfile.TemporaryDirectory() as place:
            if name in OWN:
                network = random_network(name, Path(place), samples=1)
            else:
                network = load_network(
                    name, shared or DEFAULT_FOLDER, samples=1, calibration=CALIBRATED
                )
            graph = int8_graph(network, network.weights)
        content = bytes(write_tflite(graph))
        pairs = {
            "activations": (
                _peak(file_operators(content), scratch=False, copies=True),
                allocated_bytes(content),
            )
        }
        found, wanted = estimate(graph), baseline(name, graph)
        if wanted.kind == "measured":
            pairs |= {
                "instructions": (found.instructions["cortex-m4"], wanted.instructions["cortex-m4"]),
                "flash": (found.flash_bytes, wanted.flash_bytes),
                "arena": (found.arena_bytes, wanted.arena_bytes),
                "stack": (found.stack_bytes, wanted.stack_bytes),
            }
        for what, (estimated, measured) in pairs.items():
            if measured is not None:
                error = 100 * (estimated / measured - 1)
                click.echo(f"{name:18} {what:13} {estimated:11,} {measured:11,} {error:+6.1f} %")


if __name__ == "__main__":
    main()
