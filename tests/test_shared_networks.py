"""The trained networks of ../shared, as they are and clustered to 16 values, on every runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.c_writer import write_c
from edgefactor.export.ir import Graph
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ports import encode_inputs, input_rows
from edgefactor.export.reference import run_samples
from edgefactor.export.serialize import from_json
from edgefactor.pipeline import run
from edgefactor.pipeline.bundle import C_FOLDER, GRAPH
from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.report import Report
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.host import HostRunner
from edgefactor.runtime.parity import compare_codes
from edgefactor.targets.catalogue import load_target
from tests.tools import require_tool

pytestmark = [pytest.mark.slow, pytest.mark.shared]

NETWORKS = ("resnet8", "ds_cnn", "autoencoder")
VALUES = 16
HOST_SAMPLES, EMULATED_SAMPLES, LABELLED = 100, 10, 1000
OTHER_TARGETS = ("cortex-m0plus", "cortex-m3", "cortex-m7", "cortex-m33", "cortex-m55")


def data_of(name: str, shared: Path, folder: Path) -> tuple[str, str]:
    """Calibration and evaluation data as files."""
    if name == "resnet8":
        arrays = np.load(shared / "data" / "cifar10.npz")
        held = {"x": arrays["x_train"][:256].transpose(0, 3, 1, 2)}
        kept = arrays["x_test"][:LABELLED].transpose(0, 3, 1, 2)
        seen = {"x": kept, "y": arrays["y_test"][:LABELLED]}
    elif name == "ds_cnn":
        arrays = np.load(shared / "data" / "kws01.npz")
        features = ((arrays["x"].astype(np.float32) - 83) * np.float32(0.5847029))[:, None]
        held, seen = {"x": features[:256]}, {"x": features, "y": arrays["y"]}
    else:
        noise = np.random.default_rng(0).normal(-20, 10, (400, 640)).astype(np.float32)
        held, seen = {"x": noise[:256]}, {"x": noise[256:]}
    for kind, content in (("calibration", held), ("data", seen)):
        np.savez(folder / f"{kind}.npz", **content)
    return str(folder / "calibration.npz"), str(folder / "data.npz")


def clustered(weights: Path, folder: Path) -> Path:
    state = torch.load(weights, weights_only=True)
    for name, tensor in state.items():
        if name.endswith("weight") and tensor.ndim > 1:
            values = tensor.numpy().reshape(-1, 1)
            means = KMeans(VALUES, n_init=1, random_state=0, max_iter=60).fit(values)
            shared = means.cluster_centers_[means.labels_].astype(np.float32)
            state[name] = torch.from_numpy(shared.reshape(tensor.shape))
    torch.save(state, folder / "clustered.pt")
    return folder / "clustered.pt"


@pytest.fixture(scope="module", params=[(n, c) for n in NETWORKS for c in (False, True)], ids=str)
def exported(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, bool, Path, Report]:
    for program in ("cc", "arm-none-eabi-gcc", "qemu-system-arm"):
        require_tool(program)
    name, share = request.param
    folder = tmp_path_factory.mktemp(name)
    calibration, data = data_of(name, shared, folder)
    weights = shared / "models" / f"{name}.pt"
    options = ExportOptions(
        model=clustered(weights, folder) if share else weights,
        factory=f"{shared / 'models' / 'mlperf_tiny.py'}:{name}",
        target="cortex-m4",
        calibration=calibration,
        data=data,
        output=folder / "out",
        name=name,
        samples=HOST_SAMPLES,
        emulated_samples=EMULATED_SAMPLES,
        max_accuracy_drop=1.0,
    )
    return name, share, folder / "out", run.export(options)


def test_every_rung_holds_and_accuracy_stays(exported: tuple[str, bool, Path, Report]) -> None:
    name, share, _, report = exported
    assert report.ok, [rung for rung in report.parity if not rung.passed] or report.gates
    exact = {rung.rung: rung for rung in report.parity if rung.exact_required}
    assert set(exact) == {"litert reference", "tflm", "c host", "c emulated cortex-m4"}
    for rung in exact.values():
        assert rung.differing_elements == 0
        wanted = EMULATED_SAMPLES if "emulated" in rung.rung else HOST_SAMPLES
        assert rung.samples == wanted
    if name != "autoencoder" and not share:
        against_float = next(r for r in report.parity if r.rung == "numpy reference")
        assert against_float.argmax_agreement is not None
        assert against_float.argmax_agreement >= 0.97
        assert report.accuracy.drop_points is not None
        assert report.accuracy.drop_points <= 1.0


def test_clustered_weights_stay_clustered(exported: tuple[str, bool, Path, Report]) -> None:
    _, share, folder, report = exported
    if not share:
        pytest.skip("not clustered")
    graph = from_json((folder / GRAPH).read_text(), "graph")
    weights = [graph.tensors[op.inputs[1]] for op in graph.ops if isinstance(op, Conv2D)]
    assert all(len(np.unique(tensor.values)) <= VALUES for tensor in weights)
    stored = [layer for layer in report.layers if layer.encoding]
    raw = sum(tensor.elements for tensor in weights)
    assert sum(layer.weight_bytes for layer in stored) <= 0.55 * raw
    assert all(layer.bits <= 4 for layer in stored)


def sources_for(graph: Graph, target_name: str, folder: Path) -> Path:
    target = load_target(target_name)
    features = IsaFeatures(dsp=target.dsp, mve=target.mve, unaligned=target.unaligned)
    sources = write_c(graph, CTarget(features=features), prefix="net")
    run.write_sources(folder, sources, target)
    return folder / C_FOLDER


@pytest.mark.parametrize("target_name", OTHER_TARGETS)
def test_other_cores(
    exported: tuple[str, bool, Path, Report], target_name: str, tmp_path: Path
) -> None:
    _, _, folder, _ = exported
    graph = from_json((folder / GRAPH).read_text(), "graph")
    codes = encode_inputs(graph, real_inputs(folder, graph, EMULATED_SAMPLES))
    place = sources_for(graph, target_name, tmp_path)
    with EmulatedRunner(place, load_target(target_name)) as runner:
        compare(graph, codes, runner)


@pytest.mark.parametrize("target_name", ["cortex-m0plus", "cortex-m4"])
def test_host_with_sanitizers(
    exported: tuple[str, bool, Path, Report], target_name: str, tmp_path: Path
) -> None:
    _, _, folder, _ = exported
    graph = from_json((folder / GRAPH).read_text(), "graph")
    codes = encode_inputs(graph, real_inputs(folder, graph, HOST_SAMPLES))
    with HostRunner(sources_for(graph, target_name, tmp_path), sanitize=True) as runner:
        compare(graph, codes, runner)


def real_inputs(folder: Path, graph: Graph, count: int) -> list[np.ndarray]:
    x = np.load(folder.parent / "data.npz")["x"][:count].astype(np.float32)
    return [x.reshape(count, *graph.inputs[0].shape[1:])]


def compare(
    graph: Graph, codes: dict[str, np.ndarray], runner: HostRunner | EmulatedRunner
) -> None:
    order = [tensor.name for tensor in graph.activations]
    found = compare_codes(run_samples(graph, codes), runner.run(input_rows(graph, codes)), order)
    assert found.tensors == len(order)
    assert found.differing_elements == 0, found.first
