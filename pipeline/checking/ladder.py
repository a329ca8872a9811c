"""The ladder: every runtime compared with the one before it and with the reference.

Two kinds of rung, never mixed. Where the arithmetic is ours (NumPy reference, LiteRT's reference
kernels, TFLM, C on the host, C on emulated Arm) every tensor must be equal in every element. Where
it is not (PyTorch, ONNX Runtime, LiteRT's default kernels, which requantize in float) a stated
tolerance holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import MissingToolError
from edgefactor.export import numerics
from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import codes_to_graph, quantized_name
from edgefactor.export.ports import decode_outputs, encode_inputs, input_rows
from edgefactor.export.reference import find_fatal, run_samples
from edgefactor.pipeline.bundle import C_FOLDER, GRAPH, INT8_ONNX, TFLITE
from edgefactor.pipeline.checking.onnx_constants import changed_constant
from edgefactor.pipeline.inputs.data import Dataset
from edgefactor.pipeline.report import NotVerified, Rung
from edgefactor.runtime.host import HostRunner
from edgefactor.runtime.litert_runner import LiteRtRunner
from edgefactor.runtime.onnxruntime_runner import OnnxRuntimeRunner
from edgefactor.runtime.parity import Mismatch, as_elements, compare_codes, compare_reals
from edgefactor.runtime.tflm_runner import MOST_TENSORS, TflmRunner
from edgefactor.runtime.tracing import TracingRunner
from edgefactor.targets.description import Target

Codes = NDArray[Any]
Reals = NDArray[np.float32]
Progress = Callable[[str], None]

#: Float runtimes differ in the order of summation only: relative to the largest output.
FLOAT_TOLERANCE = 1e-3
#: Runtimes that requantize in float round some results to the neighbouring code, and later layers
#: carry that on. What the user reads, the output, must stay this close to the exact result.
REQUANTIZED_SQNR_DB = 20.0
_REQUANTIZED = f"output signal-to-noise ratio at least {REQUANTIZED_SQNR_DB:g} dB"
#: int8 against float is quantization itself; below this the export has lost the network.
QUANTIZED_SQNR_DB = 6.0
REFERENCE = "numpy reference"


@dataclass(slots=True)
class Findings:
    """What the ladder has found so far."""

    rungs: list[Rung] = field(default_factory=list)
    not_verified: list[NotVerified] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def skip(self, what: str, error: MissingToolError) -> None:
        """Record a rung that could not run because a tool is missing."""
        hint = f" ({error.hint})" if error.hint else ""
        self.leave_out(what, error.message + hint)

    def leave_out(self, what: str, reason: str) -> None:
        """Record something that is not checked."""
        self.not_verified.append(NotVerified(what=what, reason=reason))


def real_rung(
    name: str,
    against: str,
    expected: Sequence[Reals],
    found: Sequence[Reals],
    *,
    tolerance: float | None = FLOAT_TOLERANCE,
    min_sqnr_db: float | None = None,
) -> Rung:
    """Compare real outputs; the gate is a relative tolerance or a signal-to-noise ratio."""
    comparison = compare_reals(expected, found)
    largest = max(float(np.abs(array).max(initial=0.0)) for array in expected)
    bound = (tolerance or 0.0) * max(largest, 1e-30)
    count = comparison.samples
    beyond = sum(
        # Written so that a NaN counts as beyond.
        int(np.count_nonzero(~(np.abs(a[:count] - b[:count]) <= bound)))
        for a, b in zip(expected, found, strict=True)
    )
    if tolerance is not None:
        passed = beyond == 0
        words = f"largest difference at most {tolerance:g} of the largest output"
    elif min_sqnr_db is not None:
        passed = comparison.sqnr_db >= min_sqnr_db
        words = f"output signal-to-noise ratio at least {min_sqnr_db:g} dB"
    else:
        raise ValueError("a rung needs a gate")
    return Rung(
        rung=name,
        compared_with=against,
        exact_required=False,
        samples=count,
        tensors=len(expected),
        elements=comparison.elements,
        differing_elements=beyond,
        max_difference=comparison.max_difference,
        mean_difference=comparison.mean_difference,
        unit="real",
        sqnr_db=_finite(comparison.sqnr_db),
        argmax_agreement=comparison.argmax_agreement,
        tolerance=words,
        passed=passed,
    )


def _finite(sqnr_db: float) -> float | None:
    """A ratio for the report, where None stands for "equal"."""
    return None if sqnr_db == float("inf") else sqnr_db


def _named(first: Mismatch | None) -> dict[str, Any] | None:
    """A mismatch as the report keeps it: what JSON can hold."""
    return None if first is None else {**asdict(first), "index": list(first.index)}


class Int8Ladder:
    """The rungs below the float model, on the files of a bundle.

    Attributes:
        graph: The int8 Graph.
        folder: The bundle's folder.
        target: What the C was generated for.
        codes: Inputs as codes, ``[n, *shape]``, by tensor name.
        expected: Every tensor by the NumPy reference, ``[n, *shape]``.
        fatal: Why LiteRT's reference kernels and TFLM would end the process, or "".
    """

    def __init__(
        self, graph: Graph, folder: Path, target: Target, data: Dataset, progress: Progress
    ) -> None:
        self.graph, self.folder, self.target = graph, folder, target
        self.progress = progress
        self.order = [tensor.name for tensor in graph.activations]
        progress(REFERENCE)
        self.expected = run_samples(graph, encode_inputs(graph, data.inputs))
        self.codes = {port.tensor: self.expected[port.tensor] for port in graph.inputs}
        self.inputs = _with_states(graph, data.inputs, self.codes)
        self.fatal = find_fatal(graph, self.expected)
        self.outputs = decode_outputs(graph, self.expected)

    def _rung(
        self, name: str, found: Mapping[str, Codes], *, exact: bool, outputs_only: str = ""
    ) -> Rung:
        """Compare a runtime; ``outputs_only`` says why it has no other tensors, if it has not."""
        comparison = compare_codes(self.expected, found, self.order)
        count = comparison.samples
        wanted = [array[:count] for array in self.outputs]
        got = decode_outputs(self.graph, self._as_elements(found))
        real = compare_reals(wanted, got)
        if exact:
            ports = len({port.tensor for port in self.graph.outputs})
            due = ports if outputs_only else len(self.order)
            passed = comparison.differing_elements == 0 and comparison.tensors == due
            words = "every element of every tensor equal"
            if outputs_only:
                words = f"every element of every output equal: {outputs_only}"
        else:
            passed = real.sqnr_db >= REQUANTIZED_SQNR_DB
            words = _REQUANTIZED
        return Rung(
            rung=name,
            compared_with=REFERENCE,
            exact_required=exact,
            samples=count,
            tensors=comparison.tensors,
            elements=comparison.elements,
            differing_elements=comparison.differing_elements,
            max_difference=comparison.max_difference,
            mean_difference=comparison.mean_difference,
            unit="codes",
            sqnr_db=_finite(real.sqnr_db),
            argmax_agreement=real.argmax_agreement,
            tolerance=words,
            passed=passed,
            first_mismatch=_named(comparison.first),
        )

    def _as_elements(self, found: Mapping[str, Codes]) -> dict[str, Codes]:
        """The outputs in their types and shapes: C gives bytes."""
        result = {}
        for port in self.graph.outputs:
            tensor = self.graph.tensors[port.tensor]
            codes = as_elements(found[port.tensor], np.dtype(str(tensor.dtype)))
            result[port.tensor] = codes.reshape(-1, *tensor.shape)
        return result

    def quantization(self, expected: Sequence[Reals], against: str) -> Rung:
        """The int8 arithmetic against the float model: what quantization itself costs."""
        return real_rung(
            REFERENCE,
            against,
            expected,
            self.outputs,
            tolerance=None,
            min_sqnr_db=QUANTIZED_SQNR_DB,
        )

    def onnxruntime(self) -> Rung:
        """The QDQ file in ONNX Runtime, every tensor."""
        name = "onnxruntime int8"
        self.progress(name)
        runner = OnnxRuntimeRunner(self.folder / INT8_ONNX)
        fetched = [quantized_name(tensor) for tensor in self.order]
        feeds = {
            port.name: array for port, array in zip(self.graph.inputs, self.inputs, strict=True)
        }
        values = runner.run(feeds, fetched)
        found = {
            tensor: _restack(values[value], self.graph, tensor)
            for tensor, value in zip(self.order, fetched, strict=True)
        }
        rung = self._rung(name, found, exact=False)
        # A wrong weight hides in the tolerance for results, so the file's constants are compared.
        changed = changed_constant(self.folder / INT8_ONNX, self.graph)
        if changed is None:
            return rung
        return replace(
            rung,
            passed=False,
            tolerance=f"{rung.tolerance}, and every constant as in {GRAPH}",
            first_mismatch=_named(changed),
        )

    def litert(self, *, reference: bool) -> Rung:
        """The TFLite file in LiteRT: reference kernels (exact) or the default ones."""
        runner = LiteRtRunner(self.folder / TFLITE, reference=reference)
        name = f"litert {'reference' if reference else 'default'}"
        self.progress(name)
        return self._rung(name, runner.run(self.codes, self.order), exact=reference)

    def tflm(self) -> Rung:
        """The TFLite file in TensorFlow Lite Micro's own kernels."""
        name = "tflm"
        self.progress(name)
        runner = TflmRunner(self.folder / TFLITE)
        found = runner.run(self.codes, self.order)
        reason = "" if runner.keeps_tensors else f"it keeps no more than {MOST_TENSORS} tensors"
        return self._rung(name, found, exact=True, outputs_only=reason)

    def c_code(self, runner: TracingRunner, name: str, samples: int) -> Rung:
        """The generated C, every tensor."""
        self.progress(name)
        rows = input_rows(self.graph, self.codes)[:samples]
        return self._rung(name, runner.run(rows), exact=True)


def _with_states(
    graph: Graph, inputs: Sequence[Reals], codes: Mapping[str, Codes]
) -> tuple[Reals, ...]:
    """Real inputs with states as the integer network has carried them."""
    states = {state.input for state in graph.states}
    result = []
    for port, array in zip(graph.inputs, inputs, strict=True):
        if port.name in states:
            quantization = graph.tensors[port.tensor].quant
            real = port.from_graph(numerics.dequantize(codes[port.tensor], quantization))
            array = np.asarray(real, np.float32).reshape(array.shape)
        result.append(array)
    return tuple(result)


def _restack(value: NDArray[np.generic], graph: Graph, tensor: str) -> Codes:
    """A stack ``[n, 1, ...]`` or ``[n, ...]`` from ONNX -> ``[n, *Graph shape]``."""
    shape = graph.tensors[tensor].shape
    codes = np.asarray(value, str(graph.tensors[tensor].dtype))
    if len(shape) == 4:
        flat = codes.reshape(-1, shape[3], shape[1], shape[2])
        codes = codes_to_graph(flat, graph.tensors[tensor])
    return codes.reshape(-1, *shape)


def attempt(findings: Findings, what: str, rung: Callable[[], Rung], excuse: str = "") -> None:
    """Run a rung; a missing tool is recorded, a wrong result is a rung that failed.

    Where there is an ``excuse`` for results that are further away than rounding alone brings them,
    they are recorded as not verified, with it.
    """
    try:
        found = rung()
    except MissingToolError as error:
        findings.skip(what, error)
        return
    if excuse and not found.passed and found.tolerance == _REQUANTIZED:
        ratio = "no" if found.sqnr_db is None else f"{found.sqnr_db:.1f} dB of"
        findings.leave_out(what, f"{excuse} ({ratio} output signal-to-noise ratio)")
    else:
        findings.rungs.append(found)


def host_runner(ladder: Int8Ladder) -> AbstractContextManager[HostRunner]:
    """The bundle's C compiled for this computer: the target's kernels, their DSP parts in C."""
    return HostRunner(ladder.folder / C_FOLDER)
