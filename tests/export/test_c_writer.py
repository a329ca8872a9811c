"""The generated C: clean for every compiler, deterministic, beside other models in one program."""

import ctypes
import json
import re
from pathlib import Path

import numpy as np
import pytest

from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.c_writer import Normalization
from edgefactor.export.ir import Graph, Quantization
from edgefactor.export.ports import input_rows
from edgefactor.export.reference import run_samples
from edgefactor.runtime.host import HostRunner
from edgefactor.runtime.toolchain import run
from tests.export.bundles import check_everywhere, random_samples, write_folder
from tests.export.graphs import everything, lowered, to_int8
from tests.tools import require_tool

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Werror"]
SECONDS = 120
#: Names of a model that could meet names of the bundle's own.
PREFIXES = ["model", "main"]
#: Arena, input and output of a program that runs two models in turns, twice each.
INTERLEAVED = """
#include "one/one.h"
#include "two/two.h"
typedef int8_t code;
int interleaved(code *arenas[4], const code *inputs[4], code *outputs[4][2])
{
    int wrong = 0;
    for (int turn = 0; turn < 2; ++turn) {
        for (int i = 0; i < 2; ++i) {
            const int k = 2 * turn + i;
            wrong += one_run(arenas[i], inputs[k], inputs[k] + ONE_INPUT0_BYTES, outputs[k][0],
                             outputs[k][0] + ONE_OUTPUT0_BYTES);
            wrong += two_run(arenas[2 + i], inputs[k], inputs[k] + TWO_INPUT0_BYTES,
                             outputs[k][1], outputs[k][1] + TWO_OUTPUT0_BYTES);
        }
    }
    return wrong;
}
"""
HEADER_ONLY = """
#include "net.h"
void encode(const float *real, int8_t *codes, int n)
{
    for (int i = 0; i < n; ++i) codes[i] = net_quantize0(real[i]);
}
void encode_raw(const float *real, int8_t *codes, int n)
{
    for (int i = 0; i < n; ++i) codes[i] = net_quantize_raw0(real[i], (size_t)(i % 4));
}
void decode(const int8_t *codes, float *real, int n)
{
    for (int i = 0; i < n; ++i) real[i] = net_dequantize0(codes[i]);
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("c")
    how = Normalization(scale=1 / 255, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0))
    write_folder(everything(), made, normalization=how)
    return made


def library(sources: list[Path], made: Path, *includes: Path) -> ctypes.CDLL:
    flags = ["-std=c99", "-O1", "-shared", "-fPIC", *WARNINGS, *(f"-I{i}" for i in includes)]
    run([require_tool("cc"), *flags, "-o", made, *sources], timeout_seconds=SECONDS)
    return ctypes.CDLL(str(made))


def kernels(folder: Path) -> list[Path]:
    return sorted((folder / "kernels").glob("*.c"))


def test_every_operator_in_every_runtime(tmp_path: Path) -> None:
    require_tool("cc")
    check_everywhere(everything(), tmp_path, sanitize=True)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("trace", [[], ["-DEF_TRACE"]])
def test_clean_as_c99(folder: Path, tmp_path: Path, compiler: str, trace: list[str]) -> None:
    flags = ["-std=c99", "-pedantic", "-O2", *WARNINGS, "-fsyntax-only", *trace]
    for source in (folder / "net.c", *(kernels(folder) if not trace else ())):
        run([require_tool(compiler), *flags, source], timeout_seconds=SECONDS)


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_clean_as_cpp(folder: Path, tmp_path: Path, standard: str) -> None:
    program = tmp_path / "program.cpp"
    program.write_text('#include "net.h"\n#include "model_glue.h"\nint main() { return 0; }\n')
    flags = [f"-std={standard}", *WARNINGS, "-fsyntax-only", f"-I{folder}", "-x", "c++"]
    for source in (program, folder / "net.c"):
        run([require_tool("g++"), *flags, source], timeout_seconds=SECONDS)


def test_data_and_calls_only(folder: Path) -> None:
    text = (folder / "net.c").read_text()
    assert not re.search(r"\b(malloc|printf|float|double)\b", text)
    # Nothing is written but the arena and the caller's outputs.
    for line in text.splitlines():
        if line.startswith("static"):
            assert line.startswith("static const"), line


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_folder(everything(), tmp_path / "a").files
    assert write_folder(everything(), tmp_path / "b").files == first
    for text in first.values():
        assert str(tmp_path) not in text
        assert "/work" not in text


@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_prefix_builds(tmp_path: Path, prefix: str) -> None:
    require_tool("cc")
    graph = dense()
    sources = write_folder(graph, tmp_path, prefix)
    assert {f"{prefix}.c", f"{prefix}.h"} <= sources.files.keys()
    inputs = random_samples(graph, 2)
    with HostRunner(tmp_path) as runner:
        found = runner.outputs(input_rows(graph, inputs))
    name = graph.outputs[0].tensor
    np.testing.assert_array_equal(found, run_samples(graph, inputs)[name].reshape(2, -1))


def dense(seed: int = 0) -> Graph:
    import torch

    torch.manual_seed(seed)
    return to_int8(lowered(torch.nn.Linear(9, 4), (1, 9)).graph)


def test_two_models_and_two_copies_in_one_program(tmp_path: Path) -> None:
    graph = everything()
    for name, target in (("one", CTarget()), ("two", CTarget(optimize="size"))):
        write_folder(graph, tmp_path / name, name, target=target)
    program = tmp_path / "program.c"
    program.write_text(INTERLEAVED)
    merged = {p.name: p for name in ("two", "one") for p in kernels(tmp_path / name)}
    models = [tmp_path / name / f"{name}.c" for name in ("one", "two")]
    built = library([program, *models, *merged.values()], tmp_path / "both.so", tmp_path)
    inputs = random_samples(graph, 4)
    rows = input_rows(graph, inputs)
    expected = run_samples(graph, inputs)
    wanted = np.concatenate([expected[p.tensor].reshape(4, -1) for p in graph.outputs], axis=1)
    arenas = [aligned(1 << 16) for _ in range(4)]
    found = np.zeros((4, 2, wanted.shape[1]), np.int8)
    pointer = ctypes.c_void_p
    wrong = built.interleaved(
        (pointer * 4)(*(a.ctypes.data for a in arenas)),
        (pointer * 4)(*(row.ctypes.data for row in rows)),
        (pointer * 8)(*(row.ctypes.data for row in found.reshape(8, -1))),
    )
    assert wrong == 0
    for model in range(2):
        np.testing.assert_array_equal(found[:, model], wanted)


def aligned(size: int) -> np.ndarray:
    raw = np.zeros(size + 16, np.int8)
    start = -raw.ctypes.data % 16
    return raw[start : start + size]


def test_an_arena_that_is_missing_or_misaligned(folder: Path, tmp_path: Path) -> None:
    built = library([folder / "net.c", *kernels(folder)], tmp_path / "net.so")
    arena = aligned(1 << 16)
    for offset, code in ((None, 1), (1, 1), (4, 1), (8, 1), (0, 0), (16, 0)):
        place = None if offset is None else ctypes.c_void_p(arena.ctypes.data + offset)
        assert built.net_run(place, None, None, None, None) == code


def test_helpers_of_the_header_are_those_of_numpy(folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.c"
    program.write_text(HEADER_ONLY)
    built = library([program], tmp_path / "header.so", folder)
    graph = everything()
    first, last = (graph.tensors[ports[0].tensor].quant for ports in (graph.inputs, graph.outputs))
    generator = np.random.default_rng(0)
    halves = (np.arange(-600, 600) * 0.5 * np.float32(first.scale)).astype(np.float32)
    odd = np.array([np.nan, np.inf, -np.inf, 1e38, -1e38, 0.0, -0.0, 1e-45], np.float32)
    spread = generator.normal(0, 60 * first.scale, 20_000).astype(np.float32)
    real = np.concatenate([halves, np.nextafter(halves, np.float32(9)), odd, spread])
    codes = np.zeros(real.size, np.int8)
    built.encode(pointer_to(real), pointer_to(codes), real.size)
    np.testing.assert_array_equal(codes, numerics.quantize(real, first))
    built.encode_raw(pointer_to(real), pointer_to(codes), real.size)
    channel = np.minimum(np.arange(real.size) % 4, 2)
    mean, std = np.float32([0.1, 0.2, 0.3])[channel], np.float32([0.5, 0.25, 1.0])[channel]
    with np.errstate(over="ignore"):
        normal = (real * np.float32(1 / 255) - mean) / std
    np.testing.assert_array_equal(codes, numerics.quantize(normal, first))
    every = np.arange(-128, 128).astype(np.int8)
    decoded = np.zeros(256, np.float32)
    built.decode(pointer_to(every), pointer_to(decoded), 256)
    np.testing.assert_array_equal(decoded, numerics.dequantize(every, last))


def pointer_to(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def test_the_list_of_traced_tensors(folder: Path) -> None:
    graph = everything()
    entries = json.loads((folder / "trace.json").read_text())
    assert [e["tensor"] for e in entries] == [t.name for t in graph.activations]
    assert [e["bytes"] for e in entries] == [t.bytes for t in graph.activations]
    assert [e["step"] for e in entries] == list(range(len(entries)))


def test_only_the_kernels_that_are_needed(tmp_path: Path) -> None:
    few = write_folder(dense(), tmp_path / "few").files
    many = write_folder(everything(), tmp_path / "many").files
    assert not any("pool" in name or "softmax" in name for name in few)
    assert any("pool" in name for name in many)


@pytest.mark.parametrize("features", [IsaFeatures(), IsaFeatures(dsp=True, unaligned=True)])
def test_symbols_are_those_of_the_c(tmp_path: Path, features: IsaFeatures) -> None:
    sources = write_folder(everything(), tmp_path, target=CTarget(features=features))
    found = re.findall(r"^static const \w+ (\w+)(?:\[\d+\])? = ", sources.files["net.c"], re.M)
    assert sorted(found) == sorted(sources.symbols)
    names = {op.name for op in everything().ops}
    assert {name for name, _ in sources.symbols.values()} <= names


def test_zero_points_of_ports_are_written_as_they_are(folder: Path) -> None:
    text = (folder / "net.h").read_text()
    graph = everything()
    for role, ports in (("INPUT", graph.inputs), ("OUTPUT", graph.outputs)):
        for index, port in enumerate(ports):
            how: Quantization = graph.tensors[port.tensor].quant
            assert f"NET_{role}{index}_ZERO_POINT ({how.zero_point})" in text
            literal = re.search(rf"NET_{role}{index}_SCALE (\S+)f", text)
            assert literal is not None
            assert np.float32(literal[1]) == np.float32(how.scale)
