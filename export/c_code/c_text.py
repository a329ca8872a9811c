"""How names and numbers become C text; the only module that prints either."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

#: Of C99 and C++20, lower case: headers are for both languages.
KEYWORDS = frozenset(
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t "
    "char32_t class co_await co_return co_yield compl concept const const_cast consteval constexpr "
    "constinit continue decltype default delete do double dynamic_cast else enum explicit export "
    "extern false float for friend goto if inline int long mutable namespace new noexcept not "
    "not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires "
    "restrict return short signed sizeof static static_assert static_cast struct switch template "
    "this thread_local throw true try typedef typeid typename union unsigned using virtual void "
    "volatile wchar_t while xor xor_eq".split()
)
#: Names whose file or build target would hide one of the C library, of the bundle or of CMake.
_HIDING = frozenset(
    "all check clean ef_trace edit_cache float help inttypes install kernels limits main math "
    "model_glue package rebuild_cache stdbool stddef stdint stdio stdlib string test time".split()
)
_PER_LINE = 16
_INT32_MIN = -(2**31)


def identifier(name: str) -> str:
    """A C identifier that resembles ``name``: other characters become underscores."""
    text = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_") or "model"
    if text[0].isdigit() or text.lower() in KEYWORDS:
        text = "m_" + text
    return text


def prefix(name: str) -> str:
    """What all public names of a model start with, and its files are called."""
    text = identifier(name).lower()
    return f"{text}_model" if text in _HIDING else text


def unique_identifiers(names: Iterable[str]) -> dict[str, str]:
    """One identifier a name, all different."""
    taken: set[str] = set()
    result: dict[str, str] = {}
    for name in names:
        base = text = identifier(name).lower()
        count = 1
        while text in taken:
            count += 1
            text = f"{base}_{count}"
        taken.add(text)
        result[name] = text
    return result


def integer(value: int) -> str:
    """An integer constant expression; the lowest int32 has no literal in C."""
    number = int(value)
    return "(-2147483647 - 1)" if number == _INT32_MIN else str(number)


def floating(value: float) -> str:
    """A float literal that reads back as the same float32.

    Raises:
        ValueError: It is infinite or no number, as a float32: C has no literal for it.
    """
    if not abs(value) <= float(np.finfo(np.float32).max):
        raise ValueError(f"{value} has no float literal")
    text = np.format_float_scientific(np.float32(value), unique=True, trim="0")
    return f"{text}f"


def array_body(data: NDArray[np.integer]) -> str:
    """The elements of an array initializer, in lines."""
    flat = [integer(value) for value in data.reshape(-1).tolist()]
    lines = [
        "    " + ", ".join(flat[start : start + _PER_LINE])
        for start in range(0, len(flat), _PER_LINE)
    ]
    return ",\n".join(lines)


def comment(text: str) -> str:
    """Text that cannot end the comment it stands in."""
    line = re.sub(r"[\x00-\x1f\x7f]+", " ", text).replace("\\", "/")
    return line.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").replace("??", "? ?")
