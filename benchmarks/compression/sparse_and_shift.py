"""Instructions of the sparse and shift kernels on emulated boards, beside the dense ones.

    python benchmarks/compression/sparse_and_shift.py [TARGET...]

The estimates of export/conv_kernels/sparse.py and pipeline/compress/layer_cost.py are fits to
these counts.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.c_writer import write_c
from edgefactor.export.ir import DType, Graph, Op, Port, Quantization, Tensor, constant
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.shift import Shift
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.targets.catalogue import load_target

#: Side of the map, inputs, outputs, weights kept of each 3x3 kernel.
SPARSE = [(14, 16, 32, 1), (7, 32, 64, 1), (8, 64, 64, 1), (8, 64, 64, 2), (16, 8, 8, 1)]
#: Side of the map, channels, channels in a run.
SHIFTS = [(14, 16, 1), (14, 36, 4), (8, 64, 1), (8, 64, 8), (16, 32, 3)]
NINE = tuple((rows, columns) for rows in (-1, 0, 1) for columns in (-1, 0, 1))


def one_scale(scale: float) -> Quantization:
    """A scale for a whole tensor."""
    return Quantization(scales=(float(np.float32(scale)),))


class Cases:
    """Layers side by side, each with an input of its own."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.graph_ops: list[Op] = []
        self.inputs: list[str] = []

    def _input(self, shape: tuple[int, ...]) -> str:
        name = f"x{len(self.inputs)}"
        self.tensors[name] = Tensor(
            name=name, shape=shape, dtype=DType.INT8, quantization=one_scale(0.05)
        )
        self.inputs.append(name)
        return name

    def _add(self, op: Op) -> None:
        inputs = [self.tensors[name] for name in op.inputs]
        shape = ops.family_of(op).output_shape(op, inputs)
        (name,) = op.outputs
        scale = one_scale(0.05 if isinstance(op, Shift) else 0.5)
        self.tensors[name] = Tensor(name=name, shape=shape, dtype=DType.INT8, quantization=scale)
        self.graph_ops.append(op)

    def convolution(self, name: str, side: int, inputs: int, outputs: int, kept: int) -> None:
        """3x3 with ``kept`` weights in each kernel."""
        generator = np.random.default_rng(0)
        codes = np.zeros((outputs, 9, inputs), np.int8)
        for o, i in np.ndindex(outputs, inputs):
            places = generator.permutation(9)[:kept]
            codes[o, places, i] = generator.integers(1, 128, kept)
        scales = Quantization(scales=(float(np.float32(0.01)),) * outputs, axis=0)
        bias = Quantization(scales=(float(np.float32(0.01) * np.float32(0.05)),) * outputs, axis=0)
        weights = codes.reshape(outputs, 3, 3, inputs)
        self.tensors[f"{name}.w"] = constant(f"{name}.w", weights, scales)
        self.tensors[f"{name}.b"] = constant(f"{name}.b", np.zeros(outputs, np.int32), bias)
        x = self._input((1, side, side, inputs))
        names = (x, f"{name}.w", f"{name}.b")
        self._add(Conv2D(name=name, inputs=names, outputs=(name,), padding=(1, 1, 1, 1)))

    def shift(self, name: str, side: int, channels: int, run: int) -> None:
        """``run`` neighbouring channels move alike."""
        moves = tuple(NINE[channel // run % 9] for channel in range(channels))
        x = self._input((1, side, side, channels))
        self._add(Shift(name=name, inputs=(x,), outputs=(name,), moves=moves))

    def graph(self) -> Graph:
        """All of them; every result is an output."""

        def port(name: str) -> Port:
            shape = self.tensors[name].shape
            return Port(tensor=name, name=name, shape=shape, perm=tuple(range(len(shape))))

        return Graph(
            name="cases",
            tensors=self.tensors,
            ops=tuple(self.graph_ops),
            inputs=tuple(map(port, self.inputs)),
            outputs=tuple(port(op.outputs[0]) for op in self.graph_ops),
        )


def main() -> None:
    """Prints a table for each target."""
    cases = Cases()
    for side, inputs, outputs, kept in SPARSE:
        for kind in ("sparse", "dense"):
            name = f"{kind}_{side}_{inputs}_{outputs}_{kept}"
            cases.convolution(name, side, inputs, outputs, kept)
    for side, channels, run in SHIFTS:
        cases.shift(f"shift_{side}_{channels}_runs_of_{run}", side, channels, run)
    graph = cases.graph()
    encodings = {op.name: "raw" for op in graph.ops if op.name.startswith("dense")}
    encodings |= {op.name: "sparse16" for op in graph.ops if op.name.startswith("sparse")}
    for name in sys.argv[1:] or ["cortex-m4", "cortex-m0plus"]:
        target = load_target(name)
        features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
        sources = write_c(graph, CTarget(features=features, encodings=encodings), prefix="cases")
        with tempfile.TemporaryDirectory() as folder:
            for path, text in sources.files.items():
                place = Path(folder) / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
            size = sum(graph.tensors[port.tensor].bytes for port in graph.inputs)
            samples = np.random.default_rng(1).integers(-128, 128, (1, size)).astype(np.int8)
            with EmulatedRunner(Path(folder), target) as runner:
                count = runner.instructions(samples)
        print(name)
        print("| layer | instructions | estimate | an element or product |\n|---|---|---|---|")
        counts = count.by_layer()
        for op in graph.ops:
            code = sources.code[op.name]
            estimate = code.alternatives[0].instructions if code.alternatives else 0
            output = graph.tensors[op.outputs[0]].elements
            work = output
            if isinstance(op, Conv2D):
                kept = np.count_nonzero(graph.tensors[op.inputs[1]].values)
                work = kept * output // graph.tensors[op.outputs[0]].shape[3]
            counted = counts[op.name]
            print(f"| {op.name} | {counted:,} | {estimate:,} | {counted / work:.2f} |")


if __name__ == "__main__":
    main()
