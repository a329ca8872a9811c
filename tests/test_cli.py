import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import edgefactor
from edgefactor import cli, terminal
from edgefactor.errors import BudgetError, ModelError
from edgefactor.pipeline import bundle, config
from tests.tools import REPOSITORY

HELP_SECONDS = 0.3


class FakeReport:
    """What a run returns, with a verdict."""

    def __init__(self, ok: bool = True) -> None:
        self.ok = ok

    def to_dict(self) -> dict[str, Any]:
        return {"schema": "fake", "ok": self.ok}


Work = Callable[[Any, config.Progress], FakeReport]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Work], None]:
    """Puts a function in the place of the whole pipeline."""
    import edgefactor.pipeline

    def install(work: Work) -> None:
        modules = {"run": ModuleType("run"), "report_view": ModuleType("report_view")}
        modules["run"].export = modules["run"].check = work  # type: ignore[attr-defined]
        modules["report_view"].render = (  # type: ignore[attr-defined]
            lambda report, console: console.print("the report")
        )
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, f"edgefactor.pipeline.{name}", module)
            monkeypatch.setattr(edgefactor.pipeline, name, module, raising=False)

    return install


def start(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgefactor", *arguments],
        cwd=REPOSITORY, text=True, capture_output=True, timeout=120, check=False, **options,
    )  # fmt: skip


# -- help and usage --------------------------------------------------------------------------------


def test_help_is_instant_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; from edgefactor import cli;"
        "assert cli.main(['--help']) == 0; taken = time.process_time();"
        "heavy = {'torch', 'numpy', 'onnx', 'rich', 'jinja2'} & set(sys.modules);"
        "print(repr((taken, heavy)), file=sys.stderr)"
    )
    tries = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        taken, heavy = eval(done.stderr)
        assert heavy == set()
        tries.append(taken)
    # Time of the processor since the interpreter started: the machine may be busy with other work.
    assert min(tries) < HELP_SECONDS


@pytest.mark.parametrize(
    "command", ["export", "check", "inspect", "targets", "report", "demo", "flash"]
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert "Usage: edgefactor" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert edgefactor.__version__ in capsys.readouterr().out


WRONG_LINES = [
    ["nonsense"],
    ["export"],
    ["export", "m.pt", "--flash", "lots"],
    ["export", "m.pt", "--input-shape", "1,0"],
    ["export", "m.pt", "--optimize", "everything"],
    ["export", "m.pt", "--activations", "int4"],
    ["export", "m.pt", "--calibration-method", "guess"],
    ["export", "m.pt", "--mean", "1;2"],
    ["export", "m.pt", "--samples", "0"],
    ["check"],
]


@pytest.mark.parametrize("line", WRONG_LINES, ids=" ".join)
def test_usage_errors(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Error:" in err and "Traceback" not in err


# -- options reach the pipeline --------------------------------------------------------------------


def test_export_options(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[config.ExportOptions] = []

    def work(options: config.ExportOptions, progress: config.Progress) -> FakeReport:
        progress("a stage")
        seen.append(options)
        return FakeReport()

    fake(work)
    line = (
        "export net.pt --model code.py:build --input-shape a=1,3 --input-shape b=1,4 --target "
        "cortex-m7 --calibration c.npz --data d.py:load -o out --trust-pickle --scale 0.5 --mean "
        "1,2 --std 3 --calibration-method mse --activations int8 --optimize size --flash 256k "
        "--ram 64KiB --instructions 1000 --name net --samples 7 --emulated-samples 2 --no-emulate "
        "--max-accuracy-drop 1.5 --seed 4"
    )
    assert cli.main(line.split()) == 0
    assert seen == [
        config.ExportOptions(
            model=Path("net.pt"),
            factory="code.py:build",
            input_shapes=(
                config.InputShape(dims=(1, 3), name="a"),
                config.InputShape(dims=(1, 4), name="b"),
            ),
            trust_pickle=True,
            target="cortex-m7",
            calibration="c.npz",
            data="d.py:load",
            output=Path("out"),
            normalization=config.Normalization(scale=0.5, mean=(1, 2), std=(3,)),
            calibration_method="mse",
            activations="int8",
            optimize="size",
            flash_bytes=256 * 1024,
            ram_bytes=64 * 1024,
            instructions=1000,
            max_accuracy_drop=1.5,
            name="net",
            samples=7,
            emulated_samples=2,
            emulate=False,
            seed=4,
        )
    ]
    assert "the report" in capsys.readouterr().out


def test_defaults_are_those_of_the_options(fake: Any) -> None:
    seen: list[Any] = []
    fake(lambda options, progress: seen.append(options) or FakeReport())  # type: ignore[func-returns-value]
    assert cli.main(["export", "net.pt"]) == 0 and cli.main(["check", "out"]) == 0
    assert seen == [
        config.ExportOptions(model=Path("net.pt")),
        config.CheckOptions(bundle=Path("out")),
    ]


@pytest.mark.parametrize("command", ["export", "check"])
@pytest.mark.parametrize("ok", [True, False])
def test_exit_code_and_json(
    fake: Any, command: str, ok: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(lambda options, progress: FakeReport(ok))
    assert cli.main([command, "place", "--json"]) == (0 if ok else 1)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"schema": "fake", "ok": ok} and err == ""


def test_what_the_model_prints_does_not_spoil_json(
    fake: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(options: Any, progress: config.Progress) -> FakeReport:
        print("hello from forward")
        return FakeReport()

    fake(work)
    assert cli.main(["export", "net.pt", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["ok"] and err == "hello from forward\n"
    fake(lambda options, progress: print("again") or raising(ERROR)(options, progress))  # type: ignore[func-returns-value]
    assert cli.main(["export", "net.pt", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == "model"


def test_quiet(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fake(lambda options, progress: FakeReport())
    assert cli.main(["export", "net.pt", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_demo_exports_the_example(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[config.ExportOptions] = []
    fake(lambda options, progress: seen.append(options) or FakeReport())  # type: ignore[func-returns-value]
    assert cli.main(["demo", "--target", "cortex-m7", "-o", "somewhere"]) == 0
    out, err = capsys.readouterr()
    assert "the report" in out
    # What it prints is a command that does the same.
    program, *line = shlex.split(err)
    assert program == "edgefactor" and cli.main(line) == 0
    assert seen[0] == seen[1]
    assert (seen[0].target, seen[0].output) == ("cortex-m7", Path("somewhere"))


# -- errors ----------------------------------------------------------------------------------------

ERROR = ModelError(
    "It is [bold]wrong[/bold]",
    where="layer \x1b[31m1",
    found="a " + "long " * 60 + "story",
    expected="x",
    hint="do y",
)


def raising(error: BaseException) -> Work:
    def work(options: Any, progress: config.Progress) -> FakeReport:
        raise error

    return work


def test_error_is_shown_once_as_it_is(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fake(raising(ERROR))
    assert cli.main(["export", "net.pt"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("[bold]wrong[/bold]") == 1
    assert err.splitlines()[0] == "error: It is [bold]wrong[/bold]"
    assert "  expected: x" in err and "  try: do y" in err
    assert "\x1b" not in err and "Traceback" not in err


def test_error_as_json(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fake(raising(BudgetError("Too large", found="300 kB", expected="256 kB")))
    assert cli.main(["export", "net.pt", "--json"]) == 1
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert err == "" and (data["error"], data["found"]) == ("budget", "300 kB")


@pytest.mark.parametrize("ask", ["option", "environment", "no"])
def test_unexpected_exception(
    fake: Any, ask: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(raising(ZeroDivisionError("by zero")))
    monkeypatch.setenv("EDGEFACTOR_DEBUG", "1" if ask == "environment" else "")
    arguments = ["export", "net.pt", *(["--debug"] if ask == "option" else [])]
    assert cli.main(arguments) == 1
    err = capsys.readouterr().err
    assert "defect of edgefactor" in err and "ZeroDivisionError: by zero" in err
    assert "test_cli.py" in err and "--debug" in err
    assert ("Traceback" in err) == (ask != "no")


def test_interrupt(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fake(raising(KeyboardInterrupt()))
    assert cli.main(["export", "net.pt"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as in a terminal, also where a shell's ``&`` started the tests with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_that_a_library_swallowed(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def work(options: Any, progress: config.Progress) -> FakeReport:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if options.quiet_library:
                progress("the next stage")
            raise ModelError("PyTorch cannot turn the model into ONNX") from None
        return FakeReport()

    for quiet_library in (False, True):
        fake(lambda o, p, q=quiet_library: work(type("O", (), {"quiet_library": q}), p))
        assert cli.main(["export", "net.pt"]) == 130
        assert "ONNX" not in capsys.readouterr().err


SLOW_EXPORT = """
import signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
from pathlib import Path
from edgefactor import cli
from edgefactor.pipeline import bundle
import edgefactor.pipeline
def export(options, progress):
    with bundle.writing(options.bundle) as folder:
        (folder / "half").write_text("written")
        print("ready", flush=True)
        time.sleep(60)
run = types.ModuleType("run")
run.export = export
sys.modules["edgefactor.pipeline.run"] = edgefactor.pipeline.run = run
sys.exit(cli.main(["export", "net.pt", "-o", sys.argv[1]]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_the_middle(tmp_path: Path, number: signal.Signals, code: int) -> None:
    output = tmp_path / "out"
    with bundle.writing(output) as folder:
        (folder / "old").write_text("whole")
        bundle.write_manifest(folder, versions={}, options={})
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_EXPORT, str(output)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code and "Traceback" not in err
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert (output / "old").read_text() == "whole"


def test_reader_that_leaves() -> None:
    done = subprocess.run(
        f"{sys.executable} -m edgefactor targets --json | head -c 1",
        shell=True, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "[" and "Traceback" not in done.stderr


# -- commands that need no pipeline ----------------------------------------------------------------


def test_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["targets", "--json"]) == 0
    known = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert {"cortex-m0plus", "cortex-m4", "cortex-m33", "host"} <= set(known)
    assert known["cortex-m"]["alias_of"] == "cortex-m4" and known["host"]["board"] is None
    assert cli.main(["targets"]) == 0
    assert "cortex-m55" in capsys.readouterr().out


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.pipeline import networks

    path = networks.pickled(tmp_path / "net.pt", networks.convolutional())
    assert cli.main(["inspect", str(path), "--input-shape", "1,3,8,8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["macs"] == 7936
    assert cli.main(["inspect", str(path), "--input-shape", "1,3,8,8"]) == 0
    assert "7,936" in capsys.readouterr().out
    assert cli.main(["inspect", str(tmp_path / "absent.pt")]) == 1
    assert "no such model file" in capsys.readouterr().err


def test_as_a_module() -> None:
    done = start("export", "/nonexistent/model.pt", "--target", "no-such-target")
    assert done.returncode == 1 and done.stdout == "" and "no-such-target" in done.stderr


def test_public_api() -> None:
    code = "import sys, edgefactor as ef; assert 'torch' not in sys.modules; ef.list_targets()"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
    for name in edgefactor.__all__:
        if name not in ("export_model", "check_bundle"):
            assert getattr(edgefactor, name) is not None
    assert set(edgefactor.__all__) <= set(dir(edgefactor))
    with pytest.raises(AttributeError):
        edgefactor.nothing  # noqa: B018


def test_sizes_for_people() -> None:
    assert [terminal.size(n) for n in (0, 1 << 20, 3 << 10, 100)] == [
        "no limit", "1 MiB", "3 KiB", "100 B",
    ]  # fmt: skip
