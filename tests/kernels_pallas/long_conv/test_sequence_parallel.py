"""Lengths split over host devices: values and every gradient equal to one device's."""

from __future__ import annotations

import subprocess
import sys

# The number of devices is fixed once a backend starts, so each runs in a process of its own.
SETUP = """
import jax
jax.config.update("jax_num_cpu_devices", 6)
from functools import partial
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec as P
from kernels_pallas import long_conv
from kernels_pallas.long_conv.cases import Case
from kernels_pallas.long_conv.sequence_parallel import long_conv_sequence_parallel
from tests.kernels_pallas.long_conv.problems import cast, direct_sum, operands
from tests.numerics import assert_accurate, assert_close, assert_rounded_once

def mesh_of(devices):
    return Mesh(np.array(jax.devices()[:devices]), ("s",), axis_types=(AxisType.Auto,))

def specs_of(case, arrays, split_taps):
    signal = P(None, None, "s") if case.layout == "BCL" else P(None, "s")
    taps = P(None, "s") if split_taps else P()
    kinds = {"k": taps, "k_future": taps, "skip": P()}
    return {name: kinds.get(name, signal) for name in arrays}

def sharded(case, arrays, devices, method, check, split_taps=False):
    specs = specs_of(case, arrays, split_taps)
    def local(a):
        return long_conv_sequence_parallel(
            **a, axis_name="s", layout=case.layout, method=method, split_taps=split_taps)
    return jax.shard_map(
        local, mesh=mesh_of(devices), in_specs=(specs,), out_specs=specs["u"], check_vma=check)
"""

VALUES = (
    SETUP
    + """
COMBINATIONS = [
    (Case(2, 3, 51, 51, 20, "causal", "BCL", True, True, True), 3, "transform"),
    (Case(2, 6, 63, 63, 9, "causal", "BCL", True, True, True), 3, "channels"),
    (Case(2, 2, 6, 6, 6, "causal", "BLC", True, True, True), 6, "transform"),
    (Case(2, 4, 52, 52, 52, "causal", "BLC", True, True, False), 4, "channels"),
    (Case(2, 3, 5, 5, 5, skip=True), 1, "transform"),
    (Case(1, 5, 130, 70, 130, "causal", "BLC", True, False, True), 2, "transform"),
    (Case(2, 4, 52, 3, 0, "causal", "BLC"), 2, None),
    (Case(2, 3, 52, 52), 4, None),
    (Case(0, 3, 52, 52), 2, None),
]
for i, (case, devices, method) in enumerate(COMBINATIONS):
    arrays = cast(operands(case))
    expected = long_conv(**arrays, layout=case.layout)
    g = jnp.asarray(operands(case, seed=1)["u"], jnp.float32)
    slopes = jax.grad(lambda a: (g * long_conv(**a, layout=case.layout)).sum())(arrays)
    for check in (True, False) if i < 2 else (i % 2 == 0,):
        conv = sharded(case, arrays, devices, method, check)
        def both(a):
            y, pull = jax.vjp(conv, a)
            return y, pull(g)[0]
        y, ours = jax.jit(both)(arrays)
        assert_close(y, expected)
        for name in arrays:
            assert_close(ours[name], slopes[name])
    if case.taps == case.length and case.future_taps in (0, case.length):  # taps split likewise
        conv = sharded(case, arrays, devices, method, True, split_taps=True)
        y, ours = jax.jit(both)(arrays)
        assert_close(y, expected)
        for name in arrays:
            assert_close(ours[name], slopes[name])

# in float64, against the direct sum; with 16 bits, one rounding
case = Case(2, 6, 210, 210, 100, "causal", "BCL", True, True, True)
arrays = operands(case)
for devices, method in ((6, "transform"), (2, "channels")):
    with jax.enable_x64(True):
        wide = cast(arrays, "float64")
        y = np.asarray(jax.jit(sharded(case, wide, devices, method, True))(wide))
    assert_accurate(y, direct_sum(case, arrays), "float64")
    for present in (arrays, {"u": arrays["u"], "k": arrays["k"]}):
        few = case._replace(future_taps=100 * ("k_future" in present))
        narrow = cast(present, "bfloat16")
        y = jax.jit(sharded(few, narrow, devices, method, True))(narrow)
        assert y.dtype == jnp.bfloat16
        assert_rounded_once(y, direct_sum(few, narrow), "bfloat16")
for method, devices in (("transform", 4), ("channels", 3)):  # accuracy at a longer length
    case = Case(1, 3, 8184, 8184)
    arrays = cast(operands(case))
    y = jax.jit(sharded(case, arrays, devices, method, True))(arrays)
    assert_accurate(y, direct_sum(case, arrays))
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

case = Case(2, 4, 64, 64, 64, "causal", "BCL", True, True, True)
arrays = cast(operands(case))
for method, exchanges in (("transform", 4), ("channels", 2)):
    for split_taps in (False, True):
        conv = sharded(case, arrays, 4, method, False, split_taps)
        found = primitives(jax.make_jaxpr(conv)(arrays).jaxpr, [])
        names = [e.primitive.name for e in found]
        more = (4 if method == "transform" else 2) * split_taps
        assert names.count("all_to_all") == exchanges + more, (method, names.count("all_to_all"))
        assert not {"all_gather", "psum", "reduce_scatter", "psum2"} & set(names), names
        hlo = jax.jit(conv).lower(arrays).compile().as_text()
        assert "all-to-all" in hlo and "all-gather" not in hlo and "all-reduce" not in hlo

    # forward mode, reverse over reverse, vmap
    conv = sharded(case, arrays, 4, method, True)
    one = lambda a: long_conv(**a)
    tangent = cast(operands(case, seed=2))
    ours, theirs = (jax.jit(lambda a, t, f=f: jax.jvp(f, (a,), (t,)))(arrays, tangent)
                    for f in (conv, one))
    assert_close(ours[1], theirs[1])
    second = lambda f: jax.jit(jax.grad(lambda a: sum(
        (slope * t).sum() for slope, t in zip(
            jax.tree.leaves(jax.grad(lambda b: (f(b) ** 2).sum())(a)), jax.tree.leaves(tangent)))))
    ours, theirs = second(conv)(arrays), second(one)(arrays)
    for name in arrays:
        assert_close(ours[name], theirs[name])
    stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), arrays, tangent)
    assert_close(jax.jit(jax.vmap(conv))(stacked), jax.vmap(one)(stacked))

# a gradient taken inside: what each device contributes; the sum over the axis is the gradient
g = cast(operands(case, seed=1))["u"]
expected = jax.grad(lambda k: (g * long_conv(arrays["u"], k)).sum())(arrays["k"])
signal = P(None, None, "s")
for method in ("transform", "channels"):
    def inside(u, k, g):
        def loss(k):
            return (g * long_conv_sequence_parallel(u, k, axis_name="s", method=method)).sum()
        return jax.lax.psum(jax.grad(loss)(k), "s")
    ours = jax.jit(jax.shard_map(inside, mesh=mesh_of(4), in_specs=(signal, P(), signal),
                                 out_specs=P(), check_vma=False))(arrays["u"], arrays["k"], g)
    assert_close(ours, expected)

# errors name the argument
u, k = arrays["u"], arrays["k"]
WRONG = [
    ("u", {"u": u[0]}), ("k", {"k": k[:2]}), ("k", {"k": jnp.zeros((4, 65))}),
    ("k", {"k": jnp.zeros((4, 3)), "split_taps": True}), ("k_future", {"k_future": k[:3]}),
    ("k_future", {"k_future": jnp.zeros((4, 65))}), ("skip", {"skip": jnp.zeros(3)}),
    ("pre_gate", {"pre_gate": jnp.zeros((2, 4, 3))}), ("post_gate", {"post_gate": k}),
    ("layout", {"layout": "LBC"}), ("method", {"method": "ring"}),
    ("method", {"u": u[:, :3], "k": k[:3], "method": "channels"}),
    ("implementation", {"method": "transform", "implementation": "reference"}),
    ("axis_name", {"axis_name": "t"}), ("k", {"k": None}),
    ("split_taps", {"split_taps": 1}),
]
for name, wrong in WRONG:
    arguments = {"u": u, "k": k, "axis_name": "s", **wrong}
    u_wrong = arguments.pop("u")
    mapped = jax.shard_map(lambda u: long_conv_sequence_parallel(u, **arguments), mesh=mesh_of(4),
                           in_specs=P(*[None] * (u_wrong.ndim - 1), "s"), out_specs=signal)
    try:
        mapped(u_wrong)
    except (TypeError, ValueError) as error:
        assert str(error).startswith(name), (name, error)
    else:
        raise AssertionError(f"{name}: accepted")
print("done")
"""
)


def run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "done" in done.stdout


def test_values_and_gradients():
    run(VALUES)


def test_programs_derivatives_and_errors():
    run(PROGRAMS)
