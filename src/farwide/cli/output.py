"""Tables and numbers on a terminal, and the same as plain text anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: drawn by rich on a terminal, else as columns of plain text."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(title), title_justify="left", title_style="bold")
        for name in header:
            table.add_column(Text(name), overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    print(title)
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"  {line}".rstrip())
    print()


def number(value: float, digits: int = 4) -> str:
    """A number with so many significant digits, large and small ones as 1.23e+09."""
    return f"{value:.{digits}g}"


def interval(low: float | None, high: float | None, digits: int = 4) -> str:
    """ "[low, high]", or "-" without one."""
    if low is None or high is None:
        return "-"
    return f"[{number(low, digits)}, {number(high, digits)}]"


def count(n: int, noun: str) -> str:
    """ "1 run", "2 runs"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def percent(level: float) -> str:
    """A level of confidence: 0.95 -> "95%"."""
    return f"{100 * level:.4g}%"
