"""Kernel pairs inside an auto-sharded jit on host devices: values, sums over the batch, vmap."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh

from kernels_pallas.long_conv import vjp
from kernels_pallas.long_conv.kernel import Static
from kernels_pallas.long_conv.partition import partitioned

# The number of devices is fixed once a backend starts, so this runs in a process of its own.
PROGRAM = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
import warnings
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from kernels_pallas.long_conv import triton, vjp
from kernels_pallas.long_conv.kernel import Static
from kernels_pallas.long_conv.partition import partitioned
from tests.numerics import assert_close

HLO_COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute")
mesh = jax.make_mesh((2, 2), ("d", "m"), axis_types=(AxisType.Auto,) * 2)
rng = np.random.default_rng(0)
normal = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
place = lambda a, *spec: None if a is None else jax.device_put(a, NamedSharding(mesh, P(*spec)))

def problem(batch=4, channels=4, length=200, size=256, everything=True):
    static = Static(batch, channels, length, size, True, "float32", interpret=True)
    u, pre, post, g = (normal(batch, channels, length) for _ in range(4))
    if not everything:
        skip = pre = None
    else:
        skip = normal(channels)
    return static, (u, normal(channels, size), normal(channels, size), skip, pre, post), g

def spread(operands, batch, channels):
    axes = {3: (batch, channels), 2: (channels,), 1: (channels,)}
    return tuple(None if a is None else place(a, *axes[a.ndim]) for a in operands)

def collectives(function, *operands):
    hlo = jax.jit(function).lower(*operands).compile().as_text()
    return [c for c in HLO_COLLECTIVES if c + "(" in hlo]

def check(pair, everything, batch, channels):
    static, operands, g = problem(everything=everything)
    convolve, adjoint = partitioned(*pair)
    assert partitioned(*pair) == (convolve, adjoint)  # one program for one pair
    placed = spread(operands, batch, channels)
    g_placed = place(g, batch, channels)
    y = convolve(static, *placed)
    assert_close(y, vjp.plain_convolve(static, *operands))
    assert y.sharding.is_equivalent_to(NamedSharding(mesh, P(batch, channels)), 3), y.sharding
    assert collectives(lambda *a: convolve(static, *a), *placed) == []
    ours = adjoint(static, *placed, g_placed)
    theirs = vjp.plain_adjoint(static, *operands, g)
    for mine, exact in zip(ours, theirs, strict=True):
        assert (mine is None) == (exact is None)
        if exact is not None:
            assert_close(mine, exact)
    found = collectives(lambda *a: adjoint(static, *a), *placed, g_placed)
    assert found == (["all-reduce"] if batch else []), found  # ds and dskip, over the batch

PLAIN, TRITON = (vjp.plain_convolve, vjp.plain_adjoint), (triton.convolve, triton.adjoint)
check(PLAIN, True, "d", "m")
check(PLAIN, False, ("d", "m"), None)
check(PLAIN, True, None, ("d", "m"))
check(TRITON, True, "d", "m")
check(TRITON, False, "d", None)

# through the derivatives, in an auto-sharded jit; twice where XLA partitions the FFTs, which the
# second derivative is made of (before JAX 0.12 it may reject the layout of the gathered operand)
static, operands, g = problem(2, 4, 64, 256)
placed = spread(operands, "d", "m")
def twice(pair):
    backend = vjp.Backend(*pair)
    loss = lambda *a: (vjp.convolve(backend, static, *a) ** 2).sum()
    first = lambda *a: jax.grad(loss, argnums=(0, 1, 2, 3, 4, 5))(*a)
    second = lambda *a: jax.grad(lambda *b: (first(*b)[1] * first(*b)[0].sum()).sum())(*a)
    both = jax.__version_info__ >= (0, 12)
    return jax.jit(lambda *a: (first(*a), second(*a) if both else ()))
for mine, exact in zip(
    jax.tree.leaves(twice(partitioned(*PLAIN))(*placed)), jax.tree.leaves(twice(PLAIN)(*operands))
):
    assert_close(mine, exact)

# vmap: over the signals alone, over the filter, over both, nested
convolve, adjoint = partitioned(*PLAIN)
u, s_re, s_im, skip, pre, post = operands
many, filters = normal(3, *u.shape), normal(3, *s_re.shape)
for in_axes, a in (
    ((0, None, None, None, 1), (many, s_re, skip, pre, many.swapaxes(0, 1))),
    ((None, 0, None, None, None), (u, filters, skip, pre, g)),
    ((0, 0, 0, None, 0), (many, filters, normal(3, 4), pre, many)),
):
    def forward(convolve):
        return lambda u, s, skip, pre, g: convolve(static, u, s, s, skip, pre, None)
    def backward(adjoint):
        return lambda u, s, skip, pre, g: adjoint(static, u, s, s, skip, pre, None, g)
    for wrap, ours, theirs in ((forward, convolve, PLAIN[0]), (backward, adjoint, PLAIN[1])):
        mine = jax.vmap(wrap(ours), in_axes)(*a)
        exact = jax.vmap(wrap(theirs), in_axes)(*a)
        assert jax.tree.structure(mine) == jax.tree.structure(exact)
        for x, y in zip(jax.tree.leaves(mine), jax.tree.leaves(exact)):
            assert_close(x, y)
over = lambda f: jax.vmap(jax.vmap(lambda u, s: f(static, u, s, s, None, None, None), (0, None)),
                          (None, 0))
assert_close(over(convolve)(many, filters), over(PLAIN[0])(many, filters))

# inside shard_map it is the plain call
inside = jax.shard_map(
    lambda u, s: convolve(static._replace(channels=1), u, s, s, None, None, None),
    mesh=mesh, in_specs=(P(None, ("d", "m")), P(("d", "m"))), out_specs=P(None, ("d", "m")),
    check_vma=False)
assert_close(jax.jit(inside)(u, s_re), PLAIN[0](static, u, s_re, s_re, None, None, None))

# devices that do not divide the batch share it whole; a split length is refused
uneven = problem(3, 4, 200, 256)
half = lambda a: jax.lax.with_sharding_constraint(a, NamedSharding(mesh, P("d", "m")))
y = jax.jit(lambda u, *a: convolve(uneven[0], half(u), *a))(*uneven[1])
assert_close(y, PLAIN[0](uneven[0], *uneven[1]))
try:
    convolve(static, place(u, None, None, "d"), *placed[1:])
except jax.errors.JaxRuntimeError as error:
    assert "length" in str(error)
    assert "long_conv_sequence_parallel" in str(error)
else:
    raise AssertionError("a split length was accepted")
print("done")
"""


def test_kernels_partition():
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "done" in done.stdout


def test_a_mesh_of_one_has_nothing_to_partition():
    """Then no devices are needed to lower it: a program for CUDA on a machine without one."""
    convolve, _ = partitioned(vjp.plain_convolve, vjp.plain_adjoint)
    static = Static(1, 2, 256, 256, True, "float32")
    u, s = jnp.zeros((1, 2, 256)), jnp.zeros((2, 256))

    def program() -> str:
        return str(jax.make_jaxpr(lambda u, s: convolve(static, u, s, s, None, None, None))(u, s))

    assert "custom_partitioning" in program()
    with jax.sharding.use_abstract_mesh(AbstractMesh((1,), ("x",))):
        assert "custom_partitioning" not in program()
