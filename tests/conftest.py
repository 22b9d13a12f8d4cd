"""Settings of every test."""

from __future__ import annotations

import os

# Half a second of compilation for each shape that is drawn, with the default generator; this one
# takes a third of that. Set before JAX is imported, and inherited by the processes of tests.
os.environ.setdefault("JAX_DEFAULT_PRNG_IMPL", "rbg")
