"""Starting programs: results, failures, time limits, missing ones."""

import sys
from pathlib import Path

import pytest

from edgefactor.errors import MissingToolError, ToolError
from edgefactor.runtime import toolchain
from edgefactor.runtime.toolchain import INSTALLATIONS, find_program, has_program, run, run_all


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_output_and_folder(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd()); print(os.environ['X'], file=sys.stderr)"
    ended = run(python(code), timeout_seconds=20, folder=tmp_path, environment={"X": "a b;c"})
    assert Path(ended.stdout.strip()).samefile(tmp_path)
    assert ended.stderr.strip() == "a b;c"


def test_no_shell(tmp_path: Path) -> None:
    word = "$(touch made); *"
    ended = run((*python("import sys; print(sys.argv[1])"), word), timeout_seconds=20)
    assert ended.stdout.strip() == word


def test_failure_carries_command_code_and_end_of_stderr() -> None:
    code = "import sys; sys.stderr.write('x' * 9000 + 'the reason'); sys.exit(7)"
    with pytest.raises(ToolError) as caught:
        run(python(code), timeout_seconds=20)
    assert "exit code 7" in caught.value.message
    assert sys.executable in caught.value.where
    assert caught.value.found.endswith("the reason")
    assert len(caught.value.found) < 3000


def test_signal_is_named() -> None:
    with pytest.raises(ToolError, match="signal 9"):
        run(python("import os; os.kill(os.getpid(), 9)"), timeout_seconds=20)


def test_time_limit() -> None:
    with pytest.raises(ToolError, match=r"did not end within 0\.5 s"):
        run(python("import time; time.sleep(60)"), timeout_seconds=0.5)


def test_first_failure_of_many() -> None:
    codes = ["pass", "import sys; sys.exit(3)", "import sys; sys.exit(4)"]
    with pytest.raises(ToolError, match="exit code 3"):
        run_all([python(code) for code in codes], timeout_seconds=20)


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_missing_program_has_the_command_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(toolchain.shutil, "which", lambda _: None)
    with pytest.raises(MissingToolError) as caught:
        find_program(name)
    assert name in caught.value.message
    installation = INSTALLATIONS[name]
    for command in (installation.debian, installation.fedora, installation.macos):
        assert command in caught.value.hint
        assert command.split()[0] in ("sudo", "brew", "xcode-select", "pip")
    assert not has_program(name)


def test_cc_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", sys.executable)
    assert find_program("cc") == Path(sys.executable)
