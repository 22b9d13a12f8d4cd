"""Batch and channels over a mesh of host devices: values, gradients, no collectives, errors."""

from __future__ import annotations

import subprocess
import sys

# The number of devices is fixed once a backend starts, so this runs in a process of its own.
PROGRAM = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
from functools import partial
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from kernels_pallas import long_conv, long_conv_spectrum
from kernels_pallas.long_conv.cases import Case
from kernels_pallas.long_conv.sharded import long_conv_sharded
from tests.kernels_pallas.long_conv.problems import cast, operands
from tests.numerics import assert_close

COLLECTIVES = ("psum", "all_gather", "all_to_all", "ppermute", "reduce_scatter")
HLO_COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute")
mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
AXES = [
    ("data", "model", None), ("data", None, "xla"), (None, "model", "reference"),
    (("data", "model"), None, None), (None, ("data", "model"), "xla"), (None, None, None),
]
CASES = [
    Case(4, 4, 50, 50, 20, "causal", "BCL", True, True, True),
    Case(4, 4, 45, 30, 0, "circular", "BLC", True),
]
for case in CASES:
    arrays = cast(operands(case))
    options = {"mode": case.mode, "layout": case.layout}
    g = cast(operands(case, seed=1))["u"]
    expected = long_conv(**arrays, **options)
    slopes = jax.grad(lambda a: (g * long_conv(**a, **options)).sum())(arrays)
    for batch_axis, channel_axis, implementation in AXES:
        conv = lambda a: long_conv_sharded(
            **a, mesh=mesh, batch_axis=batch_axis, channel_axis=channel_axis,
            implementation=implementation, **options)
        if implementation is None:  # nothing else may hide in the program
            text = str(jax.make_jaxpr(conv)(arrays))
            assert not [c for c in COLLECTIVES if c in text], (batch_axis, channel_axis)
            signal = (P(batch_axis, channel_axis) if case.layout == "BCL"
                      else P(batch_axis, None, channel_axis))
            place = lambda name, a: jax.device_put(a, NamedSharding(
                mesh, P(channel_axis) if name in ("k", "k_future", "skip") else signal))
            placed = {name: place(name, a) for name, a in arrays.items()}
            hlo = jax.jit(conv).lower(placed).compile().as_text()
            assert not [c for c in HLO_COLLECTIVES if c in hlo], (batch_axis, channel_axis)
            y = jax.jit(conv)(placed)
            assert y.sharding.is_equivalent_to(NamedSharding(mesh, signal), 3)
            assert_close(y, expected)
        def both(a):
            y, pull = jax.vjp(conv, a)
            return y, pull(g)[0]
        y, ours = jax.jit(both)(arrays)
        assert_close(y, expected)
        for name in arrays:
            assert_close(ours[name], slopes[name])

# outside jit; a spectrum, and its gradient down to the taps
case = CASES[0]
arrays = cast(operands(case))
conv = partial(long_conv_sharded, mesh=mesh, batch_axis="data", channel_axis="model")
assert_close(conv(**arrays), long_conv(**arrays))
u, k, k_future = arrays["u"], arrays["k"], arrays["k_future"]
def loss(k, apply):
    return (apply(u, long_conv_spectrum(k, 50, k_future=k_future)) ** 2).sum()
assert_close(jax.jit(jax.grad(loss), static_argnums=1)(k, conv), jax.grad(loss)(k, long_conv))

# a mesh with explicit axes, which is jax.make_mesh's default
explicit = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
spread = lambda a, spec: jax.device_put(a, NamedSharding(explicit, spec))
y = jax.jit(lambda u, k: long_conv_sharded(
    u, k, mesh=explicit, batch_axis="data", channel_axis="model"))(
        spread(u, P("data", "model")), spread(k, P("model")))
assert_close(y, long_conv(u, k))

WRONG = [
    ("batch_axis", {"batch_axis": "pod"}), ("channel_axis", {"channel_axis": "pod"}),
    ("batch_axis", {"channel_axis": "data"}), ("u", {"u": u[:3]}), ("u", {"u": u[:, :, 0]}),
    ("u", {"u": u[:, :3], "k": k[:3]}), ("k", {"k": k[:2]}), ("mode", {"mode": "same"}),
    ("layout", {"layout": "LBC"}), ("pre_gate", {"pre_gate": k}),
    ("implementation", {"implementation": "cudnn"}), ("precision", {"precision": "exact"}),
]
for name, wrong in WRONG:
    try:
        conv(**{"u": u, "k": k, **wrong})
    except (TypeError, ValueError) as error:
        assert str(error).startswith(name), (name, error)
    else:
        raise AssertionError(f"{name}: accepted")
print("done")
"""


def test_batch_and_channels_over_a_mesh():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "done" in done.stdout
