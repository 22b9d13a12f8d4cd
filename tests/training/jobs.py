"""Jobs of the tests of sweeps; they run in processes of their own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from farwide.endings import Interrupted
from farwide.training.interruption import stop_on_signals


def count(path: str, to: int, stop_at: int = 0) -> int:
    """Count in a file, saved at each number; once at `stop_at`, be asked to stop."""
    file = Path(path)
    number = int(file.read_text()) if file.exists() else 0
    with open(file.with_suffix(".starts"), "a") as starts:
        starts.write(f"{number}\n")
    with stop_on_signals() as stop:
        while number < to:
            number += 1
            file.write_text(str(number))
            if number == stop_at:
                os.kill(os.getpid(), signal.SIGUSR2)
            if stop():
                raise Interrupted(f"stopped at {number}")
    return number


def fail(text: str) -> None:
    """Never returns."""
    raise ValueError(text)
