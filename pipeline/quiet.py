"""PyTorch and ONNX kept from printing, one thread at a time.

Warning filters, the level of logging, the standard streams and the classes that PyTorch may
unpickle belong to the whole process. Two threads that change and restore them at once would restore
each other's changes, and PyTorch's exporter patches its own modules while it traces.
"""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout

_ALONE = threading.RLock()


@contextmanager
def quiet(*, level: int = logging.WARNING, streams: bool = False) -> Iterator[None]:
    """Keeps warnings and log lines up to `level` off the terminal, and with `streams` all output.

    Other threads wait here until the block has ended.
    """
    with _ALONE, ExitStack() as stack:
        previous = logging.root.manager.disable
        stack.callback(logging.disable, previous)
        logging.disable(level)
        stack.enter_context(warnings.catch_warnings())
        if streams:
            sink = io.StringIO()
            stack.enter_context(redirect_stdout(sink))
            stack.enter_context(redirect_stderr(sink))
        warnings.simplefilter("ignore")
        yield
