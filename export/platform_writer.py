"""Writes what lets other build systems take a bundle's C folder as it lies there.

Arduino compiles what lies in ``src``, so that folder holds one line a file that includes the real
one (Arduino library specification 1.5). Zephyr looks for ``zephyr/module.yml``, ESP-IDF for
``idf_component.yml`` beside the ``CMakeLists.txt`` (``cmake_writer``).
"""

from __future__ import annotations

from collections.abc import Sequence

from edgefactor import __version__
from edgefactor.export.templates import render


def write_platforms(
    prefix: str,
    kernels: Sequence[str],
    *,
    inputs: int,
    outputs: int,
    by_rows: bool,
    states: int = 0,
    prepared: bool = False,
) -> dict[str, str]:
    """Texts by path relative to the C folder.

    Args:
        prefix: The model's C prefix.
        kernels: Names of the C files in ``kernels/``.
        inputs: Number of the model's inputs.
        outputs: Number of its outputs.
        by_rows: Whether its input has no place in the arena.
        states: Number of states that it keeps.
        prepared: Whether weights are decoded at start-up.
    """
    context = {
        "prefix": prefix,
        "macro": prefix.upper(),
        "version": __version__,
        "kernels": sorted(kernels),
        "inputs": inputs,
        "outputs": outputs,
        "by_rows": by_rows,
        "states": states,
        "prepared": prepared,
    }
    rendered = {
        "library.properties": "library.properties.j2",
        f"examples/{prefix}_demo/{prefix}_demo.ino": "sketch.ino.j2",
        "zephyr/module.yml": "module.yml.j2",
        "zephyr/Kconfig": "Kconfig.j2",
        "zephyr/CMakeLists.txt": "zephyr.cmake.j2",
        "idf_component.yml": "idf_component.yml.j2",
    }
    texts = {path: render(template, **context) for path, template in rendered.items()}
    for name in (f"{prefix}.h", f"{prefix}.c"):
        texts[f"src/{name}"] = f'#include "../{name}"\n'
    for name in sorted(kernels):
        texts[f"src/{name}"] = f'#include "../kernels/{name}"\n'
    return texts
