"""What each instruction of an image costs on a Cortex-M4 or M0+ without wait states: an estimate.

From the tables of instruction timings in the Arm Cortex-M4 (DDI 0439, 3.3) and Cortex-M0+ (DDI
0484, 3.3) technical reference manuals, by the disassembly alone: a load that follows another load
is pipelined, an address that the instruction before has just computed costs one more cycle. No
silicon was measured; there are no such tables for cores that issue two instructions at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgefactor.runtime.toolchain import run

CLASSES = ("load", "store", "multiply", "branch", "other")
REFILL = 2
"""Cycles that a Cortex-M4 needs to fill its pipeline after a branch that is taken (1 to 3)."""

_LINE = re.compile(r"\s*([0-9a-f]+):\t((?:[0-9a-f]{4} ?)+)\s*\t(\S+)(?:\t([^;@]*))?")
_REGISTER = re.compile(r"\b(r\d+|sl|fp|ip|sp|lr|pc)\b")
_BRANCH = re.compile(r"(bl?x?|cbn?z|b(eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al|hs|lo))")
_MULTIPLY = re.compile(r"(smla|smlal|smlsd|smul|smull|smmul|smmla|smmls|smuad|smusd|umull|umlal|"
                       r"umaal|mla|mls|muls?)")  # fmt: skip
_DIVISION_CYCLES = 7
"""Of 2 to 12."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction of the disassembly."""

    address: int
    size: int
    name: str
    operands: str

    @property
    def registers(self) -> list[str]:
        """All that are named, in order."""
        return _REGISTER.findall(self.operands)

    @property
    def address_registers(self) -> set[str]:
        """Those between brackets."""
        return set(_REGISTER.findall("".join(re.findall(r"\[([^\]]*)", self.operands))))

    @property
    def listed(self) -> int:
        """Registers in a list between braces."""
        inside = re.search(r"\{(.*)\}", self.operands)
        count = 0
        for part in inside[1].split(",") if inside else ():
            ends = [_NUMBERS.get(name.strip(), 0) for name in part.split("-")]
            count += ends[-1] - ends[0] + 1
        return count

    @property
    def kind(self) -> str:
        """One of ``CLASSES``."""
        if re.match(r"(v?ldr|v?ldm|v?pop|vpop)", self.name):
            return "load"
        if re.match(r"(v?str|v?stm|v?push)", self.name):
            return "store"
        if _BRANCH.fullmatch(self.name) or self.name in ("tbb", "tbh"):
            return "branch"
        return "multiply" if _MULTIPLY.match(self.name) else "other"


_NUMBERS = {
    **{f"{kind}{number}": number for kind in "rsd" for number in range(32)},
    **{"sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14, "pc": 15},
}


def disassemble(image: Path) -> Iterator[Instruction]:
    """The instructions of an image, in order; data between them is left out."""
    text = run(("arm-none-eabi-objdump", "-d", image), timeout_seconds=120).stdout
    for line in text.splitlines():
        found = _LINE.match(line)
        if found and not found[3].startswith("."):
            yield Instruction(
                address=int(found[1], 16),
                size=2 * len(found[2].split()),
                name=found[3].removesuffix(".w").removesuffix(".n"),
                operands=(found[4] or "").strip(),
            )


def cortex_m4(one: Instruction, before: Instruction | None) -> tuple[int, int]:
    """Cycles if the next instruction in memory follows, and if another one does."""
    multiple = re.match(r"v?(ldm|stm|push|pop)|(ldr|str)d", one.name)
    if multiple:
        cycles = 3 if multiple[2] else 1 + one.listed
    elif one.kind == "load":
        follows = before is not None and _single_load(before) and not _made(before) & _uses(one)
        cycles = 1 if follows else 2 + _stalls(one, before)
    elif one.kind == "store":
        follows = before is not None and _single_load(before)
        cycles = 1 if follows else 1 + _stalls(one, before)
    elif one.name in ("sdiv", "udiv"):
        cycles = _DIVISION_CYCLES
    elif one.name in ("tbb", "tbh"):
        cycles = 2
    else:
        cycles = 1
    return cycles, cycles + REFILL


def cortex_m0plus(one: Instruction, before: Instruction | None) -> tuple[int, int]:
    """The same for a core with two pipeline stages and a multiplier of one cycle."""
    if re.match(r"(ldm|stm|push|pop)", one.name):
        return 1 + one.listed, 3 + one.listed
    if one.kind in ("load", "store"):
        return 2, 4
    # BL takes 3, other branches that are taken 2.
    return 1, 3 if one.name == "bl" else 2


def _single_load(one: Instruction) -> bool:
    return one.kind == "load" and re.match(r"v?(ldm|pop)|ldrd", one.name) is None


def _made(one: Instruction) -> set[str]:
    return set(one.registers[:1])


def _uses(one: Instruction) -> set[str]:
    return one.address_registers


def _stalls(one: Instruction, before: Instruction | None) -> int:
    """Whether the instruction before computes the address."""
    if before is None or before.kind in ("load", "store", "branch"):
        return 0
    if before.name.startswith(("cmp", "cmn", "tst", "teq", "it", "nop")):
        return 0
    return int(bool(_made(before) & _uses(one)))


MODELS: dict[str, Callable[[Instruction, Instruction | None], tuple[int, int]]] = {
    "cortex-m4": cortex_m4,
    "cortex-m0plus": cortex_m0plus,
}
"""By target; others have no estimate."""


def write_table(image: Path, target: str, table: Path) -> None:
    """Write what count_plugin.c reads: a line an instruction."""
    model = MODELS.get(target, cortex_m4)
    lines = []
    before: Instruction | None = None
    for one in disassemble(image):
        adjacent = before is not None and before.address + before.size == one.address
        cycles, taken = model(one, before if adjacent else None)
        kind = CLASSES.index(one.kind)
        lines.append(f"{one.address:x} {one.size:x} {cycles:x} {taken:x} {kind:x}")
        before = one
    table.write_text("\n".join(lines) + "\n")
