"""Where fits run: in float64, on the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def float64_on_host() -> Iterator[None]:
    """Trace and run in float64 on the CPU, in this thread only: many tiny loops are no job for an
    accelerator. Results are to be made NumPy arrays before the context is left.
    """
    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield
