"""Progress bars: rate and remaining time on a terminal, silence elsewhere."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from farwide.progress import engineering, sweep_progress


def show(force_terminal: bool) -> str:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=force_terminal, width=120)
    with sweep_progress(console, total_flops=4e9) as progress:
        progress.start_run("w016", tokens=2000, flops_per_token=1e6)
        for tokens in (0, 500, 1000, 2000):
            progress.tokens_done(tokens)
            time.sleep(0.15)
        progress.end_run(2000)
        progress.start_run("w032", tokens=1000, flops_per_token=2e6)
        progress.tokens_done(500)
        time.sleep(0.15)
    return shown.getvalue()


def test_a_terminal_sees_both_bars_with_rate_and_remaining_time():
    shown = show(force_terminal=True)
    assert "sweep" in shown
    assert "w016" in shown
    assert "w032" in shown
    assert re.search(r"\d GFLOP/s", shown)
    assert re.search(r"\d (k)?tok/s", shown)
    assert re.search(r"0:00:\d\d", shown)
    assert " 75%" in shown  # 2e9 of the first run and 1e9 of the second, of 4e9


def test_elsewhere_there_is_silence():
    assert show(force_terminal=False) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5 "), (999, "999 "), (21_400, "21.4 k"), (3.2e12, "3.2 T"), (1e16, "10 P")],
)
def test_engineering_notation(value, text):
    assert engineering(value) == text
