"""What the generated C takes on the device: flash, RAM and instructions, planned and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code.layer_code import LayerCode
from edgefactor.export.c_writer import CSources
from edgefactor.export.ir import Graph, Op
from edgefactor.export.ops import matmul
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.matmul import MatMul
from edgefactor.export.ops.recurrent.op import Recurrent
from edgefactor.pipeline.report import Flash, Layer, Ram
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.memory import flash_use, ram_use
from edgefactor.runtime.results import FlashUse, InstructionCount, RamUse, StartUp

#: Stands for the kernel of an operator that is only another view of its input.
NO_KERNEL = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Figures from the linked image and from the emulator; None where that did not run."""

    flash: FlashUse
    ram: RamUse | None = None
    instructions: InstructionCount | None = None
    start_up: StartUp | None = None


def measure_flash(runner: EmulatedRunner, sources: CSources) -> Measured:
    """Link the minimal firmware, which needs the compiler but no emulator.

    Args:
        runner: The emulated target with the bundle's C.
        sources: The generated C, for the roles of its arrays.
    """
    return Measured(flash=flash_use(runner.firmware(), sources.symbols))


def measure_running(
    runner: EmulatedRunner, measured: Measured, inputs: NDArray[np.int8], sources: CSources
) -> Measured:
    """Add what the measuring builds find out in the emulator.

    Args:
        runner: The emulated target with the bundle's C.
        measured: The linked image.
        inputs: Samples ``[n, bytes]``; memory is the most of all, instructions per layer are the
            first sample's.
        sources: The generated C, for whether it decodes weights at start-up.
    """
    ram = ram_use(runner.firmware(), runner.memory(inputs))
    start_up = runner.start_up(inputs) if sources.prepared_bytes else None
    if start_up is not None:
        ram = replace(ram, stack_bytes=max(ram.stack_bytes, start_up.stack_bytes))
    instructions = runner.instructions(inputs)
    return replace(measured, ram=ram, instructions=instructions, start_up=start_up)


def _planned_weights(code: Mapping[str, LayerCode]) -> int:
    return sum(layer.weight_bytes for layer in code.values())


def flash(sources: CSources, measured: Measured | None) -> Flash:
    """Flash for the report."""
    planned = _planned_weights(sources.code)
    if measured is None:
        return Flash(
            total=None,
            code=None,
            weights=None,
            tables=None,
            planned_weights=planned,
            sections={},
            kernels={},
        )
    use = measured.flash
    return Flash(
        total=use.total_bytes,
        code=use.code_bytes,
        weights=use.weights_bytes,
        tables=use.tables_bytes,
        planned_weights=planned,
        sections={section.name: section.size_bytes for section in use.sections},
        kernels={entry.source: entry.size_bytes for entry in use.sources},
    )


def ram(sources: CSources, measured: Measured | None) -> Ram:
    """RAM for the report."""
    plan = sources.plan
    if measured is None or measured.ram is None:
        return Ram(
            arena=None,
            stack=None,
            static=None,
            total=None,
            planned_arena=plan.arena_bytes,
            arena_lower_bound=plan.lower_bound_bytes,
            weights=sources.prepared_bytes,
        )
    use = measured.ram
    return Ram(
        arena=use.arena_bytes,
        stack=use.stack_bytes,
        static=use.static_bytes,
        total=use.total_bytes,
        planned_arena=plan.arena_bytes,
        arena_lower_bound=plan.lower_bound_bytes,
        weights=sources.prepared_bytes,
    )


def multiply_accumulates(op: Op, graph: Graph) -> int:
    """Products of weights and activations, or of two activations, in one inference."""
    if isinstance(op, MatMul):
        return matmul.multiply_accumulates(op, graph)
    if isinstance(op, Recurrent):
        sizes = [graph.tensors[name].elements for name in (op.inputs[1], op.inputs[3])]
        return graph.tensors[op.inputs[0]].shape[1] * sum(sizes)
    if not isinstance(op, Conv2D):
        return 0
    weights = graph.tensors[op.inputs[1]].shape
    return graph.tensors[op.outputs[0]].elements * int(np.prod(weights[1:]))


def layers(graph: Graph, sources: CSources, measured: Measured | None) -> tuple[Layer, ...]:
    """One row per operator, in execution order."""
    count = measured.instructions if measured else None
    counts = count.by_layer() if count else {}
    rows = []
    for op in graph.ops:
        code = sources.code[op.name]
        tables = sum(array.data.nbytes for array in code.constants if array.section == "tables")
        rows.append(
            Layer(
                name=op.name,
                operator=type(op).__name__,
                encoding=code.encoding,
                bits=code.bits,
                distinct_values=code.distinct_values,
                weight_bytes=code.weight_bytes,
                table_bytes=tables,
                kernel=", ".join(dict.fromkeys(call.function for call in code.calls)) or NO_KERNEL,
                macs=multiply_accumulates(op, graph),
                output_bytes=graph.tensors[op.outputs[0]].bytes,
                scratch_bytes=code.scratch_bytes,
                instructions=counts.get(op.name),
                source=op.source,
                kernel_files=tuple(name for name in code.sources if name.endswith(".c")),
                alternatives=tuple(
                    {
                        "encoding": option.encoding,
                        "bits": option.bits,
                        "kernel": option.kernel,
                        "flash_bytes": option.flash_bytes,
                        "instructions": option.instructions,
                        "scratch_bytes": option.scratch_bytes,
                        "weights_ram_bytes": option.weights_ram_bytes,
                    }
                    for option in code.alternatives
                    if not option.rejected
                ),
                rejected=tuple(
                    {
                        "encoding": option.encoding,
                        "kernel": option.kernel,
                        "reason": option.rejected,
                    }
                    for option in code.alternatives
                    if option.rejected
                ),
            )
        )
    return tuple(rows)
