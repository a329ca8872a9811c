"""The C of a bundle on this computer: every tensor, many samples, and what the checks catch."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgefactor.errors import DataError, ToolError
from edgefactor.runtime import tracing
from edgefactor.runtime.host import HostRunner
from tests.runtime.fake_bundle import FOLDER, changed_model, expected, samples
from tests.tools import require_tool

LAST_LINE = "    return 0;\n"

# C put before the last line of the model, and what the plain and the sanitized build must say;
# nothing where only the sanitizers see it.
DAMAGE = {
    "write after the arena": ("base[48] = 1;", "outside its arena", "AddressSanitizer"),
    "write before the arena": ("base[-1] = 1;", "outside its arena", "AddressSanitizer"),
    "read after the arena": (
        "if (((volatile int8_t *)base)[48] == 99) return 1;",
        "",
        "AddressSanitizer",
    ),
    "error": ("return 5;", "the model returned an error", "the model returned an error"),
    "overflow": ("volatile int32_t n = 0x7fffffff; n = n + 1;", "", "signed integer overflow"),
}


@pytest.fixture(autouse=True)
def compiler() -> None:
    require_tool("cc")


@pytest.mark.parametrize("sanitize", [False, True])
def test_every_tensor(sanitize: bool) -> None:
    inputs = samples(11)
    before = sorted(FOLDER.rglob("*"))
    with HostRunner(FOLDER, sanitize=sanitize) as runner:
        found = runner.run(inputs)
        outputs = runner.outputs(inputs)
        work = runner.work
    assert list(found) == ["input", "scaled", "reversed"]
    for name, tensor in expected(inputs).items():
        np.testing.assert_array_equal(found[name], tensor)
    np.testing.assert_array_equal(outputs, expected(inputs)["reversed"])
    assert not work.exists()
    assert sorted(FOLDER.rglob("*")) == before


def test_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "CHUNK_BYTES", 48 * 100)
    inputs = samples(250)
    with HostRunner(FOLDER) as runner:
        sizes = [len(part["scaled"]) for part in runner.stream(inputs, ["scaled"])]
        found = runner.run(inputs, ["scaled"])
        outputs = runner.outputs(inputs)
    assert sizes == [100, 100, 50]
    assert list(found) == ["scaled"]
    np.testing.assert_array_equal(found["scaled"], expected(inputs)["scaled"])
    np.testing.assert_array_equal(outputs, expected(inputs)["reversed"])


def test_ten_thousand_samples() -> None:
    inputs = samples(10_000)
    with HostRunner(FOLDER) as runner:
        np.testing.assert_array_equal(runner.outputs(inputs), expected(inputs)["reversed"])


@pytest.mark.parametrize(
    ("damage", "sanitize"),
    [(damage, True) for damage in DAMAGE]
    + [(damage, False) for damage in DAMAGE if DAMAGE[damage][1]],
)
def test_damage_is_caught(tmp_path: Path, damage: str, sanitize: bool) -> None:
    code, plain, sanitized = DAMAGE[damage]
    message = sanitized if sanitize else plain
    folder = changed_model(tmp_path, LAST_LINE, f"    {code}\n{LAST_LINE}")
    with HostRunner(folder, sanitize=sanitize) as runner:
        with pytest.raises(ToolError) as caught:
            runner.run(samples(2))
    assert message in caught.value.found


def test_arena_is_painted_anew(tmp_path: Path) -> None:
    # Without a copy of the input the model reads what the last sample left, or the paint.
    folder = changed_model(tmp_path, "if (in0 != NULL) {", "if (0) {")
    inputs = samples(2)
    with HostRunner(folder) as runner:
        found = runner.run(inputs)["input"].view(np.uint8)
    assert found.tolist() == [[0xA5] * 16, [0x5A] * 16]


def test_wrong_samples() -> None:
    with HostRunner(FOLDER) as runner:
        with pytest.raises(ToolError, match="exit code 11"):
            runner.run(samples(2)[:, :8])
        with pytest.raises(DataError, match="wrong form"):
            runner.run(samples(2).astype(np.float32))
        with pytest.raises(DataError) as caught:
            runner.run(samples(2), ["scaled", "no such"])
    assert caught.value.found == "no such"


def test_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the C folder"):
        HostRunner(tmp_path)
    folder = tmp_path / "c"
    shutil.copytree(FOLDER, folder)
    (folder / "trace.json").write_text("[{}]", encoding="utf-8")
    with pytest.raises(DataError, match="damaged"):
        HostRunner(folder)


def test_trace_that_does_not_fit_the_code(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(FOLDER, folder)
    trace = json.loads((folder / "trace.json").read_text(encoding="utf-8"))
    (folder / "trace.json").write_text(json.dumps(trace[:2]), encoding="utf-8")
    with HostRunner(folder) as runner:
        with pytest.raises(ToolError, match="another number of bytes"):
            runner.run(samples(2))
