"""Neighborhood attention in plain JAX: the default, on any platform, differentiable in every mode.

The parts: tiling.py cuts arrays and says where boxes are, blocked.py holds the two schedules,
derivative.py makes them one differentiable function, config.py chooses tiles. Additional keys are
an attention of their own, merged by the log-sum-exps.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
from jax import Array

from kernels_pallas.neighborhood_attention import config, reference, windows
from kernels_pallas.neighborhood_attention.additional import with_additional
from kernels_pallas.neighborhood_attention.blocked import Operands, Plan, Problem
from kernels_pallas.neighborhood_attention.derivative import attend
from kernels_pallas.neighborhood_attention.windows import Integer


def forward(
    call,
    q: Array,
    k: Array,
    v: Array,
    additional_keys: Array | None,
    additional_values: Array | None,
    mask: Array | None,
    bias: Array | None,
    *,
    plan: Plan | None = None,
) -> tuple[Array, Array]:
    """(out, lse) of a checked call; operands as `neighborhood_attention`."""
    return attend_frame(
        call, None, q, k, v, additional_keys, additional_values, mask, bias, plan=plan
    )


def attend_frame(
    call,
    frame: Sequence[tuple[Integer, Integer]] | None,
    q: Array,
    k: Array,
    v: Array,
    additional_keys: Array | None,
    additional_values: Array | None,
    mask: Array | None,
    bias: Array | None,
    *,
    plan: Plan | None = None,
) -> tuple[Array, Array]:
    """(out, lse) of a part of the queries of a call, from a part of the keys.

    Args:
      call: the facts of the whole problem; its `space` is the whole's.
      frame: for each axis the positions, in the whole, of the first query and of the first key that
        the arrays hold, multiples of the axis' dilation, ints or traced; None for the whole.
        A position of a key outside the whole (below 0 too) may be there and is never attended;
        every key that a query attends must be there.
      q, k, v, additional_keys, additional_values, mask, bias: as `neighborhood_attention`; k, v and
        mask hold the same keys.
      plan: how to cut the work; None: by config.py.
    """
    origins = None
    if frame is not None:
        origins = tuple(
            (query // d, key // d) for (query, key), d in zip(frame, call.dilation, strict=True)
        )
    if call.batch == 0:  # nothing to cut
        return reference.forward(call, q, k, v, additional_keys, additional_values, mask, bias)
    chosen = plan or config.plan(call, q.shape[1:-2], whole=frame is None)
    problem = Problem(windows.axes_of(call), call.scale, chosen)
    operands = Operands(q, k, v, mask, bias, origins)
    return _attend(problem, operands, additional_keys, additional_values)


@partial(jax.jit, static_argnums=0)  # a call outside of jit compiles once, not op by op
def _attend(
    problem: Problem, operands: Operands, keys: Array | None, values: Array | None
) -> tuple[Array, Array]:
    q = operands.q
    out, lse = attend(problem, operands)
    out, lse = with_additional(problem.scale, q, out, lse, keys, values)
    return out.astype(q.dtype), lse


__all__ = ["attend_frame", "forward"]
