"""How the XLA path cuts its work."""

from __future__ import annotations

from kernels_pallas.neighborhood_attention.blocked import Plan

TOKENS = 32


def plan(call, space: tuple[int, ...]) -> Plan:
    """The plan of a call whose arrays hold queries in `space`."""
    rank = len(call.space)
    side = {1: 32, 2: 4, 3: 3}[rank]
    return Plan(tuple(min(side, -(-n // d)) for n, d in zip(space, call.dilation, strict=True)))
