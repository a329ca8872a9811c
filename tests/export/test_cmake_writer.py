"""The C folder builds with plain CMake as it lies there, for its target and for this computer."""

import shutil
from pathlib import Path

import pytest

from edgefactor.export.cmake_writer import write_cmake
from edgefactor.runtime.support import support_files
from edgefactor.runtime.toolchain import run
from edgefactor.targets.catalogue import load_target
from tests.tools import REPOSITORY, require_tool

MODEL = REPOSITORY / "tests" / "runtime" / "fake_model"
# Every linker script and every kind of timer; configuring is slow.
NAMES = ["cortex-m0plus", "cortex-m33", "cortex-m55", "host"]


def write_folder(folder: Path, name: str) -> Path:
    target = load_target(name)
    shutil.copytree(MODEL, folder)
    for inside, source in support_files(target).items():
        (folder / inside).parent.mkdir(exist_ok=True)
        shutil.copy(source, folder / inside)
    text = write_cmake("fake", ["ef_fake.c"], target)
    (folder / "CMakeLists.txt").write_text(text, encoding="utf-8")
    return folder


def build(source: Path, folder: Path, *options: str) -> None:
    run(("cmake", "-S", source, "-B", folder, *options), timeout_seconds=120)
    run(("cmake", "--build", folder, "--parallel", "2"), timeout_seconds=120)


@pytest.fixture(autouse=True)
def tools() -> None:
    for name in ("cmake", "cc", "arm-none-eabi-gcc"):
        require_tool(name)


@pytest.mark.parametrize("name", NAMES)
def test_builds_for_its_target(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "c", name)
    build(folder, tmp_path / "build")
    suffix = ".elf" if load_target(name).board else ""
    for program in ("fake_firmware", "fake_check"):
        assert (tmp_path / "build" / f"{program}{suffix}").is_file()


def test_builds_for_this_computer(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "c", "cortex-m4")
    build(folder, tmp_path / "build", "-DEF_HOST=ON", "-DCMAKE_BUILD_TYPE=Debug")
    run((tmp_path / "build" / "fake_firmware",), timeout_seconds=20)


def test_library_in_another_project(tmp_path: Path) -> None:
    write_folder(tmp_path / "c", "cortex-m4")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(app C)\nadd_subdirectory(c)\n"
        "add_executable(app app.c)\ntarget_link_libraries(app fake)\n",
        encoding="utf-8",
    )
    (tmp_path / "app.c").write_text(
        '#include "fake.h"\n'
        "static _Alignas(16) int8_t arena[FAKE_ARENA_BYTES];\n"
        "int main(void) { int8_t out[16]; return fake_run(arena, 0, out); }\n",
        encoding="utf-8",
    )
    build(tmp_path, tmp_path / "build")
    run((tmp_path / "build" / "app",), timeout_seconds=20)


def test_text_is_the_same_every_time() -> None:
    target = load_target("cortex-m7")
    first = write_cmake("m", ["b.c", "a.c"], target)
    assert first == write_cmake("m", ["a.c", "b.c"], target)
    assert str(REPOSITORY) not in first
