"""The report sums up code by C file, and knows which file defines a public symbol."""

from pathlib import Path

from elftools.elf.elffile import ELFFile

from edgefactor.runtime.memory import KERNEL_FOLDER, kernel_definitions
from edgefactor.runtime.toolchain import run_all
from edgefactor.targets.catalogue import load_target
from tests.tools import require_tool


def test_public_symbols_are_found_in_the_sources_as_the_compiler_has_them(tmp_path: Path) -> None:
    target = load_target("cortex-m4")
    kernels = sorted(KERNEL_FOLDER.glob("*.c"))
    flags = [require_tool(target.compiler), *target.cpu_flags, *target.kernel_flags, "-c"]
    commands = [[*flags, file, "-o", tmp_path / f"{file.stem}.o"] for file in kernels]
    run_all(commands, timeout_seconds=120)
    defined = {}
    for file in kernels:
        with (tmp_path / f"{file.stem}.o").open("rb") as stream:
            for symbol in ELFFile(stream).get_section_by_name(".symtab").iter_symbols():
                is_here = symbol.entry.st_shndx != "SHN_UNDEF"
                if is_here and symbol.entry.st_info.bind == "STB_GLOBAL":
                    defined[symbol.name] = file.name
    found = kernel_definitions()
    assert {name: found.get(name) for name in defined} == defined
