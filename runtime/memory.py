"""Flash and RAM of a linked image, read from its ELF file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from edgefactor.errors import ToolError
from edgefactor.runtime.results import (
    FlashUse,
    LayerFlash,
    RamUse,
    SectionSize,
    SourceSize,
    SymbolSize,
    TouchedMemory,
)

SHF_ALLOC = 2

ARENA_SYMBOL = "ef_firmware_arena"
"""The arena in targets/support/main.c."""

WEIGHTS_SYMBOL = "ef_firmware_weights"
"""Weights decoded at start-up, there too."""

KERNEL_PREFIX = "ef_"
"""Of the files in runtime/csrc, and of their public functions."""

KERNEL_FOLDER = Path(__file__).with_name("csrc")

DEFINITION = re.compile(
    r"^(?!static|typedef)(?:EF_NAKED )?[a-z]\w* (?:\w+ )*\*?(ef_\w+)"
    r"(?:[\[\w+ \]]* = \{|\([^;]*?\)\n\{)",
    re.M,
)
"""A public function or constant of a kernel, as the sources are laid out."""

STACK_SECTION = ".stack"

BSS_ALIGNMENT = 8
"""To which targets/support/sections.ld rounds the end of .bss."""

BLOCK_ALIGNMENT = 16
"""Of arena and weights in targets/support/main.c."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """Loaded sections, sections of RAM, and sized symbols."""

    loaded: tuple[SectionSize, ...]
    cleared: tuple[SectionSize, ...]
    initialized_bytes: int
    functions: Mapping[str, int]
    objects: Mapping[str, int]
    sources: Mapping[str, int]


def flash_use(elf: Path, symbols: Mapping[str, tuple[str, str]]) -> FlashUse:
    """Measure the flash of a linked image.

    Args:
        elf: The image; the minimal firmware for the figures of a report.
        symbols: What the model's arrays are for, by C symbol: the layer's name, and "weights" or
            "tables".

    Raises:
        ToolError: The file is no ELF image.
    """
    image = _read(elf)
    layers: dict[str, dict[str, int]] = {}
    missing = []
    for symbol, (layer, kind) in symbols.items():
        if symbol not in image.objects:
            missing.append(symbol)
            continue
        sums = layers.setdefault(layer, {"weights": 0, "tables": 0})
        sums[kind] += image.objects[symbol]
    weights_bytes = sum(sums["weights"] for sums in layers.values())
    tables_bytes = sum(sums["tables"] for sums in layers.values())
    total_bytes = sum(section.size_bytes for section in image.loaded)
    by_size = sorted(image.functions.items(), key=lambda item: (-item[1], item[0]))
    return FlashUse(
        total_bytes=total_bytes,
        code_bytes=total_bytes - weights_bytes - tables_bytes,
        weights_bytes=weights_bytes,
        tables_bytes=tables_bytes,
        sections=image.loaded,
        layers=tuple(
            LayerFlash(layer=layer, weights_bytes=sums["weights"], tables_bytes=sums["tables"])
            for layer, sums in layers.items()
        ),
        functions=tuple(SymbolSize(name=name, size_bytes=size) for name, size in by_size),
        sources=tuple(
            SourceSize(source=source, size_bytes=size)
            for source, size in sorted(image.sources.items(), key=lambda item: (-item[1], item[0]))
        ),
        missing_symbols=tuple(missing),
    )


def ram_use(elf: Path, touched: TouchedMemory) -> RamUse:
    """Put together the RAM of an inference from the minimal firmware and what was touched.

    Raises:
        ToolError: The file is no ELF image, or not the minimal firmware.
    """
    image = _read(elf)
    if ARENA_SYMBOL not in image.objects:
        raise ToolError("the image is not the minimal firmware", where=str(elf))
    cleared_bytes = sum(
        section.size_bytes for section in image.cleared if section.name != STACK_SECTION
    )
    # The section's end is rounded up, and the weights begin at a multiple of 16: what that adds to
    # the two is no variable.
    arena_bytes = _rounded(image.objects[ARENA_SYMBOL], BSS_ALIGNMENT)
    weights_bytes = image.objects.get(WEIGHTS_SYMBOL, 0)
    if weights_bytes:
        arena_bytes = _rounded(arena_bytes, BLOCK_ALIGNMENT)
    blocks_bytes = arena_bytes + _rounded(weights_bytes, BLOCK_ALIGNMENT)
    others = max(0, cleared_bytes - blocks_bytes) + image.initialized_bytes
    return RamUse(
        arena_planned_bytes=touched.arena_planned_bytes,
        arena_bytes=touched.arena_end_byte,
        stack_bytes=touched.stack_bytes,
        static_bytes=others,
        weights_bytes=weights_bytes,
    )


def _rounded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _read(elf: Path) -> _Image:
    try:
        with elf.open("rb") as file:
            image = ELFFile(file)
            loaded, cleared = [], []
            initialized_bytes = 0
            for section in image.iter_sections():
                header = section.header
                if not header.sh_flags & SHF_ALLOC or header.sh_size == 0:
                    continue
                size = SectionSize(name=section.name, size_bytes=int(header.sh_size))
                if header.sh_type == "SHT_NOBITS":
                    cleared.append(size)
                    continue
                loaded.append(size)
                if section.name == ".data":
                    initialized_bytes = size.size_bytes
            symbols = list(_symbols(image))
            sources = _kernel_sources(image)
    except (OSError, ELFError) as error:
        raise ToolError("the image cannot be read", where=str(elf), found=str(error)) from error
    return _Image(
        loaded=tuple(loaded),
        cleared=tuple(cleared),
        initialized_bytes=initialized_bytes,
        functions={name: size for name, kind, size in symbols if kind == "STT_FUNC"},
        objects={name: size for name, kind, size in symbols if kind == "STT_OBJECT"},
        sources=sources,
    )


def _symbols(image: ELFFile) -> Iterator[tuple[str, str, int]]:
    """Name, type and size of each symbol that has a size; aliases once by name."""
    table = image.get_section_by_name(".symtab")
    for symbol in table.iter_symbols() if isinstance(table, SymbolTableSection) else ():
        if symbol.entry.st_size and symbol.name:
            yield symbol.name, symbol.entry.st_info.type, int(symbol.entry.st_size)


@cache
def kernel_definitions() -> Mapping[str, str]:
    """Public symbol of the kernels -> the C file that defines it."""
    return {
        name: file.name
        for file in sorted(KERNEL_FOLDER.glob("*.c"))
        for name in DEFINITION.findall(file.read_text())
    }


def _kernel_sources(image: ELFFile) -> dict[str, int]:
    """Bytes of code and constants by C file of a kernel.

    Local symbols follow the name of their file; for public ones an image does not tell.
    """
    files = kernel_definitions()
    table = image.get_section_by_name(".symtab")
    sizes: dict[str, int] = {}
    file = ""
    for symbol in table.iter_symbols() if isinstance(table, SymbolTableSection) else ():
        kind = symbol.entry.st_info.type
        if kind == "STT_FILE":
            file = symbol.name
        elif kind in ("STT_FUNC", "STT_OBJECT") and symbol.entry.st_size:
            local = symbol.entry.st_info.bind == "STB_LOCAL"
            source = file if local else files.get(symbol.name, f"{symbol.name}.c")
            if source.startswith(KERNEL_PREFIX) and symbol.name not in (
                ARENA_SYMBOL,
                WEIGHTS_SYMBOL,
            ):
                sizes[source] = sizes.get(source, 0) + int(symbol.entry.st_size)
    return sizes
