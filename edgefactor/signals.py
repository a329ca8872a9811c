"""Ctrl-C and SIGTERM unwind the stack, so that a half-written bundle is removed.

Libraries below may catch KeyboardInterrupt and report something else (the ONNX exporter of PyTorch
does), so that a stop was asked for is remembered here as well.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_stops: list[int] = []


@contextmanager
def unwinding() -> Iterator[None]:
    """Handles the two signals as described for the length of the block."""
    _stops.clear()
    previous: dict[int, signal.Handlers | int | None] = {}
    try:
        for number, handler in ((signal.SIGINT, _interrupt), (signal.SIGTERM, _terminate)):
            before = signal.getsignal(number)
            # Whoever started us with a signal ignored (nohup, a shell's `&`) meant it.
            if before is not signal.SIG_IGN:
                signal.signal(number, handler)
                previous[number] = before  # type: ignore[assignment]
    except ValueError:
        pass  # not in the main thread: whoever runs the command there handles signals
    try:
        yield
    finally:
        for caught, old in previous.items():
            signal.signal(caught, old)


def check() -> None:
    """Stops now if a stop was asked for and something swallowed it.

    Raises:
        KeyboardInterrupt, SystemExit: As the signal itself does.
    """
    if _stops:
        if _stops[0] == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + _stops[0])


def _interrupt(number: int, frame: FrameType | None) -> None:
    _stops.append(number)
    raise KeyboardInterrupt


def _terminate(number: int, frame: FrameType | None) -> None:
    _stops.append(number)
    raise SystemExit(128 + number)
