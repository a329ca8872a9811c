"""The two forms of sparse weights beside raw ones, layer by layer: instructions and weight bytes.

    python benchmarks/sparse_forms.py [--estimates] [TARGET ...]

Random weights of which a share is kept. All counts are exact. With --estimates, a grid of layers
beside what the cost model says of them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from edgefactor.errors import EdgefactorError
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.c_writer import write_c
from edgefactor.export.ir import DType, Graph, Port, Quantization, Tensor, constant
from edgefactor.export.ops.conv import Conv2D
from edgefactor.pipeline.run import write_sources
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.targets.catalogue import load_target

FORMS = ("raw", "sparse", "sparse16")
#: What it is: map, inputs, outputs, kernel, share of weights kept, distinct values.
LAYERS = {
    "dense 784->300, 8 %, 15 values": ((1, 1), 784, 300, 1, 0.08, 15),
    "dense 784->300, 8 %, all values": ((1, 1), 784, 300, 1, 0.08, 254),
    "1x1 64->64 on 8x8, 10 %, 15 values": ((8, 8), 64, 64, 1, 0.1, 15),
    "1x1 64->64 on 8x8, 10 %, all values": ((8, 8), 64, 64, 1, 0.1, 254),
    "3x3 32->32 on 8x8, 11 %, 15 values": ((8, 8), 32, 32, 3, 1 / 9, 15),
    "3x3 32->32 on 8x8, 11 %, all values": ((8, 8), 32, 32, 3, 1 / 9, 254),
}


#: Shapes from narrow to wide, for estimates: map, inputs, outputs, kernel, share of weights kept.
GRID = (
    ((1, 1), 784, 300, 1, 0.08), ((1, 1), 784, 300, 1, 0.2), ((1, 1), 128, 64, 1, 0.1),
    ((1, 1), 64, 10, 1, 0.3), ((1, 1), 32, 128, 1, 0.15), ((8, 8), 64, 64, 1, 0.1),
    ((5, 5), 64, 32, 1, 0.15), ((8, 8), 16, 32, 1, 0.25), ((12, 12), 8, 16, 1, 0.3),
    ((6, 6), 128, 64, 1, 0.08), ((3, 3), 32, 48, 1, 0.2), ((8, 8), 32, 32, 3, 1 / 9),
    ((16, 16), 8, 16, 3, 0.2), ((6, 6), 16, 24, 5, 0.1), ((12, 12), 3, 8, 3, 0.3),
    ((4, 4), 64, 48, 3, 0.06),
)  # fmt: skip
FEW, ALL = 15, 254
"""Distinct values: entries of one byte and of two."""


def layer_graph(
    size: tuple[int, int], inputs: int, outputs: int, kernel: int, kept: float, values: int
) -> Graph:
    """One pruned convolution."""
    generator = np.random.default_rng(0)
    pool = generator.choice(np.setdiff1d(np.arange(-127, 128), [0]), values, replace=False)
    shape = (outputs, kernel, kernel, inputs)
    codes = np.where(generator.random(shape) < kept, generator.choice(pool, shape), 0)
    scale, step = float(np.float32(0.002)), float(np.float32(0.05))
    bias_scale = float(np.float32(np.float64(scale) * step))
    one = Quantization(scales=(step,))
    many = Quantization(scales=(scale,) * outputs, axis=0)
    pad = kernel // 2
    tensors = (
        Tensor(name="x", shape=(1, *size, inputs), dtype=DType.INT8, quantization=one),
        constant("w", codes.astype(np.int8), many),
        constant(
            "b", np.zeros(outputs, np.int32), Quantization(scales=(bias_scale,) * outputs, axis=0)
        ),
        Tensor(name="y", shape=(1, *size, outputs), dtype=DType.INT8, quantization=one),
    )
    op = Conv2D(name="y", inputs=("x", "w", "b"), outputs=("y",), padding=(pad, pad, pad, pad))
    ports = [
        Port(tensor=t.name, name=t.name, shape=t.shape, perm=(0, 1, 2, 3))
        for t in (tensors[0], tensors[3])
    ]
    return Graph(
        name="layer",
        tensors={tensor.name: tensor for tensor in tensors},
        ops=(op,),
        inputs=(ports[0],),
        outputs=(ports[1],),
    )


def count(graph: Graph, form: str, name: str) -> tuple[int, int, int] | None:
    """Instructions, weight bytes, estimate; None where the form does not fit the layer."""
    target = load_target(name)
    features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
    c_target = CTarget(features=features, encodings={"y": form})
    try:
        sources = write_c(graph, c_target, prefix="layer")
    except EdgefactorError:
        return None
    size = graph.tensors["x"].bytes
    samples = np.random.default_rng(1).integers(-128, 128, (1, size)).astype(np.int8)
    with tempfile.TemporaryDirectory() as folder:
        write_sources(Path(folder), sources, target)
        with EmulatedRunner(Path(folder) / "c", target) as runner:
            found = runner.instructions(samples).by_layer()["y"]
    code = sources.code["y"]
    return found, code.weight_bytes, code.alternatives[0].instructions


def errors(name: str) -> dict[str, list[float]]:
    """What estimates are off by, as a share of the count, by form."""
    found: dict[str, list[float]] = {}
    for layer in GRID:
        for values in (FEW, ALL):
            graph = layer_graph(*layer, values)
            for form in FORMS[1:]:
                counted = count(graph, form, name)
                if counted is not None:
                    found.setdefault(form, []).append(counted[2] / counted[0] - 1)
    return found


def main() -> None:
    """Prints a table for each target."""
    names = [name for name in sys.argv[1:] if name != "--estimates"] or ["cortex-m4"]
    for name in names:
        if "--estimates" in sys.argv:
            for form, off in errors(name).items():
                mean = sum(map(abs, off)) / len(off)
                print(f"{name} {form}: {len(off)} layers, mean {mean:.1%}, "
                      f"from {min(off):+.1%} to {max(off):+.1%}")  # fmt: skip
            continue
        print(f"| {name} | {' | '.join(FORMS)} |\n|{'---|' * (len(FORMS) + 1)}")
        for title, layer in LAYERS.items():
            graph = layer_graph(*layer)
            cells = [count(graph, form, name) for form in FORMS]
            texts = ["-" if c is None else f"{c[0]:,} / {c[1]:,}" for c in cells]
            print(f"| {title} | {' | '.join(texts)} |")


if __name__ == "__main__":
    main()
