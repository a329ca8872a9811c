"""The C folder as an Arduino library, a Zephyr module and an ESP-IDF component.

None of the three is installed here: what they call is stood in for, as their documentation has it.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgefactor.export.arena.stripes import regions, stripe
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.cmake_writer import write_cmake
from edgefactor.export.ir import Graph
from edgefactor.export.platform_writer import write_platforms
from edgefactor.export.ports import encode_inputs
from edgefactor.export.reference import run_samples
from edgefactor.runtime.toolchain import run
from edgefactor.targets.catalogue import load_target
from tests.export.bundles import write_folder
from tests.export.few_values import network
from tests.export.graphs import everything, lowered, to_int8
from tests.tools import require_tool

SECONDS = 120
ARDUINO = """
#include <cmath>
#include <cstdint>
#include <cstdio>
static struct {
    void begin(long) {}
    void print(double value, int) { std::printf("%.4f", value); }
    void print(char text) { std::printf("%c", text); }
    void print(unsigned long) {}
    void println(const char *) {}
    void println() { std::printf("\\n"); }
} Serial;
static unsigned long micros() { return 0; }
static void delay(int) {}
void setup();
void loop();
int main() { setup(); loop(); }
"""
# https://docs.zephyrproject.org/latest/develop/modules.html and cmake/modules/extensions.cmake
ZEPHYR = """
cmake_minimum_required(VERSION 3.16)
project(app C)
set(LIBRARIES "")
macro(zephyr_library_named name)
  set(CURRENT ${name})
  list(APPEND LIBRARIES ${name})
  add_library(${name} STATIC)
endmacro()
macro(zephyr_library_sources)
  target_sources(${CURRENT} PRIVATE ${ARGN})
endmacro()
macro(zephyr_include_directories)
  include_directories(${ARGN})
endmacro()
set(CONFIG_EDGEFACTOR_ONE y)
set(CONFIG_EDGEFACTOR_TWO y)
include(one/zephyr/CMakeLists.txt)
include(two/zephyr/CMakeLists.txt)
include(off/zephyr/CMakeLists.txt)
add_executable(app app.c)
target_link_libraries(app -Wl,--whole-archive ${LIBRARIES} -Wl,--no-whole-archive)
"""
# https://docs.espressif.com/projects/esp-idf, "Build system": a component's CMakeLists.txt
ESP_IDF = """
cmake_minimum_required(VERSION 3.16)
project(app C)
set(ESP_PLATFORM 1)
macro(idf_component_register)
  cmake_parse_arguments(it "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
  get_filename_component(name ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  add_library(${name} STATIC ${it_SRCS})
  target_include_directories(${name} PUBLIC ${it_INCLUDE_DIRS})
endmacro()
add_subdirectory(one)
add_subdirectory(two)
add_executable(app app.c)
target_link_libraries(app one two)
"""
BOTH = """
#include "one.h"
#include "two.h"
static _Alignas(16) int8_t arena[ONE_ARENA_BYTES + TWO_ARENA_BYTES];
int main(void) { return one_run(arena, 0, 0, 0, 0) + two_run(arena, 0, 0, 0, 0); }
"""


def write(graph: Graph, folder: Path, prefix: str, target: CTarget | None = None) -> list[str]:
    sources = write_folder(graph, folder, prefix, target=target)
    kernels = [path.name for path in folder.glob("kernels/*.c")]
    texts = write_platforms(
        prefix,
        kernels,
        inputs=sources.inputs,
        outputs=sources.outputs,
        by_rows=sources.by_rows,
        prepared=sources.prepared_bytes > 0,
    )
    texts["CMakeLists.txt"] = write_cmake(prefix, kernels, load_target("cortex-m4"))
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return kernels


def by_rows() -> Graph:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 3, 1))
    graph = to_int8(lowered(network, (1, 2, 8, 8)).graph)
    return stripe(graph, regions(graph)[0], 4, "keep", by_rows=True)


def decoded_once() -> Graph:
    return network("values")


def compile_sketch(folder: Path, prefix: str, work: Path) -> Path:
    """As the Arduino IDE does it: every file of src on its own, the sketch as C++."""
    (work / "Arduino.h").write_text(ARDUINO, encoding="utf-8")
    objects = []
    for source in sorted((folder / "src").glob("*.c")):
        objects.append(work / f"{source.stem}.o")
        flags = ["-Os", f"-I{folder / 'src'}", "-Wall", "-Wextra", "-Werror"]
        run([require_tool("gcc"), *flags, "-c", source, "-o", objects[-1]], timeout_seconds=SECONDS)
    sketch = folder / "examples" / f"{prefix}_demo" / f"{prefix}_demo.ino"
    program = work / "sketch"
    run(
        [require_tool("g++"), "-std=gnu++11", "-Wall", "-Wextra", "-Werror", f"-I{work}",
         f"-I{folder / 'src'}", "-include", "Arduino.h", "-x", "c++", sketch, "-x", "none",
         *objects, "-o", program],
        timeout_seconds=SECONDS,
    )  # fmt: skip
    return program


@pytest.mark.parametrize(
    ("make", "start_up_bytes"), [(everything, 0), (by_rows, 0), (decoded_once, 1 << 20)]
)
def test_arduino_sketch_prints_what_the_network_computes(
    tmp_path: Path, make: object, start_up_bytes: int
) -> None:
    graph: Graph = make()  # type: ignore[operator]
    write(graph, tmp_path / "c", "net", CTarget(start_up_bytes=start_up_bytes))
    text = (tmp_path / "c" / "net.h").read_text()
    assert ("net_prepare" in text) == bool(start_up_bytes)
    printed = run([compile_sketch(tmp_path / "c", "net", tmp_path)], timeout_seconds=SECONDS).stdout
    inputs = [np.zeros((1, *port.shape[1:]), np.float32) for port in graph.inputs]
    values = run_samples(graph, encode_inputs(graph, inputs))
    for line, port in zip(printed.splitlines(), graph.outputs, strict=False):
        stored = values[port.tensor].reshape(-1)
        quant = graph.tensors[port.tensor].quant
        real = quant.scale * (stored.astype(np.float64) - quant.zero_point)
        np.testing.assert_allclose([float(word) for word in line.split()], real, atol=1e-4)
    assert len(printed.splitlines()) >= len(graph.outputs)


def test_arduino_library_properties(tmp_path: Path) -> None:
    write(everything(), tmp_path, "net")
    lines = (tmp_path / "library.properties").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines)
    # https://arduino.github.io/arduino-cli/latest/library-specification
    assert found["name"] == "net" and found["includes"] == "net.h"
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])
    for key in ("author", "maintainer", "sentence", "paragraph", "category", "architectures"):
        assert found[key]
    # Two networks in one sketch have kernels of the same names.
    assert found["dot_a_linkage"] == "true"


def build(tmp_path: Path, project: str) -> None:
    for tool in ("cmake", "cc"):
        require_tool(tool)
    (tmp_path / "CMakeLists.txt").write_text(project, encoding="utf-8")
    (tmp_path / "app.c").write_text(BOTH, encoding="utf-8")
    run(("cmake", "-S", tmp_path, "-B", tmp_path / "build"), timeout_seconds=SECONDS)
    run(("cmake", "--build", tmp_path / "build"), timeout_seconds=SECONDS)
    run((tmp_path / "build" / "app",), timeout_seconds=SECONDS)


def test_zephyr_module(tmp_path: Path) -> None:
    for prefix in ("one", "two", "off"):
        write(everything(), tmp_path / prefix, prefix)
    module = (tmp_path / "one" / "zephyr" / "module.yml").read_text().splitlines()
    assert module == ["name: one", "build:", "  cmake: zephyr", "  kconfig: zephyr/Kconfig"]
    kconfig = (tmp_path / "one" / "zephyr" / "Kconfig").read_text()
    assert kconfig.startswith("config EDGEFACTOR_ONE\n\tbool ")
    build(tmp_path, ZEPHYR)


def test_zephyr_refuses_kernels_of_two_versions(tmp_path: Path) -> None:
    for prefix in ("one", "two", "off"):
        write(everything(), tmp_path / prefix, prefix)
    module = tmp_path / "two" / "zephyr" / "CMakeLists.txt"
    version = (tmp_path / "two" / "library.properties").read_text().split("version=")[1].split()[0]
    module.write_text(module.read_text().replace(version, "9.9.9"))
    with pytest.raises(Exception, match="cmake failed") as caught:
        build(tmp_path, ZEPHYR)
    assert "export both with the same one" in " ".join(caught.value.found.split())


def test_esp_idf_component(tmp_path: Path) -> None:
    for prefix in ("one", "two"):
        write(everything(), tmp_path / prefix, prefix)
    manifest = (tmp_path / "one" / "idf_component.yml").read_text()
    assert re.match(r'version: "\d+\.\d+\.\d+"\n', manifest) and '\n  idf: ">=' in manifest
    build(tmp_path, ESP_IDF)


def test_every_file_of_the_network_is_in_src(tmp_path: Path) -> None:
    kernels = write(everything(), tmp_path, "net")
    assert {path.name for path in (tmp_path / "src").iterdir()} == {"net.h", "net.c", *kernels}
    for path in (tmp_path / "src").iterdir():
        name = path.read_text().split('"')[1]
        assert (path.parent / name).is_file()
