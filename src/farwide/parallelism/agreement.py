"""Decisions that all processes take together."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils


def any_process(flag: bool) -> bool:
    """Whether any process has the flag; every process must ask. Costs nothing in a single one."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray([flag])).any())


def on_first(action: Callable[[], None]) -> None:
    """Run `action` in process 0 while the others wait; every process must call.

    Raises:
      RuntimeError: in the other processes, where it raised in process 0.
    """
    if jax.process_count() == 1:
        action()
        return
    failed = True
    try:
        if jax.process_index() == 0:
            action()
        failed = False
    finally:
        failed_anywhere = any_process(failed)
    if failed_anywhere:
        raise RuntimeError("process 0 failed; its own message says why")
