"""The arena planner on real and random networks: how near to the lower bound, and how quick.

    python benchmarks/arena.py [--operators N ...] [--graphs N] [--json]

Real networks are those of mobile_networks.py and own_networks.py. Random ones have the operators
asked for: convolutions, pools, sums and concatenations with branches that stay open for a while, or
to the end ("many outputs"), where nearly everything can be put in any order.
"order" says whether the order of operators is proven to be the best by the memory that each step
needs, else how far its peak may lie above that of the best one; "gap" is how far the arena lies
above the bound that no placement in that order can go below.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import asdict, dataclass

import click
import numpy as np
import onnx
import torch
from mobile_networks import mobilenet_v1, mobilenet_v2
from onnx import TensorProto, helper, numpy_helper
from own_networks import SHAPES, seeded
from rich.console import Console
from rich.table import Table

from edgefactor.export.arena.ordering import (
    best_order,
    near_order,
    order_for_memory,
    peak_bound,
    peak_of,
    problem_of,
)
from edgefactor.export.arena.plan import plan_arena
from edgefactor.export.c_code.code_cache import CodeCache
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.ir import Graph
from edgefactor.pipeline.float_stages import float_stages
from edgefactor.pipeline.load import LoadedModel
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.passes.fuse import fuse
from edgefactor.pipeline.quantize import quantize

TARGET = CTarget(features=IsaFeatures(dsp=True, unaligned=True))
REACH = 8
"""How far back a random operator looks for its inputs."""
OPEN = 6
"""Values that wait to be read before the oldest one has to be."""
CHANNELS = (8, 16, 24, 32)
POOLS = 0.02
MOBILE = {"mobilenet_v1 0.25": mobilenet_v1, "mobilenet_v2 0.35": mobilenet_v2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network."""

    network: str
    operators: int
    order: str
    order_seconds: float
    arena_as_given_bytes: int
    arena_bytes: int
    lower_bound_bytes: int
    gap: float
    plan_seconds: float


class RandomNetwork:
    """Nodes of an ONNX model, added one by one."""

    def __init__(self, seed: int, *, open_ends: bool) -> None:
        self.open_ends = open_ends
        self.draw = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.read: set[str] = set()
        self.values: list[tuple[str, int, int]] = [("x", 8, 32)]  # name, channels, rows

    def add(self) -> None:
        """One random operator on recent values."""
        recent = self.values[-REACH:]
        if not self.open_ends:
            unread = [value for value in recent if value[0] not in self.read] or recent
            recent = unread[:1] if len(unread) > OPEN else unread
        name, channels, rows = self.draw.choice(recent)
        partners = [v for v in self.values[-REACH:] if v[0] != name and v[2] == rows]
        kind = self.draw.choice(("conv", "conv", "depthwise", "join", "join"))
        output = f"v{len(self.nodes)}"
        if kind == "join" and partners:
            other = self.draw.choice(partners)
            same = other[1] == channels
            if same or channels + other[1] > 2 * max(CHANNELS):
                operator, inputs = "Add", [name, other[0]]
                if not same:
                    operator, inputs = "Relu", [name]
                self._node(operator, inputs, output)
            else:
                self._node("Concat", [name, other[0]], output, axis=1)
                channels += other[1]
        elif rows >= 8 and self.draw.random() < POOLS:
            self._node("MaxPool", [name], output, kernel_shape=[2, 2], strides=[2, 2])
            rows //= 2
        else:
            groups = channels if kind == "depthwise" else 1
            outputs = channels if kind == "depthwise" else self.draw.choice(CHANNELS)
            size = self.draw.choice((1, 3))
            weights = self.numbers.normal(size=(outputs, channels // groups, size, size))
            bias = self.numbers.normal(size=outputs)
            constants = [f"{output}_w", f"{output}_b"]
            for constant, array in zip(constants, (weights, bias), strict=True):
                self.initializers.append(
                    numpy_helper.from_array(array.astype(np.float32), constant)
                )
            pads = [size // 2] * 4
            self._node("Conv", [name, *constants], output, pads=pads, group=groups)
            channels = outputs
        self.values.append((output, channels, rows))

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: object) -> None:
        self.read.update(inputs)
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))

    def model(self) -> onnx.ModelProto:
        """With everything that nothing reads as outputs."""
        infos = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, channels, rows, rows))
            for name, channels, rows in self.values
        ]
        graph = helper.make_graph(
            self.nodes,
            "random",
            infos[:1],
            [info for info in infos[1:] if info.name not in self.read],
            self.initializers,
            value_info=infos[1:],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def int8(graph: Graph) -> Graph:
    """Quantized without data: sizes are all that matters."""
    return quantize(graph, {tensor.name: (-1.0, 1.0) for tensor in graph.activations})


def random_graph(operators: int, seed: int, *, open_ends: bool) -> Graph:
    """A random int8 network; with ``open_ends`` many values are outputs and stay to the end."""
    network = RandomNetwork(seed, open_ends=open_ends)
    for _ in range(operators):
        network.add()
    return int8(fuse(lower(network.model(), name="random")))


def real_graphs() -> dict[str, Graph]:
    """The networks whose weights are random."""
    modules = {name: (make(), (3, 96, 96)) for name, make in MOBILE.items()}
    modules |= {name: (seeded(name), shape) for name, shape in SHAPES.items()}
    graphs = {}
    for name, (module, shape) in modules.items():
        loaded = LoadedModel(kind="module", program=module, source=name)
        stages = float_stages(loaded, [torch.zeros(1, *shape)], "net", lambda _: None)
        graphs[name] = int8(stages.graph)
    return graphs


def measure(name: str, graph: Graph) -> Row:
    """Order and plan one network."""
    code = CodeCache(target=TARGET).code(graph)
    before = plan_arena(graph, code).arena_bytes
    start = time.process_time()
    ordered = order_for_memory(graph, code)
    middle = time.process_time()
    plan = plan_arena(ordered, code)
    end = time.process_time()
    problem = problem_of(graph, code)
    proof = "best"
    if best_order(problem) is None:
        peak = peak_of(problem, near_order(problem))
        proof = f"+ {100 * (peak / peak_bound(problem) - 1):.1f} %"
    return Row(
        network=name,
        operators=len(graph.ops),
        order=proof,
        order_seconds=middle - start,
        arena_as_given_bytes=before,
        arena_bytes=plan.arena_bytes,
        lower_bound_bytes=plan.lower_bound_bytes,
        gap=plan.arena_bytes / plan.lower_bound_bytes - 1,
        plan_seconds=end - middle,
    )


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title="Arena, bytes")
    table.add_column("network")
    table.add_column("operators", justify="right")
    table.add_column("order")
    for heading in ("CPU s", "as given", "arena", "bound", "gap", "CPU s"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.network,
            str(row.operators),
            row.order,
            f"{row.order_seconds:.2f}",
            f"{row.arena_as_given_bytes:,}",
            f"{row.arena_bytes:,}",
            f"{row.lower_bound_bytes:,}",
            f"{100 * row.gap:.2f} %",
            f"{row.plan_seconds:.2f}",
        )
    Console(width=120).print(table)


@click.command()
@click.option(
    "--operators", multiple=True, type=int, default=(50, 100, 200, 400), show_default=True
)
@click.option("--graphs", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(operators: tuple[int, ...], graphs: int, as_json: bool) -> None:
    """Plan networks."""
    rows = [measure(name, graph) for name, graph in real_graphs().items()]
    for count in operators:
        for seed in range(graphs):
            for open_ends in (False, True):
                graph = random_graph(count, seed, open_ends=open_ends)
                ends = "many outputs" if open_ends else "few outputs"
                rows.append(measure(f"random {count}, {ends}, {seed}", graph))
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        show(rows)


if __name__ == "__main__":
    main()
