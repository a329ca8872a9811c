"""What the cost model says of sparse layers beside counts on emulated boards."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.c_writer import write_c
from edgefactor.export.ir import DType, Graph, Port, Quantization, Tensor, constant
from edgefactor.export.ops.conv import Conv2D
from edgefactor.pipeline.run import write_sources
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.targets.catalogue import load_target
from tests.tools import require_tool

#: Shapes that the estimates were not fitted to: map, inputs, outputs, kernel, share kept, values.
LAYERS = (
    (1, 300, 100, 1, 0.09, 15),
    (1, 90, 33, 1, 0.3, 200),
    (6, 48, 24, 1, 0.12, 15),
    (7, 24, 20, 1, 0.2, 200),
    (10, 16, 16, 3, 0.1, 15),
)
FORMS = ("sparse", "sparse16")
#: Of a count: how far an estimate may be from it.
BOUND = 0.3


def layer(size: int, inputs: int, outputs: int, kernel: int, kept: float, values: int) -> Graph:
    generator = np.random.default_rng(2)
    pool = generator.choice(np.setdiff1d(np.arange(-127, 128), [0]), values, replace=False)
    shape = (outputs, kernel, kernel, inputs)
    codes = np.where(generator.random(shape) < kept, generator.choice(pool, shape), 0)
    scale, step = float(np.float32(0.002)), float(np.float32(0.05))
    product = float(np.float32(np.float64(scale) * step))
    one = Quantization(scales=(step,))
    pad = kernel // 2
    tensors = (
        Tensor(name="x", shape=(1, size, size, inputs), dtype=DType.INT8, quantization=one),
        constant("w", codes.astype(np.int8), Quantization(scales=(scale,) * outputs, axis=0)),
        constant(
            "b", np.zeros(outputs, np.int32), Quantization(scales=(product,) * outputs, axis=0)
        ),
        Tensor(name="y", shape=(1, size, size, outputs), dtype=DType.INT8, quantization=one),
    )
    op = Conv2D(name="y", inputs=("x", "w", "b"), outputs=("y",), padding=(pad,) * 4)
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


@pytest.mark.parametrize("name", ["cortex-m0plus", "cortex-m4"])
def test_estimates_are_near(name: str, tmp_path: Path) -> None:
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    target = load_target(name)
    features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
    off = {}
    for number, shape in enumerate(LAYERS):
        graph = layer(*shape)
        samples = np.zeros((1, graph.tensors["x"].bytes), np.int8)
        for form in FORMS:
            if form == "sparse" and shape[3] > 1:
                continue
            wanted = CTarget(features=features, encodings={"y": form})
            sources = write_c(graph, wanted, prefix="layer")
            place = tmp_path / f"{number}{form}"
            write_sources(place, sources, target)
            with EmulatedRunner(place / "c", target) as runner:
                counted = runner.instructions(samples).by_layer()["y"]
            off[shape, form] = sources.code["y"].alternatives[0].instructions / counted - 1
    assert len(off) == 9
    assert max(map(abs, off.values())) < BOUND, off
