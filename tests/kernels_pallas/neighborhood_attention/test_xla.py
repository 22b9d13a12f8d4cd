"""The XLA path's own parts: layouts, plans, frames, memory."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.neighborhood_attention import config, reference, tiling, windows, xla
from kernels_pallas.neighborhood_attention.blocked import Plan
from kernels_pallas.neighborhood_attention.windows import Axis
from tests.kernels_pallas.neighborhood_attention.kernel_problems import call_of
from tests.kernels_pallas.neighborhood_attention.problems import cast, make, operands
from tests.numerics import assert_close

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
LINE = make((23,), (5,), dilation=(2,), stride=(3,), mask=True, bias=True)
PLANE = make((9, 8), (3, 4), stride=(2, 1), causal=(True, False), kv_heads=1, bias=True)


def given(problem):
    arrays = cast(operands(problem), "float32")
    return [arrays.get(name) for name in ("q", "k", "v", "", "", "mask", "bias")]


def everything(forward, arrays):
    """(out, lse) and the gradients of a function of both that is not linear."""
    floats = [a for a in arrays if a is not None and a.dtype != bool]

    def of_floats(floats):
        left = iter(floats)
        filled = [a if a is None or a.dtype == bool else next(left) for a in arrays]
        out, lse = forward(*filled)
        lse = jnp.where(lse > -jnp.inf, lse, 0)
        return jnp.sin(out).sum() + jnp.cos(lse).sum(), (out, lse)

    slopes, values = jax.grad(of_floats, has_aux=True)(floats)
    return values, slopes


@pytest.mark.parametrize("causal", [False, True])
def test_boxes_hold_what_their_queries_attend(causal):
    shapes = ((13, 4, 1, 3, 4), (17, 3, 3, 2, 2), (9, 9, 1, 5, 4), (8, 2, 3, 2, 9))
    for length, w, d, s, tile in shapes:
        axis = Axis(length, w, d, s, causal)
        places = tiling.places(length, d)
        box = tiling.box_size(axis, tile, aligned=True)
        assert box <= tiling.box_size(axis, tile, aligned=False)
        tables = tiling.axis_tables(axis, tile, box, places, places, None)
        for group in range(d):
            n = int(windows.group_length(length, d, group))
            row = group if tables.first.shape[0] > 1 else 0
            for p in range(n):
                first, stop = (np.asarray(t)[row, p // tile, p % tile] for t in tables[2:])
                assert first == windows.start(p, n, w, s, causal)
                assert stop == windows.end(p, n, w, s, causal)
                begin = int(tables.start[p // tile])
                assert begin <= first
                assert stop <= begin + box <= places
                assert int(tables.offset[p // tile]) == begin - p // tile * tile


@pytest.mark.parametrize(
    ("problem", "plan"),
    [
        (LINE, Plan((4,), 2)),
        (LINE, Plan((12,), 1)),
        (LINE, Plan((1,), 5)),
        (PLANE, Plan((4, 3), 4)),
        (PLANE, Plan((9, 1), 3)),
    ],
    ids=str,
)
def test_any_plan_gives_the_same(problem, plan):
    call, arrays = call_of(problem), given(problem)
    ours = jit(lambda a: everything(partial(xla.forward, call, plan=plan), a))(arrays)
    exact = jit(lambda a: everything(partial(reference.forward, call), a))(arrays)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(exact), strict=True):
        assert_close(jnp.where(jnp.isinf(b), 0, a), jnp.where(jnp.isinf(b), 0, b))
        np.testing.assert_array_equal(jnp.isinf(a), jnp.isinf(b))


@pytest.mark.parametrize("traced", [False, True])
def test_a_part_of_the_queries(traced):
    """Queries 8 to 15 of 23, from the keys they attend and from some that do not exist."""
    problem = LINE
    call, (q, k, v, _, _, mask, bias) = call_of(problem), given(problem)
    whole = reference.forward(call, q, k, v, None, None, mask, bias)

    def part(first, length, before, after):
        q_part = q[:, first : first + length]
        pad = [(0, 0), (before, after)] + [(0, 0)] * 2
        stop = first + length + before + after
        k_part, v_part = (jnp.pad(a, pad)[:, first:stop] for a in (k, v))
        mask_part = jnp.pad(mask, pad[:2])[:, first:stop]

        def run(query, key):
            frame = ((query, key),)
            return xla.attend_frame(
                call, frame, q_part, k_part, v_part, None, None, mask_part, bias
            )

        return (jit(run) if traced else run)(first, first - before)

    for first, length, before, after in ((8, 8, 8, 8), (0, 8, 4, 12), (16, 7, 14, 2)):
        out, lse = part(first, length, before, after)
        rows = slice(first, first + length)
        assert_close(out, whole[0][:, rows])
        finite = np.isfinite(whole[1][:, rows])
        assert_close(np.where(finite, lse, 0), np.where(finite, whole[1][:, rows], 0))


def test_plans_fit_what_they_cut():
    shapes = (((5,), (1,)), ((4096,), (1,)), ((3, 200), (1, 4)), ((2, 9, 31), (1, 2, 3)))
    for space, dilation in shapes:
        window = tuple(max(2, n // d // 2) for n, d in zip(space, dilation, strict=True))
        plan = config.plan(call_of(make(space, window, dilation=dilation)), space)
        assert len(plan.tile) == len(space)
        assert plan.per_step >= 1
        for t, n, d in zip(plan.tile, space, dilation, strict=True):
            assert 1 <= t <= -(-n // d)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of the program compiled for CPU")
@pytest.mark.parametrize(
    ("window", "spaces"),
    [((33,), [(1024,), (2048,), (4096,)]), ((7, 7), [(28, 28), (56, 56), (112, 112)])],
    ids=["1d", "2d"],
)
def test_memory_is_linear_in_the_number_of_tokens(window, spaces):
    """Temporaries of forward and backward beside operands and results."""
    taken = []
    for space in spaces:
        call = call_of(make(space, window, batch=1, head_dim=32, value_dim=32))
        one = jax.ShapeDtypeStruct((1, *space, 2, 32), jnp.float32)

        def both(q, k, v, g, call=call):
            out, pull = jax.vjp(
                lambda *a: xla.forward(call, *a, None, None, None, None)[0], q, k, v
            )
            return out, pull(g)

        memory = jit(both).lower(one, one, one, one).compile().memory_analysis()
        taken.append(memory.temp_size_in_bytes / np.prod(space))
    # A step of the loop has a size of its own, so bytes a token fall with the number of tokens.
    assert taken[2] <= 1.05 * taken[1] <= 1.05**2 * taken[0], taken
    operand = 2 * 32 * 4
    assert taken[2] <= 12 * operand, taken
