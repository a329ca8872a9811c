"""Names and numbers in C text: legal, unique, and equal when a compiler reads them."""

import ctypes
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgefactor.export.c_code import c_text

NAMES = ["", "a", "A", "a b", "a.b", "a_b", "1", "été", "日本", "int", "Class", "_x", "x_", "a_2"]
#: Prefixes whose files or build targets would hide others.
HIDING = ["test", "all", "clean", "string", "stdint", "stddef", "model_glue", "ef_trace", "kernels"]
C_LIBRARY = ctypes.CDLL(None)
C_LIBRARY.strtof.restype = ctypes.c_float


@given(st.lists(st.text(max_size=8) | st.sampled_from(NAMES), unique=True))
def test_identifiers_are_legal_and_unique(names: list[str]) -> None:
    made = c_text.unique_identifiers(names)
    assert list(made) == names
    assert len(set(made.values())) == len(names)
    for text in made.values():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", text)
        assert text not in c_text.KEYWORDS


@pytest.mark.parametrize("name", ["int", "restrict", "class", "alignas", "wchar_t", "nullptr"])
def test_keywords_of_both_languages_are_no_identifiers(name: str) -> None:
    assert c_text.identifier(name) != name


@pytest.mark.parametrize("name", NAMES)
def test_prefixes(name: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", c_text.prefix(name))


@pytest.mark.parametrize("name", HIDING)
def test_prefixes_hide_no_file_and_no_target(name: str) -> None:
    assert c_text.prefix(name) == f"{name}_model"


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float_literals_read_back_equal(value: float) -> None:
    text = c_text.floating(value)
    assert re.fullmatch(r"-?\d+\.\d+e[+-]\d+f", text)
    found = np.float32(C_LIBRARY.strtof(text.encode(), None))
    assert found.tobytes() == np.float32(value).tobytes()


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e39])
def test_what_has_no_literal(value: float) -> None:
    with pytest.raises(ValueError, match="literal"):
        c_text.floating(value)


@given(st.integers(-(2**31), 2**31 - 1))
def test_integers(value: int) -> None:
    assert eval(c_text.integer(value)) == value


@example("???")
@given(st.text(st.sampled_from("*/\\?\n ab\0\r"), max_size=12))
def test_comments_end_where_they_should(text: str) -> None:
    inside = c_text.comment(text)
    assert not re.search(r"\*/|/\*|\\|\?\?|[\x00-\x1f]", inside)


@given(st.lists(st.integers(-128, 127), max_size=50))
def test_array_bodies(values: list[int]) -> None:
    body = c_text.array_body(np.array(values, np.int8))
    assert [int(item) for item in body.split(",") if item.strip()] == values
