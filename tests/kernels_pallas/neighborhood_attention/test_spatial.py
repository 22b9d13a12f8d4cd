"""Axes of space split over host devices: values and every gradient those of the whole problem."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from kernels_pallas.neighborhood_attention.spatial import halo
from kernels_pallas.neighborhood_attention.windows import Axis
from tests.kernels_pallas.neighborhood_attention.oracle import neighbours

# The number of devices is fixed once a backend starts, so each runs in a process of its own.
SETUP = """
import jax
jax.config.update("jax_num_cpu_devices", 8)
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
from kernels_pallas.neighborhood_attention.api import neighborhood_attention
from kernels_pallas.neighborhood_attention.spatial import halo, neighborhood_attention_spatial
from kernels_pallas.neighborhood_attention.windows import Axis
from tests.kernels_pallas.neighborhood_attention.problems import (
    Problem, cast, cotangents, expected, operands)
from tests.numerics import assert_close, assert_rounded_once

def mesh_of(**sizes):
    devices = np.array(jax.devices()[:int(np.prod(list(sizes.values())))])
    names = tuple(sizes)
    return Mesh(devices.reshape(*sizes.values()), names, axis_types=(AxisType.Auto,) * len(names))

def finite(lse):
    lse = np.asarray(lse)
    return np.where(np.isinf(lse), 0, lse)

def spatial(problem, mesh, space_axes, **rest):
    return lambda a, m: neighborhood_attention_spatial(
        **a, **m, mesh=mesh, space_axes=space_axes, return_lse=True, **rest, **problem.options())

def compare(problem, mesh, space_axes, dtype="float32", **rest):
    arrays, given = operands(problem), cotangents(problem)
    exact = expected(problem, arrays, given)
    arrays, given = cast(arrays, dtype), tuple(jnp.asarray(a, dtype) for a in given)
    masked = {"mask": arrays.pop("mask")} if problem.mask else {}
    attend = spatial(problem, mesh, space_axes, **rest)
    def both(a, m, given):
        results, pull = jax.vjp(lambda a: attend(a, m), a)
        return *results, pull(given)[0]
    out, lse, ours = jax.jit(both)(arrays, masked, given)
    assert_close(out, exact.out, dtype)
    assert_close(finite(lse), finite(exact.lse), dtype)
    assert (np.isinf(lse) == np.isinf(exact.lse)).all()
    for name in arrays:
        assert_close(ours[name], exact.gradients[name], dtype)
"""

VALUES = (
    SETUP
    + """
LINE = Problem(batch=1, space=(24,), window=(24,), additional=2)
compare(LINE, mesh_of(x=6), ("x",))  # dense, five hops
EVERYTHING = Problem(
    batch=2, space=(12, 10), heads=4, kv_heads=2, head_dim=3, value_dim=5, window=(5, 3),
    dilation=(2, 1), stride=(2, 1), causal=(False, True), scale=0.7, additional=2, mask=True,
    bias=True)
compare(EVERYTHING, mesh_of(y=3, x=2), ("y", "x"))
# an implementation that knows whole problems only
compare(EVERYTHING, mesh_of(y=3, x=2), ("y", "x"), implementation="reference")
# one axis split, the other of a length that its dilation does not divide; batch; one key head
compare(EVERYTHING._replace(kv_heads=1, space=(7, 8), window=(3, 7)),
        mesh_of(data=2, model=2, x=2), (None, "x"), batch_axis="data", head_axis="model")
print("done")
"""
)

SWEEP = (
    SETUP
    + """
from kernels_pallas.neighborhood_attention import spatial as module
rng = np.random.default_rng(0)
KINDS = [None, "xla", "reference"]
for trial in range(75):
    rank = int(rng.choice([1, 1, 2, 2, 3]))
    devices = [1] * rank
    while np.prod(devices) == 1 or np.prod(devices) > 6:
        devices = [int(rng.choice([1, 2, 3, 6])) for _ in range(rank)]
    dilation = [int(rng.choice([1, 1, 2, 3])) for _ in range(rank)]
    most = {1: 8, 2: 3, 3: 2}[rank]
    split = [n * d * int(rng.integers(1, most + 1)) for n, d in zip(devices, dilation)]
    whole = [int(rng.integers(2 * d, 3 * d + 3)) for d in dilation]
    space = [a if n > 1 else b for a, b, n in zip(split, whole, devices)]
    window = [int(rng.integers(2, L // d + 1)) for L, d in zip(space, dilation)]
    kv_heads, group = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    problem = Problem(
        batch=1, space=tuple(space), heads=kv_heads * group, kv_heads=kv_heads, head_dim=3,
        value_dim=int(rng.integers(1, 4)), window=tuple(window), dilation=tuple(dilation),
        stride=tuple(int(rng.integers(1, w + 1)) for w in window),
        causal=tuple(bool(rng.integers(3) == 0) for _ in space), additional=int(rng.integers(3)),
        mask=bool(rng.integers(3) == 0), bias=bool(rng.integers(2)))
    names = [f"axis{i}" for i in range(rank)]
    mesh = mesh_of(**dict(zip(names, devices)))
    space_axes = [a if n > 1 or rng.integers(2) else None for a, n in zip(names, devices)]
    # Every other time as for a kernel, of which shard_map cannot check what varies.
    module.PLAIN = ("xla", "reference") if trial % 2 else ()
    try:
        compare(problem, mesh, space_axes, implementation=KINDS[trial % 3])
    except AssertionError as error:
        raise AssertionError(f"trial {trial}: {problem} over {devices}") from error
    if trial % 15 == 0:
        with jax.enable_x64(True):
            compare(problem, mesh, space_axes, "float64", implementation=KINDS[trial // 15 % 3])
print("done")
"""
)

PROGRAMS = (
    SETUP
    + """
def is_program(param):
    return hasattr(param, "eqns") or hasattr(param, "jaxpr")

def primitives(jaxpr, found):
    for eqn in jaxpr.eqns:
        found.append(eqn)
        for sub in jax.tree.leaves(list(eqn.params.values()), is_leaf=is_program):
            if is_program(sub):
                primitives(getattr(sub, "jaxpr", sub), found)
    return found

# what travels: the halo of k, of v and of the mask, in as few hops as it takes, and nothing else
CASES = [((24,), (5,), 4, 2, 2, 2), ((24,), (24,), 6, 10, 20, 20), ((24,), (7,), 6, 2, 3, 3)]
for space, window, devices, hops, left, right in CASES:
    problem = Problem(batch=1, space=space, window=window, mask=True)
    mesh = mesh_of(x=devices)
    widths = tuple(map(max, halo(Axis(space[0], window[0]), devices)))
    assert widths == (left, right), widths
    arrays = cast(operands(problem), "float32")
    masked = {"mask": arrays.pop("mask")}
    attend = spatial(problem, mesh, ("x",))
    found = primitives(jax.make_jaxpr(attend)(arrays, masked).jaxpr, [])
    sent = [e for e in found if e.primitive.name == "ppermute"]
    assert len(sent) == 3 * hops, len(sent)
    assert sum(e.invars[0].aval.shape[1] for e in sent) == 3 * (left + right)
    names = {e.primitive.name for e in found}
    assert not {n for n in names if "all_gather" in n or "all_to_all" in n or "psum" in n}, names
    rows = NamedSharding(mesh, P(None, "x"))
    placed = jax.tree.map(lambda a: jax.device_put(a, rows), (arrays, masked))
    program = jax.jit(attend).lower(*placed).compile()
    hlo = program.as_text()
    assert "collective-permute" in hlo
    assert not [c for c in ("all-gather", "all-reduce", "all-to-all") if c in hlo]
    out, lse = program(*placed)
    assert out.sharding.is_equivalent_to(rows, 4) and lse.sharding.is_equivalent_to(rows, 3)
    if devices != 4:
        continue
    given = tuple(jnp.asarray(a, "float32") for a in cotangents(problem))
    def gradients(a, m, given):
        return jax.vjp(lambda a: attend(a, m), a)[1](given)[0]
    given = jax.tree.map(lambda a: jax.device_put(a, rows), given)
    hlo = jax.jit(gradients).lower(*placed, given).compile().as_text()
    assert not [c for c in ("all-gather", "all-reduce", "all-to-all") if c in hlo]

# 16 bits: one rounding; out alone; implementation by name
problem = Problem(batch=1, space=(12,), window=(5,), additional=1, bias=True)
arrays = cast(operands(problem), "float32")
narrow = cast(operands(problem), "bfloat16")
out = jax.jit(lambda a: neighborhood_attention_spatial(
    **a, mesh=mesh_of(x=3), space_axes=["x"], implementation="xla", **problem.options()))(narrow)
assert out.dtype == jnp.bfloat16
wide = {name: np.asarray(a, np.float64) for name, a in narrow.items()}
assert_rounded_once(out, expected(problem, wide).out, "bfloat16")

# a mesh with explicit axes, which is jax.make_mesh's default
explicit = jax.make_mesh((3,), ("x",), axis_types=(AxisType.Explicit,))
rows = NamedSharding(explicit, P(None, "x"))
placed = {name: jax.device_put(arrays[name], rows) for name in ("q", "k", "v")}
out = jax.jit(lambda a: neighborhood_attention_spatial(
    **a, mesh=explicit, space_axes=("x",), **problem.options()))(placed)
whole = {name: arrays[name] for name in placed}
one_device = jax.jit(lambda a: neighborhood_attention(**a, **problem.options()))(whole)
assert_close(out, one_device)

# errors name the argument
attend = lambda a: neighborhood_attention_spatial(**a)
given = {**whole, **problem.options(), "mesh": mesh_of(data=2, x=3), "space_axes": ("x",)}
q, k, v = whole["q"], whole["k"], whole["v"]
cut = lambda n: {"q": q[:, :n], "k": k[:, :n], "v": v[:, :n]}
WRONG = [
    ("space_axes", {"space_axes": "x"}), ("space_axes", {"space_axes": ("x", None)}),
    ("space_axes", {"space_axes": None}), ("space_axes", {"space_axes": ("y",)}),
    ("space_axes", {"batch_axis": "x"}), ("head_axis", {"head_axis": "y"}),
    ("q", {"batch_axis": "data"}), ("q", cut(11)), ("q", {"dilation": 2, "window": 3, **cut(9)}),
    ("q", {"q": q[0]}), ("k", {"k": k[:, :9]}), ("window", {"window": 13}),
    ("stride", {"stride": 0}), ("dilation", {"dilation": 3}), ("causal", {"causal": (0,)}),
    ("implementation", {"implementation": "cudnn"}), ("bias", {"bias": q}),
    ("additional_values", {"additional_keys": q}), ("mask", {"mask": q}),
    ("return_lse", {"return_lse": 1}), ("scale", {"scale": "1"}),
]
for name, wrong in WRONG:
    try:
        attend({**given, **wrong})
    except (TypeError, ValueError) as error:
        dilation = name == "dilation" and "dilation 3" in str(error)
        assert str(error).startswith(name) or dilation, (name, error)
    else:
        raise AssertionError(f"{name}: accepted")
print("done")
"""
)

KERNELS = (
    SETUP
    + """
from functools import partial
from kernels_pallas.neighborhood_attention import triton
triton.forward = partial(triton.forward, interpret=True)
IMAGE = Problem(
    batch=2, space=(12, 10), heads=4, kv_heads=2, head_dim=16, value_dim=16, window=(5, 3),
    dilation=(2, 1), stride=(2, 1), causal=(False, True), additional=2, mask=True)
compare(IMAGE, mesh_of(y=3, x=2), ("y", "x"), implementation="triton")
compare(IMAGE._replace(kv_heads=1, space=(8, 7), window=(4, 7)), mesh_of(model=2, y=2),
        ("y", None), head_axis="model", implementation="triton")
print("done")
"""
)

DERIVATIVES = (
    SETUP
    + """
# forward mode, reverse over reverse, vmap
problem = Problem(batch=1, space=(12,), window=(5,), additional=1, bias=True)
attend = spatial(problem, mesh_of(x=3), ("x",))
one_device = lambda a, m: neighborhood_attention(
    **a, **m, return_lse=True, implementation="reference", **problem.options())
arrays, tangent = (cast(operands(problem, seed), "float32") for seed in (0, 2))
forms = [lambda a, f=f: f(a, {}) for f in (attend, one_device)]
ours, theirs = (jax.jit(lambda a, t, f=f: jax.jvp(f, (a,), (t,)))(arrays, tangent) for f in forms)
for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
    assert_close(a, b)
loss = lambda f, a: sum((y ** 2).sum() for y in f(a))
def second(f):
    slope = jax.grad(lambda a: loss(f, a))
    return jax.jit(jax.grad(lambda a: sum(
        (s * t).sum() for s, t in zip(jax.tree.leaves(slope(a)), jax.tree.leaves(tangent)))))
ours, theirs = (second(f)(arrays) for f in forms)
for name in arrays:
    assert_close(ours[name], theirs[name])
stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), arrays, tangent)
ours, theirs = (jax.jit(jax.vmap(f))(stacked) for f in forms)
for a, b in zip(ours, theirs):
    assert_close(a, b)
print("done")
"""
)


def run(program: str, timeout: int = 300) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "done" in done.stdout


def test_values_and_gradients():
    run(VALUES)


def test_programs_and_errors():
    run(PROGRAMS)


@pytest.mark.slow
def test_a_kernel_on_every_device():
    run(KERNELS)


@pytest.mark.slow
def test_every_mode_of_differentiation():
    run(DERIVATIVES)


@pytest.mark.slow
def test_sweep_over_meshes():
    run(SWEEP, timeout=1800)


@pytest.mark.parametrize("causal", [False, True])
def test_the_halo_is_what_the_neighbours_need_and_no_more(causal):
    rng = np.random.default_rng(int(causal))
    for _ in range(150):
        devices, d, share = int(rng.integers(1, 7)), int(rng.integers(1, 4)), 0
        share = d * int(rng.integers(1, 7))
        length = devices * share
        if length // d < 2:
            continue
        w = int(rng.integers(2, length // d + 1))
        s = int(rng.integers(1, w + 1))
        left, right = halo(Axis(length, w, d, s, causal), devices)
        for j in range(devices):
            first, stop = j * share, (j + 1) * share
            keys = [t for i in range(first, stop) for t in neighbours(i, length, w, d, s, causal)]
            # A whole place of every group is sent: the strip's ends are multiples of d.
            assert left[j] == max(0, first - min(keys) // d * d)
            assert right[j] == max(0, (max(keys) // d + 1) * d - stop)


def test_the_halo_of_a_plain_window_is_the_documented_one():
    for devices in (2, 3, 5):
        for share in (1, 2, 3, 4, 7):
            for d in (1, 2):
                for w in range(2, devices * share + 1):
                    left, right = halo(Axis(devices * share * d, w, d), devices)
                    assert max(left) == d * max(w // 2, w - share)
                    assert max(right) == d * max((w - 1) // 2, w - share)
