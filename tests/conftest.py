"""Settings of every test."""

from __future__ import annotations

import os

# Half a second of compilation for each shape that is drawn, with the default generator; this one
# takes a third of that. Set before JAX is imported, and inherited by the processes of tests.
os.environ.setdefault("JAX_DEFAULT_PRNG_IMPL", "rbg")
# Many processes test at once, and idle threads of OpenBLAS, which spin, would slow factorisations
# of small matrices a hundredfold.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
