"""Flash and RAM of the minimal firmware, against binutils' own figures."""

import re
import shutil
from pathlib import Path

import pytest

from edgefactor.errors import ToolError
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.memory import flash_use, ram_use
from edgefactor.runtime.results import TouchedMemory
from edgefactor.runtime.toolchain import run
from edgefactor.targets.catalogue import load_target
from tests.runtime.fake_bundle import FOLDER, SYMBOLS, changed_model
from tests.tools import require_tool

TOUCHED = TouchedMemory(
    arena_planned_bytes=48, arena_first_byte=0, arena_end_byte=40, stack_bytes=100
)


@pytest.fixture(autouse=True)
def tools() -> None:
    require_tool("arm-none-eabi-gcc")


@pytest.mark.parametrize("name", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_flash_equals_size(name: str) -> None:
    with EmulatedRunner(FOLDER, load_target(name)) as runner:
        elf = runner.firmware()
        flash = flash_use(elf, SYMBOLS)
        ram = ram_use(elf, TOUCHED)
        size = run(("arm-none-eabi-size", elf), timeout_seconds=20).stdout
        listing = run(("arm-none-eabi-objdump", "-t", elf), timeout_seconds=20).stdout
    text, data, _ = (int(number) for number in re.findall(r"\d+", size)[:3])
    assert flash.total_bytes == text + data == sum(s.size_bytes for s in flash.sections)
    assert (flash.weights_bytes, flash.tables_bytes) == (16, 0)
    assert flash.code_bytes == flash.total_bytes - 16
    assert [(layer.layer, layer.weights_bytes) for layer in flash.layers] == [("scale", 16)]
    assert flash.missing_symbols == ()
    assert {"fake_run", "ef_fake_scale"} <= {f.name for f in flash.functions}
    # The smallest firmware: nothing of the harness, of stdio or of the heap.
    assert not re.search(r"check_|malloc|printf|_impure", listing)
    assert flash.total_bytes < 1100
    assert (ram.arena_bytes, ram.arena_planned_bytes, ram.stack_bytes) == (40, 48, 100)
    assert ram.static_bytes == 0
    assert ram.total_bytes == 148


def test_code_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(FOLDER, folder)
    kernel = folder / "kernels" / "ef_fake.c"
    text = kernel.read_text(encoding="utf-8").replace(">> 7", ">> shift_of(i)")
    part = """static const uint8_t shifts[4] = {7, 7, 7, 7};
__attribute__((noinline)) static uint8_t shift_of(uint32_t i)
{
    return shifts[i & 3U];
}

void ef_fake_scale"""
    kernel.write_text(text.replace("void ef_fake_scale", part, 1), encoding="utf-8")
    with EmulatedRunner(folder, load_target("cortex-m4")) as runner:
        elf = runner.firmware()
        found = {f.source: f.size_bytes for f in flash_use(elf, SYMBOLS).sources}
        listing = run(("arm-none-eabi-nm", "-S", elf), timeout_seconds=20).stdout
    sizes = {line.split()[-1]: line.split()[1] for line in listing.splitlines() if " " in line}
    assert found == {
        "ef_fake.c": int(sizes["shift_of"], 16) + int(sizes["shifts"], 16),
        "ef_fake_scale.c": int(sizes["ef_fake_scale"], 16),
        "ef_fake_reverse.c": int(sizes["ef_fake_reverse"], 16),
    }
    assert found["ef_fake.c"] > 4


def test_initialized_variables_count_twice(tmp_path: Path) -> None:
    start = "int fake_run(void *arena,"
    state = "static int32_t state[25] = {1};\nint32_t *fake_state(void);\n"
    state += "int32_t *fake_state(void)\n{\n    return state;\n}\n"
    folder = changed_model(tmp_path, start, state + start)
    source = folder / "fake.c"
    text = source.read_text(encoding="utf-8")
    text = text.replace("    return 0;\n", "    fake_state()[arena != NULL] += 1;\n    return 0;\n")
    source.write_text(text, encoding="utf-8")
    sizes = {}
    for case, c_folder in {"plain": FOLDER, "state": folder}.items():
        with EmulatedRunner(c_folder, load_target("cortex-m4")) as runner:
            elf = runner.firmware()
            sizes[case] = (flash_use(elf, {}).total_bytes, ram_use(elf, TOUCHED).static_bytes)
    assert sizes["state"][1] - sizes["plain"][1] == 100
    assert sizes["state"][0] - sizes["plain"][0] >= 100


def test_array_that_is_not_linked() -> None:
    with EmulatedRunner(FOLDER, load_target("cortex-m4")) as runner:
        flash = flash_use(runner.firmware(), {**SYMBOLS, "gone": ("scale", "tables")})
    assert flash.missing_symbols == ("gone",)
    assert flash.tables_bytes == 0


def test_not_an_image(tmp_path: Path) -> None:
    path = tmp_path / "text.elf"
    path.write_text("no ELF", encoding="utf-8")
    with pytest.raises(ToolError, match="cannot be read"):
        flash_use(path, {})
    with pytest.raises(ToolError, match="cannot be read"):
        flash_use(tmp_path / "missing.elf", {})


def test_not_the_firmware() -> None:
    with EmulatedRunner(FOLDER, load_target("cortex-m4")) as runner:
        harness = runner.builder.check_harness(traced=False)
        with pytest.raises(ToolError, match="not the minimal firmware"):
            ram_use(harness, TOUCHED)
