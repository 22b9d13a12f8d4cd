"""What tests of layers share.

`jit` is for programs that run once or on small matrices: most of their time is the compiler's.
"""

from __future__ import annotations

from functools import partial

import jax

from tests.numerics import relative_max

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def agree(actual, expected, tolerance=1e-10):
    """Every array of `actual` is its counterpart, relative to the largest entry of that."""
    for got, wanted in zip(actual, expected, strict=True):
        assert relative_max(got, wanted) < tolerance
