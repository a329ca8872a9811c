"""Target files: every one is whole, and mistakes are named."""

from pathlib import Path

import pytest

from edgefactor.errors import TargetError
from edgefactor.targets.catalogue import FOLDER, list_targets, load_target, target_aliases

NAMES = [name for name in list_targets() if name not in target_aliases()]
M4 = (FOLDER / "cortex-m4.toml").read_text(encoding="utf-8")

# A change to the file of cortex-m4, and what the error must say about it.
MISTAKES = {
    "missing": (("flash_bytes = 1048576\n", ""), "memory.flash_bytes is missing"),
    "type": (("ram_bytes = 262144", 'ram_bytes = "256K"'), "memory.ram_bytes is of the wrong type"),
    "bool": (("ram_bytes = 262144", "ram_bytes = true"), "memory.ram_bytes is of the wrong type"),
    "negative": (("ram_bytes = 262144", "ram_bytes = -1"), "memory.ram_bytes is negative"),
    "unknown": (("[features]", "[features]\nfpu = true"), "unknown keys in [features]"),
    "words": (('["-O2"]', "[2]"), "compiler.kernel_flags holds more than words"),
    "timer": (('timer = "cmsdk"', 'timer = "sundial"'), "unknown timer"),
    "script": (("mps2-an385.ld", "nowhere.ld"), "linker script does not exist"),
    "syntax": (("[features]", "[features"), "not valid TOML"),
}


def test_names_of_the_issue() -> None:
    expected = {f"cortex-{core}" for core in ("m", "m0plus", "m3", "m4", "m7", "m33", "m55")}
    assert set(list_targets()) == expected | {"host"}


def test_alias_is_the_same_target() -> None:
    assert target_aliases() == {"cortex-m": "cortex-m4"}
    assert load_target("cortex-m") == load_target("cortex-m4")
    assert load_target("cortex-m").name == "cortex-m4"


@pytest.mark.parametrize("name", NAMES)
def test_target_is_whole(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    if target.board is None:
        return
    assert target.board.linker_script.is_file()
    assert 0 < target.flash_bytes <= target.board.flash_bytes
    assert 0 < target.ram_bytes <= target.board.ram_bytes
    # M-profile vector code uses the DSP types' instructions too.
    assert target.dsp or not target.mve


@pytest.mark.parametrize(
    ("name", "suggestion"), [("cortex-m5", "cortex-m55"), ("Cortex-M4", "cortex-m4"), ("x", "")]
)
def test_unknown_name_suggests(name: str, suggestion: str) -> None:
    with pytest.raises(TargetError) as caught:
        load_target(name)
    assert suggestion in caught.value.hint
    assert "cortex-m4" in caught.value.expected


@pytest.mark.parametrize("name", ["../targets/cortex-m4", "", "/etc/passwd", "no.toml"])
def test_paths_are_not_names(name: str) -> None:
    with pytest.raises(TargetError, match="there is no target"):
        load_target(name)


def test_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(M4.replace("ram_bytes = 262144", "ram_bytes = 1000"), encoding="utf-8")
    target = load_target(str(path))
    assert (target.name, target.ram_bytes) == ("mine", 1000)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_named(tmp_path: Path, mistake: str) -> None:
    change, message = MISTAKES[mistake]
    path = tmp_path / "mine.toml"
    changed = M4.replace(*change)
    assert changed != M4
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(TargetError) as caught:
        load_target(str(path))
    assert message in caught.value.message
    assert caught.value.where == str(path)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "mine.toml"
    path.write_text(M4, encoding="utf-8")
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(TargetError, match="cannot be read"):
        load_target(str(path))
