"""The Mosaic GPU kernels under the GPU interpreter against NumPy float64: values and slopes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import hopper
from kernels_pallas.long_conv import (
    mosaic_gpu,
    mosaic_gpu_order2,
    mosaic_gpu_order3,
    mosaic_gpu_plan,
    mosaic_gpu_stages,
    reference,
)
from kernels_pallas.long_conv.api import Call
from kernels_pallas.long_conv.kernel import Static
from kernels_pallas.long_conv.mosaic_gpu_plan import SIZES, plan
from tests.kernels_pallas.long_conv.kernel_problems import CEILING, Problem, check
from tests.numerics import assert_close, relative_l2

interpreted = pytest.mark.skipif(
    not hopper.INTERPRETER,
    reason="the GPU interpreter came with JAX 0.11; lowering is tested in tests/lowering",
)

QUICK = {
    "stacked, last stack short": Problem(256, 256, 5, 1, dtype="float16", pre=False),
    "stacked, ragged": Problem(300, 512, 3, dtype="bfloat16"),
    "ragged": Problem(1000, 1024, dtype="bfloat16", pre=False, post=False),
    "circular": Problem(1024, 1024, 3, 1, twisted=False, dtype="bfloat16", skip=False),
    "2048": Problem(2048, 2048, 1, 1, dtype="bfloat16", post=False, skip=False),
    "4096": Problem(4096, 4096, 3, 1, dtype="bfloat16"),
    "nothing optional": Problem(
        4096, 4096, 1, 1, dtype="float16", skip=False, pre=False, post=False
    ),
    "several blocks a channel": Problem(256, 256, 64, 1, dtype="bfloat16", pre=False, post=False),
    "order 3": Problem(8192, 8192, 2, 1, dtype="bfloat16"),
}


def run(problem: Problem) -> None:
    radix, rows, columns, _ = plan(problem.size)
    factors = (rows, columns) if radix == 1 else (radix, rows, columns)
    check(problem, factors, mosaic_gpu.convolve, mosaic_gpu.adjoint)


@interpreted
@pytest.mark.parametrize("name", QUICK)
def test_values_and_slopes(name):
    run(QUICK[name])


@interpreted
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("size", SIZES)
def test_every_size(size, dtype):
    for length, twisted in ((size, True), (size - size // 5, True), (size, False)):
        run(Problem(length, size, 2, 1, twisted, dtype))


@interpreted
@pytest.mark.slow
@pytest.mark.parametrize("gates", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
@pytest.mark.parametrize("size", [512, 4096, 16384])
def test_every_combination_of_operands(size, gates):
    skip, pre, post = map(bool, gates)
    run(Problem(size, size, 3, 1, dtype="bfloat16", skip=skip, pre=pre, post=post))


TWO_WARPGROUPS = """
from kernels_pallas.long_conv import mosaic_gpu
from tests.kernels_pallas.long_conv.test_mosaic_gpu import Problem, run
mosaic_gpu.INTERPRETED = 2
run(Problem(4096, 4096, 3, 1, dtype="bfloat16"))
run(Problem(8192, 8192, 2, 1, dtype="bfloat16"))
print("both ran")
"""


@interpreted
@pytest.mark.slow
def test_two_warpgroups_share_a_block():
    environment = os.environ | {"NPROC": "16"}  # threads of JAX's CPU pool, read once
    done = subprocess.run(
        [sys.executable, "-c", TWO_WARPGROUPS], env=environment, capture_output=True, timeout=300
    )
    assert b"both ran" in done.stdout, done.stderr.decode()[-2000:]


@interpreted
@pytest.mark.parametrize("layout", ["BCL", "BLC"])
def test_bidirectional_through_the_public_form(layout):
    rng = np.random.default_rng(0)
    signal = (3, 2, 300) if layout == "BCL" else (3, 300, 2)
    u, gate, weight = (jnp.asarray(rng.standard_normal(signal), "bfloat16") for _ in range(3))
    k, k_future = (jnp.asarray(rng.standard_normal((2, n)), jnp.float32) for n in (300, 120))
    skip = jnp.asarray(rng.standard_normal(2), jnp.float32)

    def value(forward, dtype, **options):
        def loss(u, k, k_future, skip, gate):
            y = forward(u, k, k_future, skip, gate, None, mode="causal", layout=layout, **options)
            return (y.astype(jnp.float32) * weight.astype(jnp.float32)).sum(), y

        arrays = u.astype(dtype), k, k_future, skip, gate.astype(dtype)
        return jax.jit(jax.value_and_grad(loss, range(5), has_aux=True))(*arrays)

    (_, y), slopes = value(mosaic_gpu.forward, "bfloat16", interpret=True)
    (_, y_expected), expected = value(reference.forward, "float32")
    assert y.dtype == jnp.bfloat16
    assert relative_l2(y, y_expected) <= CEILING["bfloat16"][2]
    for slope, exact in zip(slopes, expected, strict=True):
        assert relative_l2(slope, exact) <= CEILING["bfloat16"][2]


def static(**changes) -> Static:
    return Static(2, 2, 1024, 1024, True, "bfloat16")._replace(**changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": "float32"}, "dtype float32"),
        ({"size": 1 << 16, "length": 1 << 16}, "65536 points"),
        ({"size": 128, "length": 100}, "128 points"),
        ({"kept": 1, "blocks": 4}, "keeps 1 of 4 blocks"),
        ({"batch": 1 << 11, "channels": 1 << 10}, "below 2\\^31"),
    ],
)
def test_what_is_refused_says_why(changes, reason):
    absent: Any = None
    with pytest.raises(ValueError, match=reason):
        mosaic_gpu.convolve(static(**changes), *[absent] * 6)
    with pytest.raises(ValueError, match=reason):
        mosaic_gpu.adjoint(static(**changes), *[absent] * 7)


@pytest.mark.skipif(hopper.INTERPRETER, reason="this JAX has the GPU interpreter")
def test_no_interpreter_says_so():
    absent: Any = None
    with pytest.raises(ValueError, match=r"JAX 0\.11"):
        mosaic_gpu.convolve(static(interpret=True), *[absent] * 6)


def test_unsupported_reads_a_call():
    call = Call(
        batch=2, channels=3, length=300, taps=300, future_taps=0, dtype="bfloat16",
        mode="causal", layout="BCL", has_spectrum=False, has_skip=False, has_pre_gate=True,
        has_post_gate=False,
    )  # fmt: skip
    assert mosaic_gpu.unsupported(call) is None
    for change, reason in (
        ({"dtype": "float32"}, "float32"),
        ({"length": 40000}, "above 32768"),
        ({"mode": "circular"}, "circular"),
        ({"one_dtype": False}, "different dtypes"),
        ({"kept": 3, "blocks": 8}, "3 of 8"),
    ):
        refused = mosaic_gpu.unsupported(call._replace(**change))
        assert refused is not None
        assert reason in refused


@pytest.mark.parametrize("size", SIZES)
def test_shared_memory_fits_and_is_what_the_header_says(size):
    made = mosaic_gpu_plan.Shape(plan(size), 4, 4, 1, "bfloat16", True, True, True, 2, False)
    taken, fitting = hopper.smem_bytes, mosaic_gpu_stages.fitting
    if made.plan.order == 2:
        scratch, backward = mosaic_gpu_order2.forward_scratch, mosaic_gpu_order2.backward_scratch
        last = taken(backward(made))
    else:
        scratch, backward = mosaic_gpu_order3.forward_scratch, mosaic_gpu_order3.correlate_scratch
        last = taken(backward(made, fitting(made, backward)))
    assert fitting(made, scratch) == 2
    first = taken(scratch(made, 2))
    assert max(first, last) <= hopper.SMEM_LIMIT
    assert mosaic_gpu.__doc__ is not None
    assert f"{first} / {last}" in mosaic_gpu.__doc__


@pytest.mark.parametrize("twisted", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_the_tables_factor_the_transform(size, twisted):
    radix, rows, columns, _ = plan(size)
    tables = mosaic_gpu_plan.tables(size, twisted, "float32")
    x = np.random.default_rng(0).standard_normal((radix, rows, columns))

    def joined(planes):
        return planes[0].astype(float) + 1j * planes[1]

    v = x
    if radix > 1:
        a, b = joined(tables.along_rows), joined(tables.along_columns)
        v = np.einsum("jk,jmn->kmn", tables.weights, x) * a[:, :, None] * b[:, None, :]
    f1, twiddle = joined(tables.f1)[:rows, :rows], joined(tables.twiddle)[:rows]
    made = ((f1 @ v) * twiddle) @ joined(tables.f2)
    n = np.arange(size)
    twist = np.exp(-0.5j * np.pi * n / size) if twisted else 1.0
    expected = np.fft.fft(x.reshape(-1) * twist)
    ordered = mosaic_gpu_plan.to_kernel_order(jnp.asarray(expected[None]), size)[0, :, :rows]
    assert_close(made.real, ordered.real)
    assert_close(made.imag, ordered.imag)


@pytest.mark.parametrize("size", [256, 512, 4096, 16384])
def test_the_orders_are_transposes(size):
    radix, rows, columns, stack = plan(size)
    rng = np.random.default_rng(0)
    s = jnp.asarray(rng.random((2, size)), jnp.float32)
    w = jnp.asarray(rng.random((2, radix, rows * stack, columns)), jnp.float32)
    to, back = mosaic_gpu_plan.to_kernel_order, mosaic_gpu_plan.from_kernel_order
    assert_close((to(s, size) * w).sum(), (s * back(w, size)).sum())
    assert_close(back(to(s, size), size), stack * s)


@pytest.mark.parametrize(("channels", "units", "tiles"), [(768, 64, 1), (1, 7, 1), (4, 64, 8)])
def test_blocks_fill_the_device_and_share_constants(channels, units, tiles):
    assert mosaic_gpu_plan.batch_tiles(channels, units) == tiles
