"""Kernel pairs inside an auto-sharded jit on host devices: values, slopes, vmap, refusals."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh

from kernels_pallas.neighborhood_attention import vjp
from kernels_pallas.neighborhood_attention.kernel import Static
from kernels_pallas.neighborhood_attention.partition import partitioned

# The number of devices is fixed once a backend starts, so this runs in a process of its own.
PROGRAM = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from functools import partial
from kernels_pallas.neighborhood_attention import reference, triton, vjp
from kernels_pallas.neighborhood_attention.kernel import Static
from kernels_pallas.neighborhood_attention.partition import partitioned
from tests.numerics import assert_close

HLO_COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute")
mesh = jax.make_mesh((2, 2), ("d", "m"), axis_types=(AxisType.Auto,) * 2)
rng = np.random.default_rng(0)
normal = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
place = lambda a, *spec: jax.device_put(a, NamedSharding(mesh, P(*spec)))

@partial(jax.jit, static_argnums=0)
def plain_attend(static, q, k, v, mask):
    call = vjp.call_of(static, mask is not None)
    return reference.forward(call, q, k, v, None, None, mask, None)

@partial(jax.jit, static_argnums=0)
def plain_adjoint(static, q, k, v, mask, lse, delta, do):
    (o, _), pull = jax.vjp(lambda *a: plain_attend(static, *a, mask), q, k, v)
    return pull((do, (do * o).sum(-1) - delta))

def problem(batch=4, heads=4, kv_heads=2, masked=True):
    static = Static(batch, (5, 6), heads, kv_heads, (3, 4), (1, 1), (1, 2), (False, True), 4, 3,
                    0.5, "float32", interpret=True)
    q, k, v = (normal(batch, 5, 6, h, n) for h, n in ((heads, 4), (kv_heads, 4), (kv_heads, 3)))
    mask = jnp.asarray(rng.random((batch, 5, 6)) < 0.8) if masked else None
    return static, (q, k, v, mask), normal(batch, 5, 6, heads, 3)

def spread(operands, batch, heads):
    return tuple(
        None if a is None else place(a, *(batch, None, None, heads)[: a.ndim]) for a in operands)

def run(function, *operands):
    # its results; it must need no communication
    compiled = jax.jit(function).lower(*operands).compile()
    assert not [c for c in HLO_COLLECTIVES if c + "(" in compiled.as_text()]
    return compiled(*operands)

def check(pair, batch, heads, *sizes):
    static, operands, do = problem(*sizes)
    attend, adjoint = partitioned(*pair)
    assert partitioned(*pair) == (attend, adjoint)  # one program for one pair
    placed = spread(operands, batch, heads)
    o, lse = run(lambda *a: attend(static, *a), *placed)
    exact = plain_attend(static, *operands)
    some = exact[1] > -jnp.inf
    assert_close(o, exact[0])
    assert_close(jnp.where(some, lse, 0), jnp.where(some, exact[1], 0))
    assert o.sharding.is_equivalent_to(NamedSharding(mesh, P(batch, None, None, heads)), 5)
    assert lse.sharding.is_equivalent_to(NamedSharding(mesh, P(batch, None, None, heads)), 4)
    delta = normal(*lse.shape)
    more = spread((exact[1], delta, do), batch, heads)
    ours = run(lambda *a: adjoint(static, *a), *placed, *more)
    for mine, right in zip(ours, plain_adjoint(static, *operands, exact[1], delta, do)):
        assert_close(mine, right)

PLAIN, TRITON = (plain_attend, plain_adjoint), (triton.attend, triton.adjoint)
"""
KERNELS = """
check(TRITON, "d", "m", 2, 2, 2, False)

static, (q, k, v, mask), _ = problem()
# a split space axis is refused
try:
    partitioned(*PLAIN)[0](static, place(q, None, None, "d"), k, v, mask)
except jax.errors.JaxRuntimeError as error:
    assert "space axis 1" in str(error)
    assert "neighborhood_attention_spatial" in str(error)
else:
    raise AssertionError("a split space axis was accepted")
"""
MORE = """
check(PLAIN, "d", "m")
check(PLAIN, None, "m", 4, 4, 4, False)

# through the derivatives, in an auto-sharded jit
static, operands, do = problem(2, 2, 2)
placed = spread(operands, "d", "m")
def slopes(pair):
    backend = vjp.Backend(*pair)
    def loss(q, k, v, mask):
        o, lse = vjp.attend(backend, static, q, k, v, mask)
        return (o ** 2).sum() + jnp.where(lse > -jnp.inf, lse, 0).sum()
    return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
for mine, exact in zip(slopes(partitioned(*PLAIN))(*placed), slopes(PLAIN)(*operands)):
    assert_close(mine, exact)

# heads that the devices divide where kv heads they do not: heads are whole, the batch is split
static, operands, _ = problem(4, 4, 1)
attend, adjoint = partitioned(*PLAIN)
q, k, v, mask = operands
o, lse = attend(static, place(q, "d", None, None, "m"), k, v, mask)
exact = plain_attend(static, *operands)
assert_close(o, exact[0])

# vmap: over the queries alone, over everything, nested
many = normal(3, *q.shape)
mine = jax.vmap(lambda q: attend(static, q, k, v, mask))(many)
right = jax.vmap(lambda q: plain_attend(static, q, k, v, mask))(many)
assert_close(mine[0], right[0])
keys = normal(2, *k.shape)
over = lambda f: jax.vmap(jax.vmap(lambda q, k: f(static, q, k, v, None)[0], (0, None)), (None, 0))
assert_close(over(attend)(many, keys), over(plain_attend)(many, keys))

# inside shard_map it is the plain call
inside = jax.shard_map(
    lambda q, k, v: attend(static._replace(batch=1), q, k, v, None),
    mesh=mesh, in_specs=(P(("d", "m")),) * 3, out_specs=P(("d", "m")), check_vma=False)
assert_close(jax.jit(inside)(q, k, v)[0], plain_attend(static, q, k, v, None)[0])
"""


def run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program + "print('done')"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "done" in done.stdout


def test_kernels_partition():
    run(PROGRAM + KERNELS)


@pytest.mark.slow
def test_derivatives_vmap_and_shard_map():
    run(PROGRAM + MORE)


def test_a_mesh_of_one_has_nothing_to_partition():
    """Then no devices are needed to lower it: a program for CUDA on a machine without one."""
    attend, _ = partitioned(vjp.plain_attend, vjp.plain_slopes)
    static = Static(1, (8,), 2, 2, (3,), (1,), (1,), (False,), 4, 4, 0.5, "float32")
    q = jnp.zeros((1, 8, 2, 4))

    def program() -> str:
        return str(jax.make_jaxpr(lambda q: attend(static, q, q, q, None))(q))

    assert "custom_partitioning" in program()
    with jax.sharding.use_abstract_mesh(AbstractMesh((1,), ("x",))):
        assert "custom_partitioning" not in program()
