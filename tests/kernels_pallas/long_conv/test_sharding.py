"""Four host devices: pmap, shard_map and auto-sharded jit, over channels and over the batch."""

from __future__ import annotations

import subprocess
import sys

# The number of devices is fixed once a backend starts, so this runs in a process of its own.
PROGRAM = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from kernels_pallas import long_conv
from tests.numerics import assert_close

COLLECTIVES = ("psum", "all_gather", "all_to_all", "ppermute", "reduce_scatter", "pbroadcast")
HLO_COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute")
mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Auto,))
rng = np.random.default_rng(0)
normal = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)

def conv(u, k, skip, gate):
    return long_conv(u, k, skip=skip, pre_gate=gate)

for taps in (50, 20):  # half-length; shifts forward, FFT backward
    args = normal(4, 8, 50), normal(8, taps), normal(8), normal(4, 8, 50)
    weight = normal(4, 8, 50)
    expected = conv(*args)
    loss = lambda *a: (weight * conv(*a)).sum()
    slopes = jax.grad(loss, argnums=(0, 1, 2, 3))(*args)

    for axis, specs in (
        ("channels", (P(None, "x"), P("x"), P("x"), P(None, "x"))),
        ("batch", (P("x"), P(), P(), P("x"))),
    ):
        for check in (True, False):
            mapped = jax.shard_map(
                conv, mesh=mesh, in_specs=specs, out_specs=specs[0], check_vma=check
            )
            assert_close(jax.jit(mapped)(*args), expected)
            text = str(jax.make_jaxpr(jax.shard_map(
                conv, mesh=mesh, in_specs=specs, out_specs=specs[0], check_vma=False))(*args))
            assert not [c for c in COLLECTIVES if c in text], (axis, taps)
            hlo = jax.jit(mapped).lower(*args).compile().as_text()
            assert not [c for c in HLO_COLLECTIVES if c in hlo], (axis, taps)
        mapped = jax.shard_map(conv, mesh=mesh, in_specs=specs, out_specs=specs[0])
        sharded_loss = lambda *a: (weight * mapped(*a)).sum()
        ours = jax.jit(jax.grad(sharded_loss, argnums=(0, 1, 2, 3)))(*args)
        for mine, theirs in zip(ours, slopes):
            assert_close(mine, theirs)


    split = lambda a: a.reshape(a.shape[0], 4, 2, *a.shape[2:]).swapaxes(0, 1)
    rows = lambda a: a.reshape(4, 2, *a.shape[1:])
    y = jax.pmap(conv)(split(args[0]), rows(args[1]), rows(args[2]), split(args[3]))
    assert_close(y.swapaxes(0, 1).reshape(expected.shape), expected)
    y = jax.pmap(conv, in_axes=(0, None, None, 0))(args[0][:, None], *args[1:3], args[3][:, None])
    assert_close(y[:, 0], expected)

# jit over arrays that carry their sharding, values and gradients, in both layouts
for taps in (50, 42):
    u, k, weight = normal(4, 8, 50), normal(8, taps), normal(4, 8, 50)
    for layout, channels in (("BCL", P(None, "x")), ("BLC", P(None, None, "x"))):
        order = (0, 1, 2) if layout == "BCL" else (0, 2, 1)
        signals = u.transpose(order), weight.transpose(order)
        apply = lambda u, k: long_conv(u, k, layout=layout)
        slopes = jax.grad(lambda u, k, w: (w * apply(u, k)).sum(), argnums=(0, 1))
        expected, expected_slopes = apply(signals[0], k), slopes(signals[0], k, signals[1])
        for spec, k_spec in ((channels, P("x")), (P("x"), P())):
            place = lambda a, s: jax.device_put(a, NamedSharding(mesh, s))
            u_placed, w_placed = (place(s, spec) for s in signals)
            k_placed = place(k, k_spec)
            assert_close(jax.jit(apply)(u_placed, k_placed), expected)
            ours = jax.jit(slopes)(u_placed, k_placed, w_placed)
            for mine, theirs in zip(ours, expected_slopes):
                assert_close(mine, theirs)
            if jax.__version_info__ >= (0, 12):
                hlo = jax.jit(apply).lower(u_placed, k_placed).compile().as_text()
                assert not [c for c in HLO_COLLECTIVES if c in hlo], (layout, spec)
print("sharding ok")
"""


def test_sharded():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "sharding ok" in done.stdout
