"""What the measurements return: data before it is text.

Planned and measured figures are separate fields. All sizes are in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchedMemory:
    """RAM that one inference used, found by painting it before and looking at it after.

    Attributes:
        arena_planned_bytes: The arena's size as the model's header states it.
        arena_first_byte: Offset of the first byte that was written; the planned size if none was.
        arena_end_byte: Offset after the last byte that was written. This many bytes the caller
            must provide: the measured size of the arena.
        stack_bytes: Depth of the stack below the caller of the model.
    """

    arena_planned_bytes: int
    arena_first_byte: int
    arena_end_byte: int
    stack_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInstructions:
    """Instructions between two traced tensors, ascribed to the later one."""

    step: int
    tensor: str
    layer: str
    instructions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionCount:
    """Instructions that an emulated processor executed. They are not cycles.

    Attributes:
        per_inference: From the call of the model to its return, copying of inputs and outputs
            included, without any hook; the largest of the samples.
        samples: The same for each sample.
        steps: By traced tensor, for the first sample, counted in a build with hooks whose own cost
            is subtracted. What is before the first and after the last tensor is in none of them.
        resolution: 1 where counts are exact; else they are right to this many instructions.
    """

    per_inference: int
    samples: tuple[int, ...]
    steps: tuple[StepInstructions, ...]
    resolution: int

    def by_layer(self) -> dict[str, int]:
        """Sum of the steps of each layer, in order; steps of no layer (inputs) are left out."""
        sums: dict[str, int] = {}
        for step in self.steps:
            if step.layer:
                sums[step.layer] = sums.get(step.layer, 0) + step.instructions
        return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class StartUp:
    """What decoding the weights once takes; they are not instructions of an inference.

    Attributes:
        instructions: Of ``NAME_prepare``.
        stack_bytes: Depth of the stack below its caller.
    """

    instructions: int
    stack_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionSize:
    """A section of a linked image."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolSize:
    """A function or an array of a linked image."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFlash:
    """Constants of one layer in flash."""

    layer: str
    weights_bytes: int
    tables_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSize:
    """What one C file of the kernels takes in a linked image: code, constants, no padding."""

    source: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashUse:
    """Flash that a linked image takes.

    Attributes:
        total_bytes: All loaded sections: code, constants, initial values, exception tables.
        code_bytes: The total without weights and tables; vectors and padding count as code.
        weights_bytes: Arrays that the model calls weights.
        tables_bytes: Arrays that the model calls tables (biases, multipliers, codebooks, ...).
        sections: Size by section, in the order of their addresses.
        layers: Weights and tables by layer.
        functions: Functions by size, largest first.
        sources: Code and constants by C file of a kernel, largest first.
        missing_symbols: Arrays of the model that the image does not hold: the linker dropped them.
    """

    total_bytes: int
    code_bytes: int
    weights_bytes: int
    tables_bytes: int
    sections: tuple[SectionSize, ...]
    layers: tuple[LayerFlash, ...]
    functions: tuple[SymbolSize, ...]
    sources: tuple[SourceSize, ...]
    missing_symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RamUse:
    """RAM that an inference takes, as measured, with the planned arena beside.

    Attributes:
        arena_planned_bytes: The arena's size as the model's header states it.
        arena_bytes: The part of the arena that was written.
        stack_bytes: Depth of the stack below the caller of the model.
        static_bytes: Variables of the minimal firmware beside arena, weights and stack.
        weights_bytes: Weights that are decoded at start-up.
    """

    arena_planned_bytes: int
    arena_bytes: int
    stack_bytes: int
    static_bytes: int
    weights_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """Arena as planned (the caller provides all of it), weights, stack and variables."""
        variables = self.weights_bytes + self.static_bytes
        return self.arena_planned_bytes + self.stack_bytes + variables
