"""Roles and factors as a table for people."""

from __future__ import annotations

from typing import Any

import jax
from rich.table import Table

from farwide.mup.factors import initial_factor, learning_rate_factor
from farwide.mup.roles import path_of


def describe(roles: Any) -> Table:
    """A line for each parameter: its shape, its role, how its fans grew, and what muP makes of it.

    The factors multiply the standard initialisation and the learning rates of Adam and SGD.
    """
    shown = Table(title="muP relative to the base width", box=None, pad_edge=False)
    for column in ("parameter", "shape", "role"):
        shown.add_column(column)
    for column in ("fan-in", "fan-out", "init", "Adam", "SGD"):
        shown.add_column(column, justify="right")
    for path, role in jax.tree_util.tree_leaves_with_path(roles):
        factors = (
            initial_factor(role), learning_rate_factor(role, "adam"),
            learning_rate_factor(role, "sgd"),
        )  # fmt: skip
        marked = (
            f"{size}*" if axis in role.grows else str(size) for axis, size in enumerate(role.shape)
        )
        shown.add_row(
            path_of(path), f"({', '.join(marked)})", role.kind,
            *(f"× {value:.4g}" for value in (role.fan_in, role.fan_out, *factors)),
        )  # fmt: skip
    shown.caption = "* grows with the width"
    return shown
