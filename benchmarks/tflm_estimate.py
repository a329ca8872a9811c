"""What TensorFlow Lite Micro with CMSIS-NN would need for a network: an estimate.

    python benchmarks/tflm_estimate.py [--shared DIR]

For networks that nobody measured there: its sources cannot be built with what is here.
Instructions are those of the types of layer in cmsis_nn_figures.toml, flash and arena follow the
rules of tflm_figures.toml. Run as a script it compares the estimates with what was measured of
three networks, from which the rules come.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgefactor.export.ir import Graph, Op
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.elementwise import Add
from edgefactor.export.ops.pool import AveragePool2D
from edgefactor.export.ops.reshape import Reshape
from edgefactor.export.ops.softmax.family import Softmax
from edgefactor.pipeline.checking.footprint import multiply_accumulates

TFLM = Path(__file__).with_name("tflm_figures.toml")
CMSIS_NN = Path(__file__).with_name("cmsis_nn_figures.toml")
WIDE, FEW = 48, 3
"""Input channels from which on a layer counts as wide, and up to which as a first layer."""


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
    """The most activations and scratch alive at once, and what the interpreter keeps."""
    owner = {port.tensor: port.tensor for port in graph.inputs}
    for op in graph.ops:
        is_view = isinstance(op, Reshape)
        owner[op.outputs[0]] = owner[op.inputs[0]] if is_view else op.outputs[0]
    last = {owner[port.tensor]: len(graph.ops) for port in graph.outputs}
    for step, op in enumerate(graph.ops):
        for name in op.inputs:
            if name in owner:
                last[owner[name]] = max(step, last.get(owner[name], step))
    alive = {owner[port.tensor] for port in graph.inputs}
    peak = 0
    for step, op in enumerate(graph.ops):
        alive.add(owner[op.outputs[0]])
        held = sum(_rounded(graph.tensors[name].bytes) for name in alive)
        peak = max(peak, held + _scratch(op, graph))
        alive = {name for name in alive if last.get(name, step) > step}
    kept = rules["per_operator"] * _operators(graph) + rules["per_channel"] * _channels(graph)
    return peak + kept + rules["interpreter"]


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


def _scratch(op: Op, graph: Graph) -> int:
    """Two columns of int16 for a convolution wider than one tap."""
    if not isinstance(op, Conv2D) or op.groups > 1:
        return 0
    taps = int(np.prod(graph.tensors[op.inputs[1]].shape[1:]))
    return 4 * taps if layer_type(op, graph).startswith(("3x3", "10x4")) else 0


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
    from networks import NETWORKS, int8_graph
    from shared_models import DEFAULT_FOLDER, load_network

    for name in NETWORKS:
        network = load_network(name, shared or DEFAULT_FOLDER, samples=1, calibration=8)
        graph = int8_graph(network, network.weights)
        found, wanted = estimate(graph), baseline(name, graph)
        pairs = {
            "instructions": (found.instructions["cortex-m4"], wanted.instructions["cortex-m4"]),
            "flash": (found.flash_bytes, wanted.flash_bytes),
            "arena": (found.arena_bytes, wanted.arena_bytes),
            "stack": (found.stack_bytes, wanted.stack_bytes),
        }
        for what, (estimated, measured) in pairs.items():
            error = 100 * (estimated / measured - 1)
            click.echo(f"{name:12} {what:13} {estimated:11,} {measured:11,} {error:+6.1f} %")


if __name__ == "__main__":
    main()
