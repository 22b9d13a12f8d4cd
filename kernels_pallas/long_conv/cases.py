"""One named table of problems, which feeds the tests and the benchmark."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """The static facts of a long convolution; float32 unless the caller says otherwise."""

    batch: int
    channels: int
    length: int
    taps: int
    future_taps: int = 0
    mode: str = "causal"
    layout: str = "BCL"
    skip: bool = False
    pre_gate: bool = False
    post_gate: bool = False


# Small problems that reach every branch: each form; odd, prime and unit lengths; past and future.
TESTS = {
    "one point": Case(2, 3, 1, 1, 1, skip=True),
    "one tap": Case(2, 3, 17, 1),
    "two points": Case(1, 2, 2, 2, 2),
    "few taps": Case(2, 3, 50, 5, 2, skip=True, pre_gate=True, layout="BLC"),
    "few taps circular": Case(2, 3, 50, 8, mode="circular", post_gate=True),
    "shifts forward only": Case(2, 3, 60, 20, 10, skip=True),
    "shifts forward only circular": Case(2, 3, 45, 30, mode="circular", layout="BLC"),
    "full": Case(3, 4, 128, 128),
    "full odd": Case(2, 3, 135, 135, skip=True),
    "full prime": Case(2, 3, 127, 127, pre_gate=True, post_gate=True),
    "partial": Case(2, 3, 200, 70, skip=True, layout="BLC"),
    "gated": Case(2, 4, 96, 96, skip=True, pre_gate=True, post_gate=True, layout="BLC"),
    "bidirectional": Case(2, 3, 100, 100, 100, skip=True, pre_gate=True),
    "bidirectional odd": Case(2, 3, 99, 99, 40, post_gate=True, layout="BLC"),
    "mostly future": Case(2, 3, 101, 1, 90),
    "circular": Case(2, 3, 96, 96, mode="circular", skip=True),
    "circular odd": Case(2, 3, 97, 80, mode="circular", layout="BLC", pre_gate=True),
    "no batch": Case(0, 3, 100, 100, 7, skip=True, pre_gate=True),
}

# Full-length causal filters, sized so that one pass stays within seconds on 2 CPU cores.
BENCHMARKS = {
    "256": Case(8, 128, 256, 256),
    "512": Case(8, 128, 512, 512),
    "1K": Case(8, 128, 1024, 1024),
    "4K": Case(8, 128, 4096, 4096),
    "16K": Case(4, 128, 16384, 16384),
    "64K": Case(2, 64, 65536, 65536),
    "256K": Case(2, 16, 262144, 262144),
    "1M": Case(2, 4, 1048576, 1048576),
    "demo 256": Case(8, 64, 256, 256, layout="BLC", skip=True, pre_gate=True, post_gate=True),
    "demo 512": Case(4, 128, 512, 512, layout="BLC", skip=True, pre_gate=True, post_gate=True),
}
QUICK = ("256", "1K", "4K", "demo 256")
