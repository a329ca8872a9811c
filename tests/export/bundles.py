"""The C folder of a bundle from an int8 Graph, and the Graph in every runtime that must agree."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.c_writer import CSources, Normalization, write_c
from edgefactor.export.ir import Graph
from edgefactor.export.ports import input_rows
from edgefactor.export.reference import run_samples
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.runtime.host import HostRunner
from edgefactor.runtime.litert_runner import LiteRtRunner
from edgefactor.runtime.parity import CodeComparison, compare_codes
from edgefactor.runtime.tflm_runner import TflmRunner

Codes = NDArray[np.int8]


def write_folder(
    graph: Graph,
    folder: Path,
    prefix: str = "net",
    *,
    target: CTarget | None = None,
    normalization: Normalization | None = None,
) -> CSources:
    sources = write_c(graph, target or CTarget(), prefix=prefix, normalization=normalization)
    for name, text in sources.files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return sources


def random_samples(graph: Graph, count: int = 3, seed: int = 0) -> dict[str, Codes]:
    """Uniform codes for every input ``[n, *shape]``; the second sample is all -128 or 127."""
    generator = np.random.default_rng(seed)
    samples = {}
    for port in graph.inputs:
        shape = (count, *graph.tensors[port.tensor].shape)
        codes = generator.integers(-128, 128, shape).astype(np.int8)
        codes[1:2] = np.where(codes[1:2] < 0, -128, 127)
        samples[port.tensor] = codes
    return samples


def assert_equal(comparison: CodeComparison, tensors: int, runtime: str) -> None:
    assert comparison.first is None, (runtime, comparison.first)
    assert comparison.tensors == tensors, runtime
    assert comparison.differing_elements == 0


def check_everywhere(graph: Graph, folder: Path, *, sanitize: bool = False) -> dict[str, Codes]:
    """Compare every tensor of a Graph in NumPy, LiteRT, TFLM and C; returns NumPy's."""
    inputs = random_samples(graph)
    expected = run_samples(graph, inputs)
    order = [tensor.name for tensor in graph.activations]
    file = write_tflite(graph)
    found = {
        "LiteRT": LiteRtRunner(file, reference=True).run(inputs, order),
        "TFLM": TflmRunner(file).run(inputs, order),
    }
    write_folder(graph, folder)
    with HostRunner(folder, sanitize=sanitize) as runner:
        found["C"] = runner.run(input_rows(graph, inputs))
    for runtime, values in found.items():
        assert_equal(compare_codes(expected, values, order), len(order), runtime)
    return expected
