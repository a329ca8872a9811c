"""What an operator becomes in C: a kernel, its constant data, and the memory it asks for.

Families make these values, the arena planner reads their memory needs, the C writer prints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.encodings.start_up_code import PackedBytes

Section = Literal["weights", "tables"]
#: Between the name of a layer and the number of a stripe of it (``export/arena/stripes.py``).
STRIPE_MARK = "@"
#: Key of a Graph's metadata: the input that the caller hands over row by row instead of whole.
INPUT_BY_ROWS = "input_by_rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class IsaFeatures:
    """What the instruction set offers; code asks for these, never for a target's name.

    Attributes:
        dsp: Has the Armv7E-M / Armv8-M DSP extension (SMLAD and relatives).
        mve: Has the M-profile vector extension.
        unaligned: Loads and stores of words may be unaligned.
    """

    dsp: bool = False
    mve: bool = False
    unaligned: bool = False

    @property
    def plain_multiply(self) -> bool:
        """Whether nothing multiplies and adds at once: Armv6-M, the one without unaligned loads."""
        return not (self.dsp or self.mve or self.unaligned)


@dataclass(frozen=True, slots=True, kw_only=True)
class CTarget:
    """What the choice of kernels depends on.

    Attributes:
        features: Properties of the instruction set.
        optimize: "speed", "size" or "balanced": what to give up last.
        encodings: Encoding forced for a layer, by its name; others are chosen by the cost model.
        arena_bytes: What the arena may take, if that can be had; 0 for no limit.
        huffman: "auto"; "start-up", "tile": only this way; "none": no Huffman codes.
        start_up_bytes: What the arena and weights that are decoded at start-up may take together; 0
            for no such weights.
    """

    features: IsaFeatures = field(default_factory=IsaFeatures)
    optimize: str = "balanced"
    encodings: Mapping[str, str] = field(default_factory=dict)
    arena_bytes: int = 0
    huffman: str = "auto"
    start_up_bytes: int = 0

    @property
    def tile_huffman(self) -> bool:
        """Whether Huffman codes that are decoded by tile may be chosen."""
        return self.huffman in ("auto", "tile")

    def encoding_of(self, layer: str) -> str | None:
        """The encoding forced for a layer; the stripes of one layer share its weights."""
        return self.encodings.get(layer, self.encodings.get(layer.split(STRIPE_MARK)[0]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CArray:
    """One constant array of a layer.

    Attributes:
        suffix: Appended to the layer's C name to give the symbol.
        ctype: Element type in C, such as ``int8_t``.
        data: The elements, one-dimensional.
        section: Whether it counts as weights or as tables in the footprint.
    """

    suffix: str
    ctype: str
    data: NDArray[np.integer]
    section: Section = "tables"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """A reference to one of the layer's arrays (or nested structs), by suffix.

    Attributes:
        suffix: The array's.
        cast: C type to read it as, if not its own.
    """

    suffix: str
    cast: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CSymbol:
    """A C identifier used as a value, such as the name of a decoder function."""

    name: str


#: Values of struct fields; a nested mapping is a nested struct.
CValue = int | Ref | CSymbol | Mapping[str, "CValue"] | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    """One call of a kernel: ``function(&args, in..., out[, scratch])``.

    Attributes:
        function: Public function of ``runtime/csrc``.
        struct: C type of the argument struct.
        args: Its fields in the order of the struct's declaration.
        inputs: Names of the Graph tensors passed as pointers, in order; a Ref for a constant one.
        scratch: Whether the function takes a scratch pointer (NULL if the layer needs none).
        as_bytes: Whether the function takes tensors of any type as bytes (``int8_t *``); else int16
            tensors are passed as ``int16_t *``.
    """

    function: str
    struct: str
    args: Mapping[str, CValue]
    inputs: tuple[str | Ref, ...]
    scratch: bool = False
    as_bytes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alternative:
    """An encoding or kernel that was considered and what it would cost.

    Attributes:
        encoding: Name of the weight encoding.
        bits: Bits per weight.
        kernel: C function.
        flash_bytes: Estimate: weights, table, decoder's code, channel parameters.
        instructions: Estimate for one call.
        scratch_bytes: RAM beside input and output.
        weights_ram_bytes: RAM that holds the weights from start-up on.
        rejected: Why it cannot be used here; empty if it can.
    """

    encoding: str
    bits: int
    kernel: str
    flash_bytes: int
    instructions: int
    scratch_bytes: int = 0
    weights_ram_bytes: int = 0
    rejected: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScratchChoice:
    """An amount of working memory that a kernel can do with.

    Attributes:
        scratch_bytes: The amount.
        instructions: Estimate for one call with it.
        args: What the fields of the call's argument struct become.
        overlaps: As in ``LayerCode``.
    """

    scratch_bytes: int
    instructions: int
    args: Mapping[str, CValue]
    overlaps: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerCode:
    """The C of one operator.

    Attributes:
        calls: Kernel calls in order; empty where the output is the input under another name.
        sources: Files of ``runtime/csrc`` to copy, headers included.
        arrays: Constant data.
        scratch_bytes: Working memory, taken from the arena while the operator runs.
        scratch_choices: What other amounts would do, if any: ascending, each with fewer
            instructions than the one before.
        scratch_lead: Scratch may lie over the first input if it starts at least so many bytes
            before it, because the kernel copies that input to scratch first of all, front to back.
            None: they must not overlap.
        in_place: Indices of inputs whose memory the output may take over.
        overlaps: (index of an input, lead): the output may lie over that input if it starts at
            least ``lead`` bytes before it, because the kernel reads no byte of the input after it
            wrote over it.
        inside: Byte offset at which the output lies in the first input as it is, so that nothing
            need run; None if it does not.
        parts: (index of an input, byte offset): the input may lie in the output there from the
            start; then the call of the same index need not run.
        encoding: How the weights are stored; empty if there are none.
        bits: Bits per stored weight.
        distinct_values: Number of distinct weight codes.
        weight_bytes: Stored weights with their codebook, in bytes.
        alternatives: What else the cost model weighed.
        packed: The weights as Huffman codes that are decoded at start-up; the call's ``weights``
            then have no data. None if it reads them where they lie in flash.
        at_start: What the layer could be instead, with ``packed``; see ``export/start_up.py``.
    """

    calls: tuple[Call, ...]
    sources: tuple[str, ...] = ()
    arrays: tuple[CArray, ...] = ()
    scratch_bytes: int = 0
    scratch_choices: tuple[ScratchChoice, ...] = ()
    scratch_lead: int | None = None
    in_place: tuple[int, ...] = ()
    overlaps: tuple[tuple[int, int], ...] = ()
    inside: int | None = None
    parts: tuple[tuple[int, int], ...] = ()
    encoding: str = ""
    bits: int = 0
    distinct_values: int = 0
    weight_bytes: int = 0
    alternatives: tuple[Alternative, ...] = ()
    packed: PackedBytes | None = None
    at_start: tuple[LayerCode, ...] = ()

    @property
    def is_alias(self) -> bool:
        """Whether nothing runs: the output is the input's memory."""
        return not self.calls

    @property
    def constants(self) -> tuple[CArray, ...]:
        """All constant data, packed weights among them."""
        if self.packed is None:
            return self.arrays
        packed = {"stream": self.packed.stream, "units": self.packed.units}
        return (
            *(
                CArray(suffix=suffix, ctype="uint8_t", data=data, section="weights")
                for suffix, data in packed.items()
            ),
            *self.arrays,
        )

    @property
    def least_scratch(self) -> LayerCode:
        """The same kernel with the least working memory that it can do with."""
        return self.with_scratch(self.scratch_choices[0]) if self.scratch_choices else self

    def with_scratch(self, choice: ScratchChoice) -> LayerCode:
        """The same kernel with another amount of working memory.

        Args:
            choice: One of ``scratch_choices``.
        """
        (call,) = self.calls
        chosen, *others = self.alternatives
        option = replace(
            chosen, scratch_bytes=choice.scratch_bytes, instructions=choice.instructions
        )
        return replace(
            self,
            calls=(replace(call, args={**call.args, **choice.args}),),
            scratch_bytes=choice.scratch_bytes,
            overlaps=choice.overlaps,
            alternatives=(option, *others),
        )
