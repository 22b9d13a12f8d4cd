"""Tables of results from logs of any origin; nothing dropped silently."""

from farwide.tables.conditions import Condition, parse_condition
from farwide.tables.read import filter_runs, read_table
from farwide.tables.runs import LeftOut, final_or_reason, runs_table
from farwide.tables.selection import ROWS
from farwide.tables.sources import is_our_runs
from farwide.tables.table import Removal, Table

__all__ = [
    "ROWS",
    "Condition",
    "LeftOut",
    "Removal",
    "Table",
    "filter_runs",
    "final_or_reason",
    "is_our_runs",
    "parse_condition",
    "read_table",
    "runs_table",
]
