import errno
import json
import os
from pathlib import Path

import pytest

from edgefactor.errors import DataError, EdgefactorError, OptionError
from edgefactor.pipeline import bundle


def fill(folder: Path, content: str) -> None:
    (folder / "c").mkdir()
    (folder / "c" / "net.c").write_text(content)
    bundle.write_manifest(folder, versions={"edgefactor": "0"}, options={"target": "host"})


def write(output: Path, content: str) -> None:
    with bundle.writing(output) as folder:
        fill(folder, content)


def test_new_and_replaced(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out"
    for content in ("old", "new"):
        write(output, content)
        assert (output / "c" / "net.c").read_text() == content
        assert [entry.name for entry in output.parent.iterdir()] == ["out"]
    (tmp_path / "plain").mkdir()
    assert output.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("exception", [KeyboardInterrupt, DataError("no"), SystemExit])
def test_interrupted_run_leaves_the_old_bundle(
    tmp_path: Path, exception: BaseException | type[BaseException]
) -> None:
    output = tmp_path / "out"
    write(output, "old")
    with pytest.raises(BaseException), bundle.writing(output) as folder:  # noqa: B017
        fill(folder, "half")
        raise exception
    assert (output / "c" / "net.c").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_interrupt_between_the_two_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out"
    write(output, "old")
    rename, count = Path.rename, iter(range(9))

    def stop(self: Path, target: Path) -> Path:
        if next(count) == 1:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        write(output, "new")
    assert (output / "c" / "net.c").read_text() == "old"


def test_full_disk(tmp_path: Path) -> None:
    output = tmp_path / "out"
    write(output, "old")
    with pytest.raises(OptionError, match="cannot be written"), bundle.writing(output):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert (output / "c" / "net.c").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_other_errors_of_the_system_go_on(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), bundle.writing(tmp_path / "out"):
        Path("/nowhere/at/all").read_text()


def refused(output: Path) -> EdgefactorError:
    with pytest.raises(OptionError) as caught:
        bundle.check_output(output)
    return caught.value


def test_what_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    assert "thesis.tex" in refused(tmp_path / "mine").found
    (tmp_path / "file").write_text("")
    assert "not a folder" in refused(tmp_path / "file").message
    assert "not a folder" in refused(tmp_path / "file" / "out").found
    (tmp_path / "empty").mkdir()
    bundle.check_output(tmp_path / "empty")


def test_no_permission() -> None:
    if os.geteuid() == 0:
        # For root, /proc is what cannot be written.
        with pytest.raises(OptionError, match="cannot be written"):
            write(Path("/proc/edgefactor/out"), "x")
    else:
        assert "no permission" in refused(Path("/root-only/out")).found


def test_manifest(tmp_path: Path) -> None:
    write(tmp_path / "a", "same")
    write(tmp_path / "b", "same")
    first = (tmp_path / "a" / "manifest.json").read_bytes()
    assert first == (tmp_path / "b" / "manifest.json").read_bytes()
    assert str(tmp_path).encode() not in first
    content = json.loads(first)
    assert list(content["files"]) == ["c/net.c"] and len(content["files"]["c/net.c"]) == 64
    assert bundle.read_manifest(tmp_path / "a") == content


@pytest.mark.parametrize("change", ["edit", "remove", "escape"])
def test_changed_bundle(tmp_path: Path, change: str) -> None:
    write(tmp_path / "a", "text")
    if change == "edit":
        (tmp_path / "a" / "c" / "net.c").write_text("other")
    elif change == "remove":
        (tmp_path / "a" / "c" / "net.c").unlink()
    else:
        manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
        (tmp_path / "outside").write_text("")
        manifest["files"]["../outside"] = bundle.sha256(tmp_path / "outside")
        (tmp_path / "a" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(OptionError, match="missing or was changed"):
        bundle.read_manifest(tmp_path / "a")


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="not a bundle"):
        bundle.read_manifest(tmp_path)


def test_unreadable_file_of_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> str:
        raise PermissionError(13, "Permission denied")

    write(tmp_path / "out", "x")
    monkeypatch.setattr(bundle, "sha256", refuse)
    with pytest.raises(OptionError, match="cannot be read") as caught:
        bundle.read_manifest(tmp_path / "out")
    assert "Permission denied" in caught.value.found
