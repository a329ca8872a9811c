"""Networks that keep states: exported, checked step by step, and called from C as a user does."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
import torch

from edgefactor.errors import OptionError
from edgefactor.export.ir import DType, Graph
from edgefactor.export.ports import encode_inputs
from edgefactor.export.reference import run_samples
from edgefactor.export.serialize import from_json
from edgefactor.pipeline import run
from edgefactor.pipeline.bundle import C_FOLDER, GRAPH
from edgefactor.pipeline.config import CheckOptions, ExportOptions
from edgefactor.pipeline.inputs.carried import find_states
from edgefactor.pipeline.report import Report
from edgefactor.runtime.toolchain import run as run_program
from tests.tools import require_tool

STEPS = 24
FACTORY = """
import torch
from torch import nn

class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.GRU(6, 10, batch_first=True), nn.Linear(10, 3)
    def forward(self, x, h):
        y, h = self.layer(x, h)
        return self.head(y[:, -1]), h

class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.LSTM(6, 10, batch_first=True), nn.Linear(10, 3)
    def forward(self, h, x, c):
        y, (h, c) = self.layer(x, (h, c))
        return h, self.head(y[:, -1]), c

class Delay(nn.Module):
    \"\"\"A convolution over the last four frames; the state is int8.\"\"\"
    def __init__(self):
        super().__init__()
        self.filter = nn.Conv1d(6, 3, 4)
    def forward(self, x, past):
        window = torch.cat([past, x], dim=2)
        return self.filter(window)[:, :, 0], window[:, :, 1:]

class Stack(nn.Module):
    \"\"\"Two layers with a state each.\"\"\"
    def __init__(self):
        super().__init__()
        self.first = nn.GRU(6, 10, batch_first=True)
        self.second, self.head = nn.LSTM(10, 4, batch_first=True), nn.Linear(4, 3)
    def forward(self, x, h, g, c):
        y, h = self.first(x, h)
        y, (g, c) = self.second(y, (g, c))
        return self.head(y[:, -1]), h, g, c

class Layers(nn.Module):
    \"\"\"The layers of one module, in both directions; their states are the rows of one.\"\"\"
    def __init__(self):
        super().__init__()
        self.layers = nn.GRU(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(10, 3)
    def forward(self, x, h):
        y, h = self.layers(x, h.transpose(0, 1))
        return self.head(y[:, -1]), h.transpose(0, 1)

def gru(): return Gru()
def stack(): return Stack()
def layers(): return Layers()
def lstm(): return Lstm()
def delay(): return Delay()
"""
#: Name -> shape of a frame, --stateful, shapes of the states, bytes kept.
NETWORKS = {
    "gru": ((1, 1, 6), ("h=output1",), ("h=1,1,10",), 20),
    "lstm": ((1, 1, 6), ("h=0", "c=output2"), ("h=1,1,10", "c=1,1,10"), 40),
    "stack": (
        (1, 1, 6),
        ("h=1", "g=2", "c=3"),
        ("h=1,1,10", "g=1,1,4", "c=1,1,4"),
        36,
    ),
    "layers": ((1, 1, 6), ("h=output1",), ("h=1,4,5",), 40),
    "delay": ((1, 6, 1), ("past=output1",), ("past=1,6,3",), 18),
}


def exported(name: str, folder: Path) -> tuple[Report, Path]:
    frame, stateful, shapes, _ = NETWORKS[name]
    (folder / "net.py").write_text(FACTORY)
    scope: dict[str, object] = {}
    exec(FACTORY, scope)
    torch.manual_seed(1)
    torch.save(scope[name]().state_dict(), folder / "net.pt")  # type: ignore[operator]
    x = np.random.default_rng(2).standard_normal((STEPS, *frame[1:])).astype(np.float32)
    np.savez(folder / "frames.npz", x=x)
    options = ExportOptions(
        model=folder / "net.pt",
        factory=f"{folder / 'net.py'}:{name}",
        calibration=str(folder / "frames.npz"),
        output=folder / "out",
        stateful=stateful,
        input_shapes=tuple(shape_of(text) for text in shapes),
        name="net",
        samples=STEPS,
        emulate=False,
    )
    return run.export(options), folder


def shape_of(text: str):
    from edgefactor.pipeline.config import InputShape

    name, _, dims = text.partition("=")
    return InputShape(name=name, dims=tuple(map(int, dims.split(","))))


def graph_in(folder: Path) -> Graph:
    path = folder / "out" / GRAPH
    return from_json(path.read_text(), str(path))


class Library:
    """The generated C of a bundle as a shared library."""

    def __init__(self, folder: Path) -> None:
        require_tool("gcc")
        sources = folder / "out" / C_FOLDER
        library = folder / "net.so"
        files = [*sources.glob("*.c"), *sources.glob("kernels/*.c")]
        flags = ["-std=c99", "-O1", "-shared", "-fPIC", "-fsanitize=undefined"]
        strict = ["-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
        run_program(("gcc", *flags, *strict, "-o", library, *files), timeout_seconds=120)
        self.functions = ctypes.CDLL(str(library))
        memory = np.zeros(1 << 16, np.int8)
        self.arena = memory[-memory.ctypes.data % 64 :]

    def reset(self, state: np.ndarray) -> None:
        self.functions.net_reset(state.ctypes.data_as(ctypes.c_void_p))

    def step(self, state: np.ndarray | None, frame: np.ndarray, scores: np.ndarray) -> int:
        pointers = [None if a is None else a.ctypes for a in (self.arena, state, frame, scores)]
        return int(
            self.functions.net_run(
                *(None if p is None else p.data_as(ctypes.c_void_p) for p in pointers)
            )
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_every_rung_and_the_interface(name: str, tmp_path: Path) -> None:
    report, folder = exported(name, tmp_path)
    assert report.ok
    exact = [rung for rung in report.parity if rung.exact_required]
    assert {rung.rung for rung in exact} >= {"litert reference", "tflm", "c host"}
    assert all(rung.differing_elements == 0 and rung.samples == STEPS for rung in exact)
    graph = graph_in(folder)
    for takes, returns in graph.state_tensors:
        ends = graph.tensors[takes], graph.tensors[returns]
        assert ends[0].quant == ends[1].quant
        assert ends[0].dtype is ends[1].dtype is (DType.INT8 if name == "delay" else DType.INT16)
    # Two streams in one arena, each with its own state, as an application runs them.
    library = Library(folder)
    frames = np.load(folder / "frames.npz")["x"][:, None]
    kept = {state.input for state in graph.states}
    data = [
        np.zeros((STEPS, *port.shape[1:]), np.float32) if port.name in kept else frames[:, 0]
        for port in graph.inputs
    ]
    codes = encode_inputs(graph, data)
    expected = run_samples(graph, codes)
    (frame_tensor,) = (p.tensor for p in graph.inputs if p.name not in kept)
    returned = {state.output for state in graph.states}
    (score_tensor,) = (p.tensor for p in graph.outputs if p.name not in returned)
    states = [np.full(NETWORKS[name][3] + 8, 99, np.int8) for _ in range(2)]
    scores = np.zeros(graph.tensors[score_tensor].elements, np.int8)
    for state in states:
        library.reset(state)
    for step in range(STEPS):
        for stream, state in enumerate(states):
            if step >= 5 * stream:
                frame = np.ascontiguousarray(codes[frame_tensor][step - 5 * stream])
                assert library.step(state, frame, scores) == 0
                np.testing.assert_array_equal(
                    scores, expected[score_tensor][step - 5 * stream].reshape(-1)
                )
    assert all(np.all(state[NETWORKS[name][3] :] == 99) for state in states)
    assert library.step(None, frame, scores) == 1


def test_a_finished_bundle_is_checked_again(tmp_path: Path) -> None:
    _, folder = exported("gru", tmp_path)
    frames = str(folder / "frames.npz")
    report = run.check(CheckOptions(bundle=folder / "out", data=frames, emulate=False))
    assert report.ok
    assert all(rung.differing_elements == 0 for rung in report.parity if rung.exact_required)


@pytest.mark.parametrize(
    "wanted", [("z=output1",), ("h=scores",), ("h=1", "h=2"), ("h=1", "x=0"), ("h",)]
)
def test_no_such_state(wanted: tuple[str, ...]) -> None:
    if wanted == ("h",):
        assert find_states(wanted, ("x", "h"))[0].output == 0
        return
    with pytest.raises(OptionError, match="state"):
        find_states(wanted, ("x", "h"))


def test_an_output_of_another_shape(tmp_path: Path) -> None:
    NETWORKS["gru"] = (NETWORKS["gru"][0], ("h=output0",), *NETWORKS["gru"][2:])
    try:
        with pytest.raises(OptionError, match="next value"):
            exported("gru", tmp_path)
    finally:
        NETWORKS["gru"] = (NETWORKS["gru"][0], ("h=output1",), *NETWORKS["gru"][2:])
