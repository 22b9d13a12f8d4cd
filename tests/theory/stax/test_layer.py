"""The public triple: what kernel_fn and apply_fn take, give and refuse."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import assert_close
from theory import Kernel, stax

rng = np.random.default_rng(0)
X1, X2 = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(2, 3)).astype(np.float32)
IMAGES = rng.normal(size=(3, 5, 2)).astype(np.float32)
OTHERS = rng.normal(size=(2, 5, 2)).astype(np.float32)
NET = stax.serial(stax.Dense(8), stax.Relu(), stax.Dense(1))
CONV = stax.serial(stax.Conv(4, (3,)), stax.Relu())


def test_get_names_what_is_returned():
    kernel = NET.kernel_fn(X1, X2)
    assert isinstance(kernel, Kernel)
    pair = NET.kernel_fn(X1, X2, ("ntk", "nngp"))
    assert pair._fields == ("ntk", "nngp")
    assert_close(pair.ntk, kernel.ntk)
    assert_close(NET.kernel_fn(X1, X2, "nngp"), kernel.nngp)
    assert NET.kernel_fn(X1, X2, ("nngp",)).nngp.shape == (4, 2)
    assert NET.kernel_fn(X1, None, "cov2") is None
    assert NET.kernel_fn(X1, X2, "shape1") == (4, 1)
    assert NET.kernel_fn(X1, X2, "x1_is_x2") is False


def test_a_kernel_without_the_ntk_has_none():
    fields = NET.kernel_fn(X1, None, ("nngp", "is_gaussian"))
    assert fields.is_gaussian is True
    assert CONV.kernel_fn(IMAGES, None, "is_gaussian") is False


def test_facts_of_a_kernel_are_static_under_jit():
    @jax.jit
    def double(x):
        kernel = CONV.kernel_fn(x)
        assert kernel.shape1 == (3, 3, 4)
        assert kernel.x1_is_x2
        return kernel.replace(nngp=2 * kernel.nngp)

    kernel = double(IMAGES)
    assert not kernel.diagonal_spatial
    assert kernel.nngp.shape == (3, 3, 3, 3)
    assert_close(kernel.nngp, 2 * CONV.kernel_fn(IMAGES, None, "nngp"))


def test_get_may_be_static_under_jit():
    jitted = jax.jit(NET.kernel_fn, static_argnames="get")
    assert_close(jitted(X1, X2, get="ntk"), NET.kernel_fn(X1, X2, "ntk"))


def test_equal_places_alone():
    full = CONV.kernel_fn(IMAGES, None, ("nngp", "ntk"))
    diagonal = CONV.kernel_fn(IMAGES, None, ("nngp", "ntk"), diagonal_spatial=True)
    at = np.arange(3)
    assert_close(diagonal.nngp, np.asarray(full.nngp)[:, :, at, at])
    assert_close(diagonal.ntk, np.asarray(full.ntk)[:, :, at, at])


def test_a_masked_array_has_its_own_mask():
    x = IMAGES.copy()
    x[0, 3:] = -7.0
    masked = stax.MaskedArray(x, x == -7.0)
    expected = CONV.kernel_fn(x, None, "nngp", mask_constant=-7.0)
    assert_close(CONV.kernel_fn(masked, None, "nngp"), expected)


def test_a_pattern_has_a_graph_for_each_example():
    with pytest.raises(ValueError, match="a graph for each of 3 examples, got 4"):
        CONV.kernel_fn(IMAGES, None, "nngp", pattern=(np.zeros((4, 5, 5)), None))


@pytest.mark.parametrize("mask_constant", [None, -7.0])
def test_inputs_that_are_flattened_first(mask_constant):
    x = IMAGES.copy()
    x[0, 3:] = -7.0
    x[1] = -7.0
    head = stax.serial(stax.Dense(4, 1.2, 0.3), stax.Relu())
    at_once = stax.serial(stax.Flatten(), head).kernel_fn(x, None, mask_constant=mask_constant)
    # behind another layer, the places' covariances are averaged
    later = stax.serial(stax.Identity(), stax.Flatten(), head)
    expected = later.kernel_fn(x, None, mask_constant=mask_constant)
    assert_close(at_once.nngp, expected.nngp)
    assert_close(at_once.ntk, expected.ntk)
    assert at_once.shape1 == expected.shape1
    if mask_constant is not None:
        np.testing.assert_array_equal(at_once.mask1, expected.mask1)


def test_kernels_chain():
    head = stax.serial(stax.Conv(2, (2,), b_std=0.1), stax.Relu(), stax.Flatten(), stax.Dense(1))
    for arguments in ((IMAGES, None), (IMAGES, OTHERS)):
        chained = head.kernel_fn(CONV.kernel_fn(*arguments))
        whole = stax.serial(CONV, head).kernel_fn(*arguments)
        for name in ("nngp", "ntk", "cov1"):
            assert_close(getattr(chained, name), getattr(whole, name))
        assert chained.shape1 == whole.shape1
    with pytest.raises(ValueError, match="x2 and mask_constant must be None"):
        head.kernel_fn(CONV.kernel_fn(IMAGES), IMAGES)


def test_dtypes():
    assert NET.kernel_fn(X1.astype(np.float16), None, "ntk").dtype == jnp.float32
    assert NET.kernel_fn(X1.astype(int), None, "ntk").dtype == jnp.float32
    with jax.enable_x64(True):
        assert NET.kernel_fn(X1, None, "ntk").dtype == jnp.float32
        assert NET.kernel_fn(X1.astype(float), None, "ntk").dtype == jnp.float64


def test_float32_does_not_overflow_in_deep_networks():
    deep = stax.serial(stax.repeat(stax.serial(stax.Dense(3, 2.0), stax.Relu()), 60), stax.Dense(1))
    got = deep.kernel_fn(1e6 * X1, X2, ("nngp", "ntk"))
    assert np.isfinite(got.nngp).all()
    assert np.isfinite(got.ntk).all()
    assert float(jnp.abs(got.nngp).max()) > 1e19  # whose square float32 cannot hold


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X1, X2, "cov3"), {}, ValueError, "get must be one of nngp"),
        ((X1, X2[:, :2]), {}, ValueError, "same shape"),
        ((X1[0], None), {}, ValueError, r"x1 must have shape \(batch, \*space, channels\)"),
        ((X1, X2[:0]), {}, ValueError, "x2 must have shape"),
        ((X1 * 1j, None), {}, TypeError, "x1 must be real"),
        (("text", None), {}, TypeError, "x1 must be an array"),
        ((X1, X2), {"diagonal_batch": False}, ValueError, "diagonal_batch"),
    ],
)
def test_bad_calls(arguments, options, error, message):
    with pytest.raises(error, match=message):
        NET.kernel_fn(*arguments, **options)


def test_a_nonlinearity_needs_gaussian_inputs():
    with pytest.raises(NotImplementedError, match="needs Gaussian inputs"):
        stax.serial(stax.Dense(3), stax.Relu(), stax.Relu()).kernel_fn(X1)


def test_masked_inputs_of_the_finite_network():
    x = IMAGES.copy()
    x[0, 3:] = -7.0
    net = stax.serial(stax.Conv(4, (3,), padding="SAME"), stax.Relu())
    _, params = net.init_fn(jax.random.key(0), x.shape)
    out = net.apply_fn(params, x, mask_constant=-7.0)
    assert isinstance(out, stax.MaskedArray)
    assert np.asarray(out.mask)[0, :, 0].tolist() == [False, False, False, True, True]
    assert not np.asarray(out.masked_value)[0, 3:].any()
    same = net.apply_fn(params, stax.MaskedArray(jnp.asarray(x), jnp.asarray(x == -7.0)))
    assert_close(same.masked_value, out.masked_value)
    unmasked = stax.unmask_fn(net.apply_fn)(params, x, mask_constant=-7.0)
    assert_close(unmasked, out.masked_value)
