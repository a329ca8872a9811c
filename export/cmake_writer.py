"""Writes the CMake project of a bundle's C folder: the library and a small program around it."""

from __future__ import annotations

from collections.abc import Sequence

from edgefactor.export.templates import render
from edgefactor.runtime.build import board_defines
from edgefactor.targets.description import Target


def write_cmake(prefix: str, kernels: Sequence[str], target: Target) -> str:
    """The text of ``CMakeLists.txt``.

    The folder must also hold what ``edgefactor.runtime.support.support_files`` lists.

    Args:
        prefix: The model's C prefix: ``prefix.c`` is its file, ``prefix`` the library's name.
        kernels: Names of the C files in ``kernels/``.
        target: What the bundle is for.
    """
    return render(
        "CMakeLists.txt.j2",
        prefix=prefix,
        kernels=sorted(kernels),
        target=target,
        board_defines=board_defines(target.board) if target.board else (),
    )
