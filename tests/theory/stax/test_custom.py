"""Layers of a user's own compose with the others, and say what they cannot do."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.numerics import assert_close
from theory import stax
from theory.stax import Bool, Diagonal

RNG = np.random.default_rng(7)
X1, X2 = RNG.normal(size=(3, 4, 2, 5)), RNG.normal(size=(2, 4, 2, 5))
NO_PAIRS = Diagonal(input=Bool.NO, output=Bool.YES)


def each(k, f):
    """The Kernel with f of each of its covariances; f(value, batch axes)."""
    ntk = None if k.ntk is None else f(k.ntk, 2)
    cov2 = None if k.cov2 is None else f(k.cov2, 1)
    return k.replace(nngp=f(k.nngp, 2), ntk=ntk, cov1=f(k.cov1, 1), cov2=cov2)


@stax.layer
@stax.supports_masking(remask_kernel=False)
def Scale(factor):
    def init_fn(rng, input_shape):
        return input_shape, ()

    def apply_fn(params, inputs, **kwargs):
        return factor * inputs

    def kernel_fn(k, **kwargs):
        return each(k, lambda value, _: factor**2 * value)

    return init_fn, apply_fn, kernel_fn


@stax.layer
@stax.supports_masking(remask_kernel=True)
def Shift(amount):
    """Adds what is random and common to all places, also to masked ones: they need remasking."""

    def apply_fn(params, inputs, mask=None):
        assert mask is None or mask.shape == (*inputs.shape[:-1], 1)
        return inputs + amount * params

    def init_fn(rng, input_shape):
        return input_shape, jax.random.normal(rng, (input_shape[-1],))

    def kernel_fn(k):
        moved = each(k, lambda value, _: value + amount**2)
        return moved.replace(ntk=None if k.ntk is None else k.ntk + amount**2)

    return init_fn, apply_fn, kernel_fn


@stax.layer
@stax.supports_masking(remask_kernel=False)
def SumOfPlaces():
    def init_fn(rng, input_shape):
        return (input_shape[0], input_shape[-1]), ()

    def apply_fn(params, inputs):
        return inputs.sum(tuple(range(1, inputs.ndim - 1)))

    @stax.requires(diagonal_spatial=NO_PAIRS, batch_axis=0, channel_axis=-1)
    def kernel_fn(k):
        return each(k, lambda value, batch: value.sum(tuple(range(batch, value.ndim))))

    def mask_fn(mask, input_shape):
        return mask.all(tuple(range(1, mask.ndim - 1)))

    return init_fn, apply_fn, kernel_fn, mask_fn


@stax.layer
@stax.supports_masking(remask_kernel=False)
def Copies(num):
    return (
        lambda rng, input_shape: ([input_shape] * num, ()),
        lambda params, inputs: [inputs] * num,
        lambda k: [k] * num,
        lambda mask, input_shape: [mask] * num,
    )


def dense():
    return stax.Dense(16, 1.3, 0.2)


CUSTOM = stax.serial(
    dense(), Scale(1.5), Copies(2), stax.parallel(Scale(0.5), dense()),
    stax.FanInSum(), stax.Relu(), SumOfPlaces(), dense(),
)  # fmt: skip
BUILT_IN = stax.serial(
    stax.Dense(16, 1.95, 0.3), stax.FanOut(2), stax.parallel(stax.DotGeneral(lhs=0.5), dense()),
    stax.FanInSum(), stax.Relu(), stax.GlobalSumPool(), dense(),
)  # fmt: skip


@pytest.mark.parametrize("masked", [pytest.param(False, marks=pytest.mark.slow), True])
def test_they_compose_as_built_in_layers_do(masked):
    x1 = X1.copy()
    if masked:
        x1[0, 1:] = x1[1] = np.nan
    option = {"mask_constant": np.nan} if masked else {}
    x2 = X2 if masked else None
    with jax.enable_x64(True):
        one, other = (net.kernel_fn(x1, x2, None, **option) for net in (CUSTOM, BUILT_IN))
        assert_close(one.nngp, other.nngp, "float64")
        assert_close(one.ntk, other.ntk, "float64")
        assert_close(one.cov1, other.cov1, "float64")
    assert (one.shape1, one.shape2, one.is_gaussian) == (other.shape1, other.shape2, True)
    if masked:
        assert np.array_equal(one.mask1, [[False], [True], [False]])
        assert np.array_equal(one.mask1, other.mask1)


def test_the_ntk_goes_through():
    net = stax.serial(dense(), Scale(1.5), stax.Relu(), dense())
    plain = stax.serial(dense(), stax.Relu(), stax.Dense(16, 1.95, 0.2))
    with jax.enable_x64(True):
        # 1.5 relu = relu(1.5 ..): the last layer's own part of the NTK is that of its inputs
        assert_close(net.kernel_fn(X1, X2, "ntk"), plain.kernel_fn(X1, X2, "ntk"), "float64")


def test_finite_networks_get_what_their_layers_take():
    shape, params = CUSTOM.init_fn(jax.random.key(0), (-1, 4, 2, 5))
    x = X1.astype(np.float32)
    x[1] = 7.0
    y = CUSTOM.apply_fn(params, x, rng=jax.random.key(1), mask_constant=7.0)
    assert shape == (-1, 16)
    assert np.array_equal(np.asarray(y.mask)[:, 0], [False, True, False])
    plain = CUSTOM.apply_fn(params, x[[0, 2]])
    assert_close(y.masked_value[np.array([0, 2])], plain)


@pytest.mark.parametrize("diagonal", [False, True])
def test_remasking_zeroes_what_a_layer_leaves(diagonal):
    x = X1.copy()
    x[0, 2] = 7.0
    kernel = Shift(0.7).kernel_fn(x, X2, mask_constant=7.0, diagonal_spatial=diagonal)
    plain = Shift(0.7).kernel_fn(X1, X2, diagonal_spatial=diagonal)
    expected = {name: np.array(getattr(plain, name)) for name in ("nngp", "ntk", "cov1")}
    expected["nngp"][0, :, 2] = expected["ntk"][0, :, 2] = expected["cov1"][0, 2] = 0
    if not diagonal:
        expected["cov1"][0, :, 2] = 0
    for name, value in expected.items():
        assert_close(getattr(kernel, name), value)


def test_layers_made_of_others_stay_as_they_are():
    @stax.layer
    def Block(width):
        return stax.serial(stax.Dense(width), stax.Relu())

    assert not Block(8).kernel_fn.rule.opaque
    assert Scale(2.0).kernel_fn.rule.name == "Scale(2.0)"


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ValueError, match="requires covariances of all pairs of places"):
        SumOfPlaces().kernel_fn(stax.Identity().kernel_fn(X1, X2, diagonal_spatial=True))
    with pytest.raises(ValueError, match="a requirement must be one of"):
        stax.requires(spatial=True)
    with pytest.raises(ValueError, match="diagonal_batch=False is not supported"):
        stax.requires(diagonal_batch=False)
    with pytest.raises(ValueError, match="channel_axis must be -1"):
        stax.requires(channel_axis=0)
    with pytest.raises(ValueError, match="diagonal_spatial must be a Diagonal or a bool"):
        stax.requires(diagonal_spatial="yes")
    with pytest.raises(TypeError, match=r"stax\.layer makes one"):
        stax.serial((lambda rng, s: (s, ()), lambda p, x: x, lambda k: k))

    def functions(count, nngp=lambda k: k.nngp):
        plain = (lambda rng, s: (s, ()), lambda p, x: x, lambda k: k.replace(nngp=nngp(k)))
        return (*plain, lambda mask, shape: mask)[:count]

    with pytest.raises(ValueError, match="a mask_fn needs stax"):
        stax.layer(lambda: functions(4))()
    with pytest.raises(ValueError, match="got 2 functions"):
        stax.supports_masking(True)(lambda: functions(2))()
    with pytest.raises(ValueError, match="does not support masked inputs"):
        stax.layer(lambda: functions(3))().kernel_fn(X1, X2, mask_constant=0.0)
    with pytest.raises(ValueError, match="gave nngp of shape"):
        stax.layer(lambda: functions(3, lambda k: k.nngp[:1]))().kernel_fn(X1, X2)
    with pytest.raises(NotImplementedError, match="needs Gaussian inputs"):
        stax.serial(dense(), stax.Relu(), Scale(2.0), stax.Relu()).kernel_fn(X1, X2)


@pytest.mark.parametrize(
    ("requirement", "wanted", "full"),
    [
        (Diagonal(), True, True),
        (Diagonal(), False, False),
        (Diagonal(output=Bool.YES), True, False),
        (Diagonal(output=Bool.MAYBE), True, True),
        (Diagonal(input=Bool.MAYBE), False, True),
        (NO_PAIRS, False, True),
    ],
)
def test_diagonals_say_what_is_needed(requirement, wanted, full):
    assert requirement.full(wanted) is full


def test_diagonals_compose():
    flatten, local, pool = Diagonal(output=Bool.YES), Diagonal(), Diagonal(Bool.NO, Bool.YES)
    everything = [Diagonal(i, o) for i in Bool for o in Bool]
    assert bool(local >> flatten)
    assert not bool(local >> pool)
    assert (local >> flatten) == (flatten << local)
    for a in everything:
        assert a & a == a
        for b in everything:
            assert a & b == b & a
            for c in everything:
                assert (a >> b) >> c == a >> (b >> c)
    assert (Bool.YES & Bool.MAYBE) is Bool.MAYBE
