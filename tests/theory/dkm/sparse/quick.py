"""jit for programs that run once or on small matrices: most of their time is the compiler's."""

from __future__ import annotations

from functools import partial

import jax

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
