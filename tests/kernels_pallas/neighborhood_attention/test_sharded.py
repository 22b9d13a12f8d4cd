"""Batch and heads over a mesh of host devices: values, gradients, no collectives, errors."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The number of devices is fixed once a backend starts, so this runs in a process of its own.
SETUP = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
from functools import partial
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from kernels_pallas.neighborhood_attention.api import neighborhood_attention
from kernels_pallas.neighborhood_attention.sharded import neighborhood_attention_sharded
from tests.kernels_pallas.neighborhood_attention.problems import (
    Problem, cast, cotangents, expected, operands)
from tests.numerics import assert_close

COLLECTIVES = ("psum", "all_gather", "all_to_all", "ppermute", "reduce_scatter")
HLO_COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute")
mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)

def finite(lse):
    lse = np.asarray(lse)
    return np.where(np.isinf(lse), 0, lse)

FULL = Problem(
    batch=4, space=(5, 6), heads=4, kv_heads=2, head_dim=3, value_dim=5, window=(3, 2),
    dilation=(1, 3), stride=(2, 1), causal=(False, True), scale=0.7, additional=2, mask=True,
    bias=True)
LINE = Problem(batch=2, space=(11,), heads=4, kv_heads=4, window=(4,), dilation=(2,))
QUERIES = LINE._replace(kv_heads=1, additional=1)  # one key head for all devices
PAIRS = LINE._replace(heads=8, kv_heads=2, mask=True)  # one for every two of four devices

def compare(problem, batch_axis, head_axis, implementation):
    arrays = operands(problem)
    given = cotangents(problem)
    exact = expected(problem, arrays, given)
    arrays, given = cast(arrays, "float32"), tuple(jnp.asarray(a, "float32") for a in given)
    masked = {"mask": arrays.pop("mask")} if problem.mask else {}
    attend = lambda a, m: neighborhood_attention_sharded(
        **a, **m, mesh=mesh, batch_axis=batch_axis, head_axis=head_axis, return_lse=True,
        implementation=implementation, **problem.options())
    if implementation is None:
        text = str(jax.make_jaxpr(attend)(arrays, masked))
        assert not [c for c in COLLECTIVES if c in text], (batch_axis, head_axis)
        space = (None,) * len(problem.space)
        whole = P(batch_axis, *space, head_axis)
        heads = 4 if isinstance(head_axis, tuple) else 2 if head_axis else 1
        key_heads = head_axis if problem.kv_heads % heads == 0 else None
        kinds = {"q": whole, "bias": P(head_axis), "mask": P(batch_axis),
                 "k": P(batch_axis, *space, key_heads), "v": P(batch_axis, *space, key_heads),
                 "additional_keys": P(batch_axis, None, key_heads),
                 "additional_values": P(batch_axis, None, key_heads)}
        place = lambda name, a: jax.device_put(a, NamedSharding(mesh, kinds[name]))
        placed, placed_mask = ({n: place(n, a) for n, a in d.items()} for d in (arrays, masked))
        program = jax.jit(attend).lower(placed, placed_mask).compile()
        assert not [c for c in HLO_COLLECTIVES if c in program.as_text()], (batch_axis, head_axis)
        out, lse = program(placed, placed_mask)
        assert out.sharding.is_equivalent_to(NamedSharding(mesh, whole), out.ndim)
        assert lse.sharding.is_equivalent_to(NamedSharding(mesh, whole), lse.ndim)
        assert_close(out, exact.out)
    def both(a, m, given):
        results, pull = jax.vjp(lambda a: attend(a, m), a)
        return *results, pull(given)[0]
    out, lse, ours = jax.jit(both)(arrays, masked, given)
    assert_close(out, exact.out)
    assert_close(finite(lse), finite(exact.lse))
    assert (np.isinf(lse) == np.isinf(exact.lse)).all()
    for name in arrays:
        assert_close(ours[name], exact.gradients[name])
"""

PROGRAM = (
    SETUP
    + """
compare(FULL, "data", "model", None)
compare(QUERIES, "data", "model", "xla")

arrays = cast(operands(LINE), "float32")
options = LINE.options()
attend = partial(neighborhood_attention_sharded, mesh=mesh, batch_axis="data", head_axis="model")
one_device = jax.jit(lambda a: neighborhood_attention(**a, **options))(arrays)

# a jit that shards by itself: batch and heads stay where they are, forward and backward
spread = NamedSharding(mesh, P("data", None, "model"))
placed = {name: jax.device_put(a, spread) for name, a in arrays.items()}
plain = lambda a: neighborhood_attention(**a, **options)
for function in (plain, jax.grad(lambda a: jnp.sin(plain(a)).sum())):
    program = jax.jit(function).lower(placed).compile()
    assert not [c for c in HLO_COLLECTIVES if c in program.as_text()]
    alone = jax.jit(function)(arrays)
    for a, b in zip(jax.tree.leaves(program(placed)), jax.tree.leaves(alone), strict=True):
        assert a.sharding.is_equivalent_to(spread, a.ndim)
        assert_close(a, b)

# a mesh with explicit axes, which is jax.make_mesh's default
explicit = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
spread = NamedSharding(explicit, P("data", None, "model"))
placed = {name: jax.device_put(a, spread) for name, a in arrays.items()}
out = jax.jit(lambda a: attend(**a, **options | {"mesh": explicit}))(placed)
assert_close(out, one_device)

q, k, v = arrays["q"], arrays["k"], arrays["v"]
WRONG = [
    ("batch_axis", {"batch_axis": "pod"}), ("head_axis", {"head_axis": "pod"}),
    ("batch_axis", {"head_axis": "data"}), ("q", {"q": q[:1], "k": k[:1], "v": v[:1]}),
    ("q", {"q": q[0]}), ("q", {"q": q[..., :3, :], "k": k[..., :3, :], "v": v[..., :3, :]}),
    ("k", {"head_axis": ("data", "model"), "batch_axis": None, "q": jnp.tile(q, (1, 1, 3, 1)),
           "k": k[..., :3, :], "v": v[..., :3, :]}),
    ("k", {"k": k[..., :3, :], "v": v[..., :3, :]}), ("v", {"v": v[:1]}), ("window", {"window": 6}),
    ("stride", {"stride": 5}), ("dilation", {"dilation": 0}), ("causal", {"causal": 1}),
    ("scale", {"scale": float("nan")}), ("mask", {"mask": q}), ("bias", {"bias": q}),
    ("additional_values", {"additional_keys": k}), ("return_lse", {"return_lse": None}),
    ("implementation", {"implementation": "cudnn"}),
]
for name, wrong in WRONG:
    try:
        attend(**{**arrays, **options, **wrong})
    except (TypeError, ValueError) as error:
        assert str(error).startswith(name), (name, error)
    else:
        raise AssertionError(f"{name}: accepted")
print("done")
"""
)

THOROUGH = (
    SETUP
    + """
compare(FULL, None, "model", "reference")
compare(FULL, ("data", "model"), None, "xla")
compare(LINE, None, None, None)
compare(LINE, None, ("data", "model"), "xla")
compare(QUERIES, "data", "model", None)
compare(PAIRS, None, ("data", "model"), None)
compare(PAIRS, None, ("data", "model"), "xla")
arrays = cast(operands(LINE), "float32")  # outside jit
one_device = neighborhood_attention(**arrays, **LINE.options())
assert_close(neighborhood_attention_sharded(
    **arrays, mesh=mesh, batch_axis="data", head_axis="model", **LINE.options()), one_device)
print("done")
"""
)


def run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "done" in done.stdout


def test_batch_and_heads_over_a_mesh():
    run(PROGRAM)


@pytest.mark.slow
def test_every_way_to_split():
    run(THOROUGH)
