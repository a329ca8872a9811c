"""How names and numbers become C text; the only module that prints either."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if "
    "inline int long register restrict return short signed sizeof static struct switch typedef "
    "union unsigned void volatile while bool class delete new private protected public template "
    "this throw try using virtual operator namespace and or not xor".split()
)
_PER_LINE = 16
_INT32_MIN = -(2**31)


def identifier(name: str) -> str:
    """A C identifier that resembles ``name``: other characters become underscores."""
    text = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_") or "model"
    if text[0].isdigit() or text.lower() in _KEYWORDS:
        text = "m_" + text
    return text


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
    """A float literal that reads back as the same float32."""
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
    return line.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
