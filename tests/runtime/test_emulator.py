"""The C of a bundle on every emulated board: tensors, memory, exact instruction counts, faults."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.errors import TargetError, ToolError
from edgefactor.runtime import emulator
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.targets.catalogue import list_targets, load_target, target_aliases
from tests.runtime.fake_bundle import FOLDER, changed_model, expected, samples
from tests.tools import require_tool

BOARDS = [
    name
    for name in list_targets()
    if name not in target_aliases() and load_target(name).board is not None
]
LAST_LINE = "    return 0;\n"
SECOND_STEP = "    ef_fake_reverse("

# C put before the last line of the model, and what the error must say.
FAULTS = {
    "undefined instruction": ('__asm volatile("udf #0");', "HardFault at pc=0x"),
    "no memory there": ("*(volatile int32_t *)0xE8000000u = 1;", "HardFault at pc=0x"),
    "outside the arena": ("base[48] = 1;", "outside its arena"),
    "error": ("return 5;", "the model returned an error"),
}


@pytest.fixture(autouse=True)
def tools() -> None:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")


def large_local(size: int) -> str:
    """C with a local array whose far end is used."""
    return f"    volatile int8_t local[{size}]; local[0] = base[0]; (void)local[0];\n{LAST_LINE}"


def loop(rounds: int) -> str:
    """C that executes exactly 2 * rounds instructions, and two more to load a constant."""
    return (
        f'    __asm volatile(".syntax unified\\n ldr r3, ={rounds}\\n mov r2, r3\\n'
        f'1: subs r3, r3, #1\\n bne 1b" : : : "r2", "r3", "cc");\n'
    )


@pytest.mark.parametrize("name", BOARDS)
def test_tensors_memory_and_instructions(name: str) -> None:
    inputs = samples(10)
    with EmulatedRunner(FOLDER, load_target(name)) as runner:
        found = runner.run(inputs)
        outputs = runner.outputs(inputs)
        memory = runner.memory(inputs[:1])
        count = runner.instructions(inputs[:3])
    for tensor, values in expected(inputs).items():
        np.testing.assert_array_equal(found[tensor], values)
    np.testing.assert_array_equal(outputs, expected(inputs)["reversed"])
    assert (memory.arena_planned_bytes, memory.arena_first_byte, memory.arena_end_byte) == (
        48,
        0,
        48,
    )
    assert 8 <= memory.stack_bytes <= 80
    assert count.resolution == 1
    assert count.samples == (count.per_inference,) * 3
    layers = count.by_layer()
    assert list(layers) == ["scale", "reverse"]
    # 16 elements in each layer, a handful of instructions an element.
    assert all(32 <= layers[layer] <= 200 for layer in layers)
    assert sum(layers.values()) < count.per_inference < sum(layers.values()) + 250


@pytest.mark.parametrize("name", BOARDS)
def test_counts_are_exact(tmp_path: Path, name: str) -> None:
    rounds = (1000, 10_001_000)
    counts = []
    for index, number in enumerate(rounds):
        folder = changed_model(tmp_path / str(index), SECOND_STEP, loop(number) + SECOND_STEP)
        with EmulatedRunner(folder, load_target(name)) as runner:
            counts.append(runner.instructions(samples(1)))
    difference = 2 * (rounds[1] - rounds[0])
    assert counts[1].per_inference - counts[0].per_inference == difference
    layers = [count.by_layer() for count in counts]
    assert layers[0]["scale"] == layers[1]["scale"]
    assert layers[1]["reverse"] - layers[0]["reverse"] == difference


@pytest.mark.slow
def test_long_inference_is_counted_coarsely(tmp_path: Path) -> None:
    rounds = 800_000_000
    folder = changed_model(tmp_path, SECOND_STEP, loop(rounds) + SECOND_STEP)
    with EmulatedRunner(folder, load_target("cortex-m4")) as runner:
        count = runner.instructions(samples(1))
    assert count.resolution == 10
    assert abs(count.per_inference - 2 * rounds) < 1000


def test_partly_used_arena(tmp_path: Path) -> None:
    folder = changed_model(tmp_path, "(int8_t *)arena;", "(int8_t *)arena + 5;")
    header = folder / "fake.h"
    text = header.read_text(encoding="utf-8").replace("ARENA_BYTES 48", "ARENA_BYTES 1000")
    header.write_text(text, encoding="utf-8")
    with EmulatedRunner(folder, load_target("cortex-m3")) as runner:
        memory = runner.memory(samples(3))
    assert (memory.arena_planned_bytes, memory.arena_first_byte, memory.arena_end_byte) == (
        1000,
        5,
        53,
    )


def test_stack_is_measured(tmp_path: Path) -> None:
    stacks = []
    for size in (1000, 3000):
        folder = changed_model(tmp_path / str(size), LAST_LINE, large_local(size))
        with EmulatedRunner(folder, load_target("cortex-m4")) as runner:
            stacks.append(runner.memory(samples(1)).stack_bytes)
    assert stacks[1] - stacks[0] == 2000


@pytest.mark.parametrize("name", BOARDS)
def test_stack_overflow_ends(tmp_path: Path, name: str) -> None:
    folder = changed_model(tmp_path, LAST_LINE, large_local(100_000))
    with EmulatedRunner(folder, load_target(name)) as runner:
        with pytest.raises(ToolError, match="locked up: the model's stack overflowed"):
            runner.memory(samples(1))


@pytest.mark.parametrize(
    ("name", "fault"),
    # The model's own error code is the same C on every board.
    [(name, fault) for name in BOARDS for fault in FAULTS if fault != "error"]
    + [("cortex-m4", "error")],
)
def test_fault_is_reported(tmp_path: Path, name: str, fault: str) -> None:
    code, message = FAULTS[fault]
    folder = changed_model(tmp_path, LAST_LINE, f"    {code}\n{LAST_LINE}")
    with EmulatedRunner(folder, load_target(name)) as runner:
        with pytest.raises(ToolError) as caught:
            runner.outputs(samples(2))
    assert message in caught.value.found


UNALIGNED = '    __asm volatile("ldr r2, [%0]" : : "l"(base + 1) : "r2", "memory");\n' + LAST_LINE


@pytest.mark.parametrize("name", BOARDS)
def test_unaligned_access_faults_where_the_core_does(tmp_path: Path, name: str) -> None:
    folder = changed_model(tmp_path, LAST_LINE, UNALIGNED)
    target = load_target(name)
    with EmulatedRunner(folder, target) as runner:
        if target.unaligned:
            runner.outputs(samples(1))
            return
        with pytest.raises(ToolError) as caught:
            runner.outputs(samples(1))
    assert "HardFault" in caught.value.found


def test_endless_loop_ends(tmp_path: Path) -> None:
    folder = changed_model(tmp_path, LAST_LINE, f"    for (;;) {{ }}\n{LAST_LINE}")
    with EmulatedRunner(folder, load_target("cortex-m4"), timeout_seconds=2) as runner:
        with pytest.raises(ToolError, match="did not end within 2 s"):
            runner.outputs(samples(1))


def test_wrong_clock_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "LOOP_ROUNDS", (1000, 101001))
    with EmulatedRunner(FOLDER, load_target("cortex-m4")) as runner:
        with pytest.raises(ToolError, match="does not count instructions as expected"):
            runner.instructions(samples(1))


def test_host_is_not_emulated() -> None:
    with pytest.raises(TargetError, match="no emulated board"):
        EmulatedRunner(FOLDER, load_target("host"))
