from pathlib import Path
from typing import Any

import pytest

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress_options import CompressOptions
from edgefactor.pipeline.config import (
    CheckOptions,
    ExportOptions,
    FlashOptions,
    InputShape,
    ModelOptions,
    parse_numbers,
    parse_shape,
    parse_share,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("262144", 262144), ("256k", 262144), ("256KiB", 262144), ("1.5M", 1572864), ("64 kB", 65536)],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "0", "-5", "k", "12x", "1e6", "256 k k"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(OptionError):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("1,3,32,32", InputShape(dims=(1, 3, 32, 32))),
        ("1x640", InputShape(dims=(1, 640))),
        ("left=1, 4", InputShape(dims=(1, 4), name="left")),
    ],
)
def test_shapes(text: str, shape: InputShape) -> None:
    assert parse_shape(text) == shape


@pytest.mark.parametrize("text", ["", "1,", "1,0", "a,b", "1,-3", "1,99999,99999", "[1,3]", "=1,3"])
def test_wrong_shapes(text: str) -> None:
    with pytest.raises(OptionError):
        parse_shape(text)


def test_numbers() -> None:
    assert parse_numbers("0.5") == (0.5,) and parse_numbers("1,2, 3e-1") == (1, 2, 0.3)
    with pytest.raises(OptionError):
        parse_numbers("1;2")


@pytest.mark.parametrize(
    "wrong",
    [{"name": "2nd"}, {"name": "a-b"}, {"optimize": "fast"}, {"activations": "16"},
     {"calibration_method": "x"}, {"samples": 0}, {"share": 65}, {"share": "many"},
     {"share_vectors": 3}, {"bits": 3}, {"flash_bytes": 0}, {"ram_bytes": -1},
     {"instructions": 0}, {"max_accuracy_drop": float("nan")}, {"max_accuracy_drop": -1.0}],
)  # fmt: skip
def test_wrong_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        ExportOptions(model=Path("m.pt"), **wrong)


def test_strings_are_paths() -> None:
    options = ExportOptions(model="a/net.pt", output="out")  # type: ignore[arg-type]
    assert (options.model, options.bundle) == (Path("a/net.pt"), Path("out"))
    assert ModelOptions(model="n.pt").model == Path("n.pt")  # type: ignore[arg-type]
    assert CheckOptions(bundle="out").bundle == Path("out")  # type: ignore[arg-type]
    assert FlashOptions(bundle="out").bundle == Path("out")  # type: ignore[arg-type]
    small = CompressOptions(model="n.pt", recipe="svd", output="s.pt2")  # type: ignore[arg-type]
    assert small.result == Path("s.pt2")


@pytest.mark.parametrize("wrong", [{"max_accuracy_drop": float("inf")}, {"samples": 0}])
def test_wrong_options_of_a_check(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        CheckOptions(bundle=Path("out"), **wrong)


def test_wrong_options_of_a_board() -> None:
    for wrong in ({"probe": "jtag"}, {"samples": 0}):
        with pytest.raises(OptionError):
            FlashOptions(bundle=Path("out"), **wrong)  # type: ignore[arg-type]


def test_default_output() -> None:
    assert ExportOptions(model=Path("a/net.pt")).bundle == Path("net-cortex-m4")
    assert ExportOptions(model=Path("net.pt"), target="b/my.toml").bundle == Path("net-my")


def test_numbers_of_shared_values() -> None:
    assert [parse_share(text) for text in ("2", "16", "64", "auto")] == [2, 16, 64, "auto"]
    for text in ("1", "65", "-3", "16.0", "", "Auto", "²"):
        with pytest.raises(OptionError, match="number of values"):
            parse_share(text)
