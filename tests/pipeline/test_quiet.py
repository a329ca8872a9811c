"""Loading and tracing in several threads at once leave nothing changed behind."""

import io
import logging
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from edgefactor.pipeline.load import LoadedModel, load
from edgefactor.pipeline.quiet import quiet
from edgefactor.pipeline.trace import to_onnx
from tests.pipeline import networks

THREADS = 4


def test_what_belongs_to_the_process_is_restored() -> None:
    before = (sys.stdout, sys.stderr, logging.root.manager.disable, list(warnings.filters))

    def work(index: int) -> str:
        time.sleep(0.05 * index)
        with quiet(streams=True):
            print("hidden")
            # Blocks that overlapped would end in the order in which they began.
            time.sleep(0.2)
            assert isinstance(sys.stdout, io.StringIO)
            return sys.stdout.getvalue()

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(work, range(THREADS))) == ["hidden\n"] * THREADS
    after = (sys.stdout, sys.stderr, logging.root.manager.disable, list(warnings.filters))
    assert after == before


def test_quiet_inside_quiet() -> None:
    before = logging.root.manager.disable
    with quiet(level=logging.ERROR), quiet():
        assert logging.root.manager.disable == logging.WARNING
    assert logging.root.manager.disable == before


def test_pickled_modules_load_side_by_side(tmp_path: Path) -> None:
    """PyTorch's list of classes that may be unpickled is one of the process."""
    path = networks.pickled(tmp_path / "m.pt", networks.convolutional())
    x = torch.ones(1, 3, 8, 8)

    def work(index: int) -> LoadedModel:
        return load(path)

    with ThreadPoolExecutor(THREADS) as pool:
        loaded = list(pool.map(work, range(4 * THREADS)))
    assert all(torch.equal(one.module(x), loaded[0].module(x)) for one in loaded)


def test_networks_are_traced_side_by_side() -> None:
    # Made here: the seed of their weights is one of the process.
    modules = [networks.convolutional() for _ in range(2)]

    def work(module: torch.nn.Module) -> bytes:
        model = LoadedModel(kind="module", program=module, source="net.pt")
        return to_onnx(model, [torch.ones(1, 3, 8, 8)]).model.SerializeToString()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, modules)
    assert first == second
