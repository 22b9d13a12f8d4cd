"""Spectrum: a pytree with static facts; taps can be read back; a mismatch raises."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import Spectrum, long_conv, long_conv_spectrum
from kernels_pallas.long_conv import cases
from kernels_pallas.long_conv.spectrum import taps_of
from tests.kernels_pallas.long_conv.problems import cast, operands, run
from tests.numerics import assert_close


def made(case, arrays):
    return long_conv_spectrum(
        arrays["k"], case.length, mode=case.mode, k_future=arrays.get("k_future")
    )


@pytest.mark.parametrize(
    "name", ["one point", "two points", "few taps", "full prime", "bidirectional", "circular odd"]
)
def test_taps_can_be_read_back(name):
    case = cases.TESTS[name]
    arrays = cast(operands(case))
    k, k_future = taps_of(made(case, arrays))
    assert_close(k, arrays["k"])
    if case.future_taps == 0:
        assert k_future is None
        return
    expected = np.array(arrays["k_future"])
    expected[:, case.length - 1 :] = 0  # such a tap meets no input, so no transform keeps it
    assert_close(k_future, expected)


@pytest.mark.parametrize("name", ["bidirectional odd", "circular odd", "partial"])
def test_the_reference_takes_a_spectrum(name):
    case = cases.TESTS[name]
    arrays = cast(operands(case))
    y = run(case, arrays, implementation="reference")
    others = {name: a for name, a in arrays.items() if name not in ("k", "k_future")}
    by_spectrum = run(case, {**others, "k": made(case, arrays)}, implementation="reference")
    assert_close(by_spectrum, y)


def test_is_a_pytree_with_one_leaf():
    spectrum = long_conv_spectrum(jnp.ones((3, 80)), 80)
    leaves, tree = jax.tree.flatten(spectrum)
    assert [leaf.dtype for leaf in leaves] == [jnp.complex64]
    again = jax.tree.unflatten(tree, leaves)
    assert (again.length, again.mode, again.taps) == (80, "causal", 80)
    assert (again.ordering, again.size) == ("half", 80)
    other = long_conv_spectrum(jnp.ones((3, 79)), 80)
    assert jax.tree.structure(other) != tree


def test_crosses_jit_and_vmap():
    k = jnp.asarray(np.random.default_rng(0).standard_normal((4, 3, 50)), jnp.float32)
    u = jnp.asarray(np.random.default_rng(1).standard_normal((2, 3, 50)), jnp.float32)
    spectra = jax.vmap(lambda one: long_conv_spectrum(one, 50))(k)
    assert isinstance(spectra, Spectrum)
    y = jax.jit(jax.vmap(long_conv, in_axes=(None, 0)))(u, spectra)
    assert_close(y[2], long_conv(u, k[2]))


def test_float64_taps_give_complex128():
    with jax.enable_x64(True):
        k = jnp.ones((2, 40), jnp.float64)
        assert long_conv_spectrum(k, 40).values.dtype == jnp.complex128
        assert long_conv_spectrum(k.astype(jnp.float32), 40).values.dtype == jnp.complex64
        mixed = long_conv_spectrum(k.astype(jnp.float32), 40, k_future=k)
        assert mixed.values.dtype == jnp.complex128
