"""Tables of results from CSV, JSON Lines and folders of our own runs; nothing dropped silently."""

from farwide.tables.read import is_our_runs, read_table
from farwide.tables.runs import LeftOut, final_or_reason, runs_table
from farwide.tables.table import Removal, Table

__all__ = [
    "LeftOut",
    "Removal",
    "Table",
    "final_or_reason",
    "is_our_runs",
    "read_table",
    "runs_table",
]
