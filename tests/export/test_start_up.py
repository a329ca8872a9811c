"""Weights that are decoded once: every form on every board, the interface, and who gets the RAM."""

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgefactor.errors import OptionError
from edgefactor.export.arena.stripes import regions, stripe
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.c_writer import CSources, write_c
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ports import input_rows
from edgefactor.export.reference import run_samples
from edgefactor.export.start_up import MARK_BYTES, decoded_bytes
from edgefactor.pipeline.run import write_sources
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.host import HostRunner
from edgefactor.runtime.memory import ram_use
from edgefactor.runtime.parity import compare_codes
from edgefactor.runtime.toolchain import run
from edgefactor.targets.catalogue import load_target
from tests.export.bundles import random_samples, write_folder
from tests.export.few_values import network
from tests.tools import require_tool

SECONDS = 120
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Werror")
ENOUGH = 1 << 20
#: Boards and forms: every kernel that reads decoded weights runs in one of them.
BOARDS = ("cortex-m0plus", "cortex-m4", "cortex-m55")
FORMS = (
    ("values", "raw"),
    ("values", "codebook"),
    ("digits", "uniform"),
    ("two bits", "uniform"),
    ("zeros", "sparse"),
    ("zeros", "vector2"),
)


def target_of(name: str, **fields: object) -> CTarget:
    target = load_target(name)
    features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
    return replace(CTarget(features=features, huffman="start-up", start_up_bytes=ENOUGH), **fields)


def forms(sources: CSources) -> set[str]:
    names = (layer.encoding for layer in sources.code.values())
    return {name.removeprefix("huffman-") for name in names if name.startswith("huffman-")}


@pytest.mark.parametrize(("kind", "form"), FORMS)
@pytest.mark.parametrize("name", BOARDS)
def test_exact_on_boards(name: str, kind: str, form: str, tmp_path: Path) -> None:
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    graph = network(kind)
    layers = {op.name: f"huffman-{form}" for op in graph.ops if isinstance(op, Conv2D)}
    if form in ("sparse", "vector2"):
        # Only dense and 1x1 layers can be sparse, and rows of 27 weights are no pairs.
        layers = {key: layers[key] for key in list(layers)[1::2]}
    sources = write_c(graph, target_of(name, encodings=layers), prefix="net")
    assert form in forms(sources)
    write_sources(tmp_path, sources, load_target(name))
    inputs = random_samples(graph)
    rows = input_rows(graph, inputs)
    order = [tensor.name for tensor in graph.activations]
    expected = run_samples(graph, inputs)
    with EmulatedRunner(tmp_path / "c", load_target(name)) as runner:
        assert compare_codes(expected, runner.run(rows), order).differing_elements == 0
        use = ram_use(runner.firmware(), runner.memory(rows))
        assert use.weights_bytes == sources.prepared_bytes > 0
        assert use.static_bytes == 0
        start_up = runner.start_up(rows)
        assert start_up.instructions > 10 * sources.prepared_bytes
        assert 0 < start_up.stack_bytes < 400
    with HostRunner(tmp_path / "c", sanitize=True) as host:
        assert compare_codes(expected, host.run(rows), order).differing_elements == 0


class Library:
    """The C of a network in this process."""

    def __init__(self, folder: Path, made: Path, *flags: str) -> None:
        sources = [folder / "net.c", *sorted((folder / "kernels").glob("*.c"))]
        command = (require_tool("cc"), "-std=c99", "-O1", "-shared", "-fPIC", *WARNINGS, *flags)
        run((*command, "-o", made, *sources), timeout_seconds=SECONDS)
        self.functions = ctypes.CDLL(str(made))

    def prepare(self, weights: np.ndarray | None, offset: int = 0) -> int:
        return int(self.functions.net_prepare(_place(weights, offset)))

    def run(self, arena: np.ndarray, weights: np.ndarray | None, offset: int = 0) -> int:
        return int(self.functions.net_run(_place(arena), _place(weights, offset), None, None))


def _place(memory: np.ndarray | None, offset: int = 0) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if memory is None else memory.ctypes.data + offset)


def aligned(size: int) -> np.ndarray:
    raw = np.zeros(size + 64, np.int8)
    start = -raw.ctypes.data % 16
    return raw[start : start + size + 48]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("c")
    write_folder(network("values"), made, target=target_of("host", optimize="size"))
    return made


def test_calls_in_the_wrong_order(folder: Path, tmp_path: Path) -> None:
    library = Library(folder, tmp_path / "net.so")
    arena, weights = aligned(1 << 17), aligned(1 << 16)
    assert library.run(arena, weights) == 2
    assert library.run(arena, None) == 1
    assert library.prepare(None) == 1
    assert library.prepare(weights, offset=1) == 1
    assert library.prepare(weights) == 0
    assert library.run(arena, weights, offset=2) == 1
    assert library.run(arena, weights) == 0
    # Weights of another network, or memory that something else used.
    weights[0] ^= 1
    assert library.run(arena, weights) == 2


def test_damaged_codes_are_an_error(folder: Path, tmp_path: Path) -> None:
    text = (folder / "net.c").read_text()
    start = text.index("_stream[")
    place = text.index("\n", start) + 1
    end = text.index("\n};", place)
    numbers = [int(number) for number in text[place:end].split(",")]
    # Past the 15 numbers of codes by length: a code itself.
    numbers[18] ^= 0x20
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for kernel in (folder / "kernels").iterdir():
        (damaged / "kernels").mkdir(exist_ok=True)
        (damaged / "kernels" / kernel.name).write_text(kernel.read_text())
    (damaged / "net.h").write_text((folder / "net.h").read_text())
    (damaged / "net.c").write_text(text[:place] + ", ".join(map(str, numbers)) + text[end:])
    library = Library(damaged, tmp_path / "damaged.so")
    arena, weights = aligned(1 << 17), aligned(1 << 16)
    assert library.prepare(weights) == 2
    assert library.run(arena, weights) == 2


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_clean_as_c99(folder: Path, compiler: str) -> None:
    flags = ("-std=c99", "-pedantic", "-O2", *WARNINGS, "-fsyntax-only")
    for source in (folder / "net.c", *(folder / "kernels").glob("*.c")):
        run((require_tool(compiler), *flags, source), timeout_seconds=SECONDS)


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_clean_as_cpp(folder: Path, tmp_path: Path, standard: str) -> None:
    program = tmp_path / "program.cpp"
    program.write_text('#include "net.h"\n#include "model_glue.h"\nint main() { return 0; }\n')
    flags = (f"-std={standard}", *WARNINGS, "-fsyntax-only", f"-I{folder}", "-x", "c++")
    for source in (program, folder / "net.c"):
        run((require_tool("g++"), *flags, source), timeout_seconds=SECONDS)


def test_stripes_share_decoded_weights(tmp_path: Path) -> None:
    graph = network("values", size=16)
    whole = write_c(graph, target_of("cortex-m4"), prefix="net")
    striped = stripe(graph, regions(graph)[0], 4, "keep", by_rows=True)
    sources = write_folder(striped, tmp_path, target=target_of("cortex-m4"))
    assert sources.by_rows
    assert 0 < sources.prepared_bytes <= whole.prepared_bytes
    inputs = random_samples(striped)
    order = [tensor.name for tensor in striped.activations]
    with HostRunner(tmp_path, sanitize=True) as runner:
        found = runner.run(input_rows(striped, inputs))
    assert compare_codes(run_samples(striped, inputs), found, order).differing_elements == 0


def test_nothing_without_a_budget() -> None:
    sources = write_c(network("values"), CTarget(optimize="size"), prefix="net")
    assert sources.prepared_bytes == 0 and not forms(sources)
    assert "net_prepare" not in sources.files["net.h"]
    assert not any("ef_unpack" in name for name in sources.files)


def test_the_budget_is_kept_to() -> None:
    graph = network("values")
    most = write_c(graph, target_of("cortex-m4", optimize="size"), prefix="net")
    needed = most.plan.arena_bytes + most.prepared_bytes
    assert most.prepared_bytes == MARK_BYTES + decoded_bytes(most.code.values())
    for less in (1, most.prepared_bytes // 2, most.prepared_bytes):
        target = target_of("cortex-m4", optimize="size", start_up_bytes=needed - less)
        sources = write_c(graph, target, prefix="net")
        assert sources.prepared_bytes < most.prepared_bytes
        if sources.prepared_bytes:
            assert sources.plan.arena_bytes + sources.prepared_bytes <= needed - less
    assert not sources.prepared_bytes


def test_policies() -> None:
    graph = network("values")
    found = {
        optimize: write_c(graph, target_of("cortex-m4", optimize=optimize), prefix="net")
        for optimize in ("size", "speed")
    }
    estimates = {
        optimize: sum(c.alternatives[0].instructions for c in s.code.values() if c.alternatives)
        for optimize, s in found.items()
    }
    assert found["size"].prepared_bytes < found["speed"].prepared_bytes
    assert estimates["speed"] < estimates["size"]
    weights = {
        optimize: sum(layer.weight_bytes for layer in s.code.values())
        for optimize, s in found.items()
    }
    plain = write_c(graph, CTarget(optimize="speed", features=IsaFeatures(dsp=True)), prefix="net")
    assert weights["speed"] < sum(layer.weight_bytes for layer in plain.code.values())


def test_what_else_was_weighed() -> None:
    sources = write_c(network("values"), target_of("cortex-m4", optimize="size"), prefix="net")
    for layer in sources.code.values():
        if layer.packed is None:
            continue
        chosen, *others = layer.alternatives
        assert chosen.encoding == layer.encoding
        assert chosen.weights_ram_bytes == layer.packed.ram_bytes
        assert any(not other.weights_ram_bytes for other in others)
        assert chosen.flash_bytes < others[0].flash_bytes


def test_what_cannot_be_decoded() -> None:
    graph = network("values")
    target = target_of("cortex-m4", encodings={graph.ops[0].name: "huffman-huffman"})
    with pytest.raises(OptionError, match="cannot be decoded"):
        write_c(graph, target, prefix="net")
