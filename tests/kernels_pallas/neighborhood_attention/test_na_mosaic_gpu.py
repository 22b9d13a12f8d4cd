"""The Mosaic GPU kernels of neighborhood attention under the GPU interpreter: values and slopes."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.neighborhood_attention import mosaic_gpu, mosaic_gpu_arrays, reference, windows
from kernels_pallas.neighborhood_attention import mosaic_gpu_backward as backward_kernels
from kernels_pallas.neighborhood_attention import mosaic_gpu_forward as forward_kernel
from kernels_pallas.neighborhood_attention import mosaic_gpu_plan as plans
from kernels_pallas.neighborhood_attention import mosaic_gpu_stages as stages
from kernels_pallas.neighborhood_attention.kernel import Static
from kernels_pallas.neighborhood_attention.mosaic_gpu_plan import Plan
from kernels_pallas.neighborhood_attention.mosaic_gpu_plan import Problem as Cut
from kernels_pallas.neighborhood_attention.windows import Axis
from tests.kernels_pallas.neighborhood_attention.kernel_problems import (
    call_of,
    check,
    random_kernel_problem,
)
from tests.kernels_pallas.neighborhood_attention.problems import Problem, make
from tests.numerics import ROUNDED_CEILING, relative_l2

interpreted = pytest.mark.skipif(
    not stages.INTERPRETER,
    reason="the GPU interpreter came with JAX 0.11; lowering is tested in tests/lowering",
)


def small(space, window, **options) -> Problem:
    """A problem with one batch, one head and the smallest head size, but for what is given."""
    plain = {"batch": 1, "heads": 1, "kv_heads": 1, "head_dim": 16, "value_dim": 16}
    return make(space, window, **{**plain, "dtype": "bfloat16", **options})


PROBLEMS = {
    "1-D, interior blocks, grouped heads": small((150,), (100,), heads=2, value_dim=32),
    "2-D, mask, uneven groups, causal": small(
        (7, 20), (3, 4), dilation=(2, 3), stride=(2, 1), causal=(True, False), dtype="float16",
        mask=True,
    ),
}  # fmt: skip
SLOW = {
    "3-D, stride": small(
        (4, 5, 9), (3, 3, 5), stride=(1, 2, 3), causal=(False, False, True)
    ),
    "1-D, partial tiles, causal": small(
        (100,), (40,), batch=2, heads=4, kv_heads=2, head_dim=64, value_dim=64, stride=(3,),
        causal=(True,), dtype="float16",
    ),
    "1-D, dilated": small((200,), (20,), value_dim=64, dilation=(7,), mask=True),
    "2-D, window wider than a tile": small((24, 40), (20, 33), head_dim=32, value_dim=32),
    "2-D, every head its own": small(
        (13, 20), (5, 7), batch=2, heads=3, kv_heads=3, head_dim=128, stride=(5, 7)
    ),
    "2-D, dense": small((9, 17), (9, 17), heads=2, dtype="float16"),
    "2-D, scale 0": small((9, 17), (3, 5), scale=0.0),
    "2-D, negative scale": small((9, 17), (3, 5), scale=-1.3),
    "3-D, wide": small((6, 10, 24), (5, 9, 20)),
    "3-D, dilated, mask": small(
        (5, 3, 11), (2, 3, 4), heads=2, dilation=(2, 1, 2), stride=(2, 1, 3),
        causal=(True, False, False), mask=True,
    ),
}  # fmt: skip


class Pair(NamedTuple):
    """The backend, cut as a test asks."""

    plan: Plan | None = None

    def attend(self, *operands):
        return mosaic_gpu.attend(*operands, plan=self.plan)

    def adjoint(self, *operands):
        return mosaic_gpu.adjoint(*operands, plan=self.plan, inverse_plan=self.plan)


@interpreted
@pytest.mark.parametrize("name", PROBLEMS)
def test_values_and_slopes(name):
    check(Pair(), PROBLEMS[name])


@interpreted
@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_more_values_and_slopes(name):
    check(Pair(), SLOW[name])


CUTS = {
    2: ((11, 37), (5, 17), (1, 2)),
    3: ((4, 9, 12), (3, 4, 9), (1, 2, 1)),
}


@interpreted
@pytest.mark.slow
@pytest.mark.parametrize("block", [(8, 8), (2, 32), (2, 4, 8), (1, 4, 16)])
def test_every_cut_gives_the_same(block):
    space, window, dilation = CUTS[len(block)]
    check(Pair(Plan(block, 1, 2)), small(space, window, dilation=dilation))


@interpreted
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_random_problems(seed):
    rng = np.random.default_rng(seed)
    made = random_kernel_problem(rng)
    dtype = ("bfloat16", "float16")[seed % 2]
    check(Pair(), made._replace(head_dim=16, value_dim=(16, 32)[seed % 3 == 0], dtype=dtype))


TWO_WARPGROUPS = """
from kernels_pallas.neighborhood_attention.mosaic_gpu_plan import Plan
from tests.kernels_pallas.neighborhood_attention.test_na_mosaic_gpu import Pair, check, small
check(Pair(Plan((64,), 2, 2)), small((300,), (100,), heads=2))
check(Pair(Plan((8, 8), 2, 3)), small((20, 18), (7, 9), dilation=(1, 2), value_dim=32, mask=True))
print("both ran")
"""


@interpreted
@pytest.mark.slow
def test_two_warpgroups_share_the_streamed_blocks():
    environment = os.environ | {"NPROC": "16"}  # threads of JAX's CPU pool, read once
    done = subprocess.run(
        [sys.executable, "-c", TWO_WARPGROUPS], env=environment, capture_output=True, timeout=600
    )
    assert b"both ran" in done.stdout, done.stderr.decode()[-2000:]


@interpreted
@pytest.mark.slow
def test_the_public_form_pads_heads_and_merges_additional_keys():
    problem = small((5, 11), (3, 5), heads=2, head_dim=20, value_dim=40, additional=3, mask=True)
    call = call_of(problem)
    rng = np.random.default_rng(0)

    def tokens(heads, size, *space):
        return jnp.asarray(rng.standard_normal((1, *space, heads, size)), "bfloat16")

    q, k, v = tokens(2, 20, 5, 11), tokens(1, 20, 5, 11), tokens(1, 40, 5, 11)
    extra = tokens(1, 20, 3), tokens(1, 40, 3)
    mask = jnp.asarray(rng.random((1, 5, 11)) < 0.5)
    weight, weight_lse = tokens(2, 40, 5, 11), jnp.asarray(rng.random((1, 5, 11, 2)), "float32")

    def value(forward, dtype, **options):
        def loss(q, k, v, *extra):
            out, lse = forward(call, q, k, v, *extra, mask, None, **options)
            return (out.astype(jnp.float32) * weight).sum() + (lse * weight_lse).sum(), (out, lse)

        arrays = (x.astype(dtype) for x in (q, k, v, *extra))
        return jax.jit(jax.value_and_grad(loss, range(5), has_aux=True))(*arrays)

    (_, (out, lse)), slopes = value(mosaic_gpu.forward, "bfloat16", interpret=True)
    (_, (out_expected, lse_expected)), expected = value(reference.forward, "float32")
    assert out.dtype == jnp.bfloat16
    ceiling = ROUNDED_CEILING["bfloat16"]
    assert relative_l2(out, out_expected) <= ceiling
    assert relative_l2(lse, lse_expected) <= ceiling
    for slope, exact in zip(slopes, expected, strict=True):
        assert relative_l2(slope, exact) <= ceiling


def static(**changes: Any) -> Static:
    plain = Static(1, (32,), 2, 1, (5,), (1,), (1,), (False,), 64, 64, 0.1, "bfloat16")
    return plain._replace(**changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": "float32"}, "dtype float32"),
        ({"head_dim": 48}, "head_dim is 48; accepted: 16, 32, 64, 128"),
        ({"value_dim": 256}, "value_dim is 256"),
        ({"batch": 40000, "dilation": (2,)}, "is 80000; accepted: up to 65535"),
        ({"space": (1 << 24,)}, "below 2\\^31"),
        ({"heads": 1 << 17}, "heads is 131072"),
    ],
)
def test_what_is_refused_says_why(changes, reason):
    absent: Any = None
    number = jnp.zeros(())
    operands = [absent] * 4 + [number, number, absent]
    with pytest.raises(ValueError, match=reason):
        mosaic_gpu.attend(static(**changes), *operands[:4])
    with pytest.raises(ValueError, match=reason):
        mosaic_gpu.adjoint(static(**changes), *operands)


@pytest.mark.skipif(stages.INTERPRETER, reason="this JAX has the GPU interpreter")
def test_no_interpreter_says_so():
    absent: Any = None
    with pytest.raises(ValueError, match=r"JAX 0\.11"):
        mosaic_gpu.attend(static(interpret=True), *[absent] * 4)


def test_unsupported_reads_a_call():
    call = call_of(small((9, 9), (3, 3), head_dim=20, value_dim=40))
    assert mosaic_gpu.unsupported(call) is None
    for change, reason in (
        ({"dtype": "float32"}, "float32"),
        ({"dtype": "float64"}, "float64"),
        ({"head_dim": 129}, "head_dim is 129; accepted: up to 128"),
        ({"has_bias": True}, "bias"),
    ):
        refused = mosaic_gpu.unsupported(call._replace(**change))
        assert refused is not None
        assert reason in refused
        absent: Any = None
        with pytest.raises(ValueError, match=reason):
            mosaic_gpu.forward(call._replace(**change), *[absent] * 7)


AXES = [
    Axis(13, window, dilation, stride, causal)
    for window in (2, 5)
    for dilation in (1, 2)
    for stride in (1, 2)
    for causal in (False, True)
] + [Axis(70, 30, 2, 7, False), Axis(70, 11, 1, 1, True)]


@pytest.mark.parametrize("inverse", [False, True], ids=["keys", "queries"])
@pytest.mark.parametrize(("tile", "block", "last"), [(4, 4, False), (8, 8, True), (32, 16, True)])
def test_boxes_hold_what_their_rows_need_and_interiors_no_more(tile, block, last, inverse):
    for axis in AXES:
        rows = plans.boxes(axis, tile, block, last, inverse)
        exact = np.asarray(plans.bounds(axis, tile, inverse))
        per_group = len(rows) // axis.dilation
        for i, (first, count, inner, inner_end, n) in enumerate(rows):
            group, begin = i // per_group, i % per_group * tile
            assert n == windows.group_length(axis.length, axis.dilation, group)
            real = exact[i][:, : max(0, n - begin)]
            assert not exact[i][:, max(0, n - begin) :].any()
            if begin >= n:
                assert count == 0
                continue
            places = np.arange(begin, min(begin + tile, n))
            facts = (places, n, axis.window, axis.stride, axis.causal)
            pair = (windows.start, windows.end)
            if inverse:
                pair = (windows.inverse_start, windows.inverse_end)
            np.testing.assert_array_equal(real, [f(*facts) for f in pair])
            assert 0 <= first <= real[0].min()
            assert first + count * block >= real[1].max()
            assert (inner, inner_end) == (real[0].max(), real[1].min())
            if last:
                assert first % plans.GRANULE == 0
                assert first + count * block <= per_group * tile


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_arrays_are_the_tokens_that_the_kernels_index(rank):
    """Every number of `spread`, and of `rows` by the kernels' index, is the right token's."""
    space, dilation = ((9, 5, 21)[-rank:], (2, 1, 3)[-rank:])
    window, ones = (2,) * rank, (1,) * rank
    facts = Static(2, space, 2, 1, window, dilation, ones, (False,) * rank, 16, 16, 1.0, "bfloat16")
    block = {1: (64,), 2: (8, 8), 3: (2, 4, 8)}[rank]
    cut = Cut(facts, windows.axes_of(facts), Plan(block, 1, 2), False)
    x = np.arange(1, 1 + 4 * math.prod(space), dtype=np.float32).reshape(2, *space, 2)
    spread = np.asarray(mosaic_gpu_arrays.spread(cut, jnp.asarray(x), -1.0))
    tokens = jnp.asarray(x)[..., None]
    rows = np.asarray(mosaic_gpu_arrays.rows(cut, tokens))[..., 0]
    np.testing.assert_array_equal(
        mosaic_gpu_arrays.from_rows(cut, mosaic_gpu_arrays.rows(cut, tokens)), tokens
    )
    leading = [-(-size // d) for size, d in zip(space[:-1], dilation[:-1], strict=True)]
    offsets = np.stack(np.unravel_index(np.arange(64), block))
    rng = np.random.default_rng(0)
    for _ in range(60):
        batch, channel = rng.integers(2, size=2)
        groups = [int(rng.integers(d)) for d in dilation]
        first = [int(rng.integers(n)) for n in leading]
        first.append(8 * int(rng.integers(cut.row_length // 8)))
        places = offsets + np.asarray(first)[:, None]
        at = [p * d + g for p, d, g in zip(places, dilation, groups, strict=True)]
        real = np.all([a < size for a, size in zip(at, space, strict=True)], axis=0)
        expected = np.full(64, -1.0)
        expected[real] = x[(batch, *(a[real] for a in at), channel)]
        group = batch * math.prod(dilation) + np.ravel_multi_index(groups, dilation)
        index = np.ravel_multi_index([*first[:-1], first[-1] // 8], [*leading, cut.row_length // 8])
        np.testing.assert_array_equal(spread[group, channel, index], expected)
        row = batch
        for a, size in zip(at[:-1], space[:-1], strict=True):
            row = row * size + a
        row = np.broadcast_to(row, 64)
        got = rows[row[real], places[-1][real], groups[-1] * 2 + channel]
        np.testing.assert_array_equal(got, expected[real])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_numbers_written_by_tiles_come_back_in_place(rank):
    space, dilation = ((9, 5, 21)[-rank:], (2, 1, 3)[-rank:])
    facts = static(
        space=space,
        dilation=dilation,
        window=(2,) * rank,
        stride=(1,) * rank,
        causal=(False,) * rank,
    )
    block = {1: (64,), 2: (8, 8), 3: (2, 4, 8)}[rank]
    cut = Cut(facts, windows.axes_of(facts), Plan(block, 2, 2), False)
    shape = (cut.groups, 2, math.prod(cut.tiles), 2, 64)
    written = np.full(shape, -1.0, np.float32)
    x = np.random.default_rng(0).random((1, *space, 2), np.float32)
    for place in np.ndindex(*space):
        group = np.ravel_multi_index(
            [p % d for p, d in zip(place, dilation, strict=True)], dilation
        )
        within = [p // d for p, d in zip(place, dilation, strict=True)]
        tile = [p // t for p, t in zip(within, cut.plan.tile, strict=True)]
        rest = [p % t for p, t in zip(within, cut.plan.tile, strict=True)]
        number = np.ravel_multi_index(rest, cut.plan.tile)
        index = np.ravel_multi_index(tile, cut.tiles)
        written[group, :, index, number // 64, number % 64] = x[(0, *place)]
    np.testing.assert_array_equal(mosaic_gpu_arrays.from_tiles(cut, jnp.asarray(written)), x)


def test_the_cut_visits_least_and_widens_where_that_is_cheap():
    narrow = (Axis(64, 7), Axis(64, 7))
    wide = (Axis(256, 80), Axis(256, 80))
    assert plans.choose(wide, False).warpgroups == 2
    for axes, inverse in ((narrow, False), (wide, False), (wide, True)):
        chosen = plans.choose(axes, inverse, 1)
        cost = plans.visits(axes, chosen.tile, chosen.block, inverse)
        for block in ((8, 8), (4, 16), (2, 32)):
            assert cost <= plans.visits(axes, block, block, inverse)
        both = plans.choose(axes, inverse)
        assert both.warpgroups * plans.visits(axes, both.tile, both.block, inverse) <= (
            plans.WIDER * cost
        )


@pytest.mark.parametrize("head_dim", mosaic_gpu.HEADS)
@pytest.mark.parametrize("value_dim", mosaic_gpu.HEADS)
@pytest.mark.parametrize("warpgroups", [1, 2])
def test_shared_memory_fits(head_dim, value_dim, warpgroups):
    facts = static(head_dim=head_dim, value_dim=value_dim)
    cut = Cut(facts, windows.axes_of(facts), Plan((64,), warpgroups, 2), False)
    for scratch in (
        lambda cut: forward_kernel.scratch(cut, True),
        lambda cut: backward_kernels.dq_scratch(cut, True),
        backward_kernels.dkv_scratch,
    ):
        taken = stages.smem_bytes(scratch(stages.fitted(cut, scratch)))
        assert taken <= stages.SMEM_LIMIT // (2 if warpgroups == 1 else 1)
