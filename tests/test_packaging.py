"""The package list and the folders agree, and imports go one way."""

import ast
import fnmatch
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools import REPOSITORY

ROOMS = ("pipeline", "export", "runtime", "targets")

# Data of the package that is an example as well, by its name there.
EXAMPLES = {"digits": "examples/digits"}
LINKS = {room: room for room in ROOMS} | EXAMPLES

# From the front door inwards: a room imports from itself and from those after it, and everything
# may import the errors and the version.
ORDER = ("edgefactor", *ROOMS)
OPEN_TO_ALL = {"edgefactor.errors", "edgefactor.__version__"}

# A module that may import something which the others may not, by the name of what is imported.
ONLY_IN = {
    "torch": "pipeline/",
    "subprocess": "runtime/toolchain.py",
}

SETTINGS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "setuptools"
]


def package_files() -> Iterator[Path]:
    """Every file of the package, relative to the repository."""
    for folder in ("edgefactor", *LINKS.values()):
        for path in sorted((REPOSITORY / folder).rglob("*")):
            inside = path.relative_to(REPOSITORY)
            linked = inside.parts[0] == "edgefactor" and inside.parts[1] in LINKS
            if path.is_file() and not linked and "__pycache__" not in inside.parts:
                yield inside


def package_name(folder: Path) -> str:
    """Dotted name of the package in a folder that is relative to the repository."""
    for name, place in EXAMPLES.items():
        if str(folder) == place:
            return f"edgefactor.{name}"
    parts = folder.parts if folder.parts[0] == "edgefactor" else ("edgefactor", *folder.parts)
    return ".".join(parts)


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each import of a source file, those inside functions included."""
    for node in ast.walk(ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            # `from edgefactor import export` names the room by its alias.
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def room_of(name: str) -> str:
    """The room a dotted name of the package lies in."""
    second = name.split(".")[1] if "." in name else ""
    return second if second in ROOMS else "edgefactor"


SOURCES = [path for path in package_files() if path.suffix == ".py" and path.parts[0] != "examples"]


def test_package_list_equals_folders() -> None:
    folders = {path.parent for path in package_files()}
    assert sorted(SETTINGS["packages"]) == sorted(package_name(folder) for folder in folders)


def test_package_data_covers_every_file() -> None:
    patterns = [*SETTINGS["package-data"]["*"], "*.py"]
    left_out = [
        str(path)
        for path in package_files()
        if not any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)
    ]
    assert left_out == []


def test_rooms_are_mapped_to_root_folders() -> None:
    expected = {"edgefactor": "edgefactor"} | {f"edgefactor.{n}": p for n, p in LINKS.items()}
    assert SETTINGS["package-dir"] == expected


@pytest.mark.parametrize("name", LINKS)
def test_folder_is_linked_and_typed(name: str) -> None:
    link = REPOSITORY / "edgefactor" / name
    assert link.is_symlink()
    assert str(link.readlink()) == f"../{LINKS[name]}"
    assert (REPOSITORY / name / "py.typed").is_file() == (name in ROOMS)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_go_one_way(path: Path) -> None:
    own = path.parts[0]
    allowed = ORDER[ORDER.index(own) :]
    for line, name in imported_names(path):
        if name.split(".")[0] != "edgefactor":
            continue
        is_open = any(name == module or name.startswith(f"{module}.") for module in OPEN_TO_ALL)
        assert is_open or room_of(name) in allowed, f"{path}:{line}: {own} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_that_belong_to_one_place(path: Path) -> None:
    for line, name in imported_names(path):
        place = ONLY_IN.get(name.split(".")[0])
        assert place is None or str(path).startswith(place), f"{path}:{line}: imports {name}"


@pytest.mark.slow
def test_wheel_holds_exactly_the_package(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    # From a copy: setuptools leaves a build folder, whose old files would get into later wheels.
    source = tmp_path / "source"
    shutil.copytree(
        REPOSITORY, source, symlinks=True, ignore=shutil.ignore_patterns(".*", "build", "demo-out")
    )
    subprocess.run([*build, str(source)], check=True, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {
        f"{package_name(path.parent).replace('.', '/')}/{path.name}" for path in package_files()
    }
