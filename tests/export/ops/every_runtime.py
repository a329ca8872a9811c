"""Runs Graphs of many operators in everything that implements them, and compares every element.

One Graph holds a whole table of cases side by side, so that each runtime starts and each compiler
runs once a table. LiteRT's reference kernels and TFLM's are the oracles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.c_writer import write_c
from edgefactor.export.ir import DType, Graph, Op, Port, Quantization, Tensor, constant
from edgefactor.export.reference import run_reference
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.export.validate import validate
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.host import HostRunner
from edgefactor.runtime.litert_runner import LiteRtRunner
from edgefactor.runtime.parity import as_elements
from edgefactor.runtime.tflm_runner import TflmRunner
from edgefactor.targets.catalogue import load_target
from tests.export.ops.oracles import CSRC
from tests.tools import require_tool

Codes = NDArray[Any]

#: Every int8 code once.
CODES = np.arange(-128, 128, dtype=np.int8)


def quantization(scale: float, zero_point: int) -> Quantization:
    return Quantization(scales=(float(np.float32(scale)),), zero_point=zero_point)


def random_quantization(generator: np.random.Generator) -> Quantization:
    """Scales over three orders of magnitude, zero points over all of int8."""
    scale = float(np.exp(generator.uniform(np.log(1e-3), np.log(0.5))))
    return quantization(
        scale, int(generator.choice([-128, 127, *generator.integers(-128, 128, 4)]))
    )


def near(source: Quantization, generator: np.random.Generator, reach: float = 1.5) -> Quantization:
    """A scale within exp(+-reach) of another, any zero point."""
    scale = source.scale * float(np.exp(generator.uniform(-reach, reach)))
    return quantization(scale, int(generator.choice([-128, *generator.integers(-128, 128, 2)])))


def activation(
    name: str, shape: Sequence[int], quant: Quantization, dtype: DType = DType.INT8
) -> Tensor:
    return Tensor(name=name, shape=tuple(shape), dtype=dtype, quantization=quant)


def held(name: str, codes: Codes, quant: Quantization) -> Tensor:
    return constant(name, codes, quant)


def graph_of(
    cases: Sequence[tuple[Op, Quantization]],
    tensors: Sequence[Tensor],
    name: str = "case",
    dtype: DType = DType.INT8,
) -> Graph:
    """Operators side by side (or after one another); all their results are outputs.

    ``dtype`` is that of the results. Unlike in a network that is exported, int16 tensors may be
    inputs and outputs here; C takes and returns their bytes.
    """
    known = {tensor.name: tensor for tensor in tensors}
    for op, quant in cases:
        family = ops.family_of(op)
        shape = family.output_shape(op, [known[n] for n in op.inputs])
        rule = (family.wide_output_rule if dtype is DType.INT16 else family.output_rule)(op)
        chosen = rule if isinstance(rule, Quantization) else quant
        known[op.outputs[0]] = activation(op.outputs[0], shape, chosen, dtype)
    graph = Graph(
        name=name,
        tensors=known,
        ops=tuple(op for op, _ in cases),
        inputs=tuple(_port(tensor) for tensor in tensors if tensor.data is None),
        outputs=tuple(_port(known[op.outputs[0]]) for op, _ in cases),
    )
    return validate(graph, "test", quantized=True)


def last_only(graph: Graph) -> Graph:
    """The same Graph with its last operator's result as the only output."""
    return replace(graph, outputs=graph.outputs[-1:])


def _port(tensor: Tensor) -> Port:
    axes = tuple(range(len(tensor.shape)))
    return Port(tensor=tensor.name, name=tensor.name, shape=tensor.shape, perm=axes)


def write_sources(graph: Graph, folder: Path, target: CTarget | None = None) -> Path:
    """The C of a Graph, as a bundle holds it."""
    for path, text in write_c(graph, target or CTarget(), prefix="case").files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def check_everywhere(
    graph: Graph, inputs: Mapping[str, Codes], folder: Path, target: CTarget | None = None
) -> dict[str, Codes]:
    """Compare NumPy, LiteRT, TFLM and sanitized C on the host; return NumPy's results."""
    expected = run_reference(graph, dict(inputs))
    names = [op.outputs[0] for op in graph.ops]
    model = write_tflite(graph)
    samples = {name: codes[None] for name, codes in inputs.items()}
    for runner in (LiteRtRunner(model), TflmRunner(model)):
        found = runner.run(samples, names)
        for name in names:
            np.testing.assert_array_equal(
                found[name].reshape(expected[name].shape),
                expected[name],
                f"{runner.name}: {name} {graph.producer(name)}",
            )
    require_tool("gcc")
    flat = np.concatenate([_bytes(inputs[port.tensor]) for port in graph.inputs])[None]
    with HostRunner(write_sources(graph, folder, target), sanitize=True) as host:
        traced = host.run(flat, names)
        whole = host.outputs(flat)
    for name in names:
        np.testing.assert_array_equal(
            as_elements(traced[name][0], expected[name].dtype),
            expected[name].reshape(-1),
            f"C: {name}",
        )
    outputs = [_bytes(expected[port.tensor]) for port in graph.outputs]
    np.testing.assert_array_equal(whole[0], np.concatenate(outputs))
    return expected


def check_plain_twin(
    graph: Graph, inputs: Mapping[str, Codes], folder: Path, function: str
) -> None:
    """Compare a kernel's ``_ref`` twin, called in its place, with NumPy; under sanitizers."""
    require_tool("gcc")
    sources = write_sources(graph, folder)
    twin = f"{function}_ref"
    text = (sources / "case.c").read_text().replace(f"{function}(", f"{twin}(")
    (sources / "case.c").write_text(text)
    (sources / "kernels" / f"{twin}.c").write_text((CSRC / f"{twin}.c").read_text())
    with HostRunner(sources, sanitize=True) as host:
        _equal_to_numpy(graph, inputs, host.run(_flat(graph, inputs), _results(graph)))


def check_on_board(graph: Graph, inputs: Mapping[str, Codes], folder: Path, target: str) -> None:
    """Compare the C for an emulated target with NumPy."""
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    board = load_target(target)
    features = IsaFeatures(dsp=board.dsp, mve=board.mve, unaligned=board.unaligned)
    sources = write_sources(graph, folder, CTarget(features=features))
    with EmulatedRunner(sources, board) as runner:
        _equal_to_numpy(graph, inputs, runner.run(_flat(graph, inputs)))


def _flat(graph: Graph, inputs: Mapping[str, Codes]) -> NDArray[np.int8]:
    """One sample of all inputs, one after the other."""
    return np.concatenate([_bytes(inputs[port.tensor]).reshape(-1) for port in graph.inputs])[None]


def _results(graph: Graph) -> list[str]:
    return [name for op in graph.ops for name in op.outputs]


def _equal_to_numpy(graph: Graph, inputs: Mapping[str, Codes], found: Mapping[str, Codes]) -> None:
    """Compare all tensors that were found; no result may be missing."""
    expected = {**inputs, **run_reference(graph, inputs)}
    assert set(_results(graph)) <= set(found)
    for name, codes in found.items():
        flat = expected[name].reshape(-1)
        np.testing.assert_array_equal(as_elements(codes[0], flat.dtype), flat, name)


def _bytes(codes: Codes) -> NDArray[np.int8]:
    return np.ascontiguousarray(codes).reshape(-1).view(np.int8)
