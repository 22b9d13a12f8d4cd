"""SIGTERM and Ctrl-C ask a loop to stop at its next step, where it saves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Catch SIGTERM and the first SIGINT within the block; yields `stop_requested() -> bool`.

    A second SIGINT is Ctrl-C as ever. What was set before is set again at the end. What is ignored
    stays ignored, as SIGINT is in a job that a shell put in the background. Outside the main thread
    Python takes no handlers, so nothing is caught there.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}

    def remember(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT] or signal.default_int_handler)

    try:
        for number in before:
            signal.signal(number, remember)
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: set by a program that is not Python
                signal.signal(number, handler)
