"""Fan-outs and fan-ins: identities between networks, and finite networks."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.numerics import assert_close
from tests.theory.stax.sampling import assert_network
from theory import stax

RNG = np.random.default_rng(1)
X1, X2 = RNG.normal(size=(3, 3, 2, 4)), RNG.normal(size=(2, 3, 2, 4))


def dense(W_std=1.3, b_std=0.2, width=8):
    return stax.Dense(width, W_std, b_std)


def branched(fan_in, *branches, front=None):
    front = [dense()] if front is None else front
    return stax.serial(*front, stax.FanOut(len(branches)), stax.parallel(*branches), fan_in)


def kernels(net, x1=X1, x2=X2, **options):
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, net.kernel_fn(x1, x2, **options))


def parts(net, x1=X1, x2=X2, **options):
    kernel = kernels(net, x1, x2, **options)
    return [kernel.nngp, kernel.ntk, kernel.cov1] + ([] if kernel.cov2 is None else [kernel.cov2])


@pytest.mark.parametrize(
    "x2", [pytest.param(X2, id="cross", marks=pytest.mark.slow), pytest.param(None, id="symmetric")]
)
def test_a_sum_of_dense_layers_is_a_dense_layer(x2):
    fused = stax.serial(dense(), stax.Relu(), dense(np.hypot(1.3, 0.7), np.hypot(0.2, 0.5)))
    net = branched(stax.FanInSum(), dense(1.3, 0.2), dense(0.7, 0.5), front=[dense(), stax.Relu()])
    for one, other in zip(parts(net, x2=x2), parts(fused, x2=x2), strict=True):
        assert_close(one, other, "float64")


@pytest.mark.parametrize(
    "x2", [pytest.param(X2, id="cross"), pytest.param(None, id="symmetric", marks=pytest.mark.slow)]
)
def test_a_product_multiplies_covariances(x2):
    branches = [dense(), stax.serial(dense(), stax.Relu()), stax.serial(dense(0.8), stax.Relu())]
    k = [kernels(stax.serial(dense(), branch), x2=x2) for branch in branches]
    net = kernels(branched(stax.FanInProd(), *branches), x2=x2)
    a, b, c = (part.nngp for part in k)
    ntk = k[0].ntk * b * c + a * k[1].ntk * c + a * b * k[2].ntk
    assert_close(net.nngp, a * b * c, "float64")
    assert_close(net.ntk, ntk, "float64")
    assert_close(net.cov1, k[0].cov1 * k[1].cov1 * k[2].cov1, "float64")
    assert not net.is_gaussian


def test_channels_side_by_side_are_averaged():
    branches = [dense(width=6), stax.serial(dense(width=18), stax.Relu())]
    one, other = (kernels(stax.serial(dense(), branch)) for branch in branches)
    net = kernels(branched(stax.FanInConcat(), *branches))
    assert net.shape1 == (3, 3, 2, 24)
    assert not net.is_gaussian
    for name in ("nngp", "ntk", "cov1", "cov2"):
        mean = 0.25 * getattr(one, name) + 0.75 * getattr(other, name)
        assert_close(getattr(net, name), mean, "float64")


@pytest.mark.parametrize(
    ("axis", "diagonal"), [(1, False), pytest.param(-2, True, marks=pytest.mark.slow)]
)
def test_places_side_by_side_are_independent(axis, diagonal):
    branches = [dense(), stax.serial(dense(), stax.Relu(), dense())]
    one, other = (
        kernels(stax.serial(dense(), branch), diagonal_spatial=diagonal) for branch in branches
    )
    net = kernels(branched(stax.FanInConcat(axis), *branches), diagonal_spatial=diagonal)
    place = axis % 4 - 1
    size = X1.shape[axis]
    for name in ("nngp", "ntk", "cov1"):
        batch = 1 if name == "cov1" else 2
        value, a, b = (getattr(k, name) for k in (net, one, other))
        if diagonal:
            assert_close(value, np.concatenate([a, b], batch + place), "float64")
            continue
        at = batch + 2 * place
        value = np.moveaxis(value, (at, at + 1), (0, 1))
        a, b = (np.moveaxis(part, (at, at + 1), (0, 1)) for part in (a, b))
        assert_close(value[:size, :size], a, "float64")
        assert_close(value[size:, size:], b, "float64")
        assert not value[:size, size:].any()
        assert not value[size:, :size].any()


@pytest.mark.parametrize(
    ("fan_in", "twice"),
    [
        (stax.FanInConcat(2), True),
        pytest.param(stax.FanInConcat(), False, marks=pytest.mark.slow),
        pytest.param(stax.FanInSum(), False, marks=pytest.mark.slow),
        pytest.param(stax.FanInProd(), False, marks=pytest.mark.slow),
    ],
)
def test_masks_of_branches_meet(fan_in, twice):
    x = X1.copy()
    x[0, 1:] = 9.0
    hidden = np.zeros((3, 3, 2), bool)
    hidden[0, 1:] = True
    mask = np.concatenate([hidden, hidden], 2) if twice else hidden
    net = branched(fan_in, dense(), stax.serial(dense(), stax.Relu(), dense()))
    kernel = kernels(net, x, X2, mask_constant=9.0)
    assert np.array_equal(kernel.mask1[..., 0], mask)
    assert not kernel.mask2.any()
    height, width = np.ogrid[: mask.shape[1], : mask.shape[2]]
    variances = kernel.cov1[:, height, height, width, width]
    assert np.array_equal(variances == 0, mask)
    _, params = net.init_fn(jax.random.key(0), x.shape)
    y = net.apply_fn(params, x, mask_constant=9.0)
    assert np.array_equal(y.mask[..., 0], mask)
    assert np.array_equal(np.asarray(y.masked_value).any(-1), ~mask)


def test_a_branch_without_a_mask_hides_nothing_beside_another():
    x = X1.copy()
    x[0, 1:] = 9.0
    net = stax.serial(stax.parallel(dense(), dense()), stax.FanInConcat())
    masked = stax.MaskedArray(x, (x == 9.0).all(-1, keepdims=True))
    _, params = net.init_fn(jax.random.key(0), (x.shape, x.shape))
    y = net.apply_fn(params, (masked, X1))
    assert not isinstance(y, stax.MaskedArray)
    assert np.asarray(y)[0, 1:].any()


@pytest.mark.parametrize(
    ("fan_in", "shape"),
    [
        (stax.FanInSum(), (5, 3, 2, 8)),
        (stax.FanInProd(), (5, 3, 2, 8)),
        (stax.FanInConcat(), (5, 3, 2, 16)),
        (stax.FanInConcat(1), (5, 6, 2, 8)),
    ],
)
def test_finite_shapes_are_those_stated(fan_in, shape):
    net = branched(fan_in, dense(), stax.serial(dense(), stax.Relu()))
    stated, params = net.init_fn(jax.random.key(0), (-1, 3, 2, 4))
    y = net.apply_fn(params, np.ones((5, 3, 2, 4), np.float32))
    assert stated == (-1, *shape[1:])
    assert y.shape == shape


def test_what_cannot_be_used_is_refused():
    relu = stax.serial(dense(), stax.Relu())
    with pytest.raises(NotImplementedError, match="end every branch with a Dense or Conv"):
        kernels(branched(stax.FanInSum(), dense(), relu))
    with pytest.raises(NotImplementedError, match="end every branch with a Dense or Conv"):
        kernels(branched(stax.FanInConcat(1), dense(), relu))
    for fan_in in (stax.FanInSum(), stax.FanInProd()):
        with pytest.raises(ValueError, match="must have one shape"):
            kernels(branched(fan_in, dense(), dense(width=9)))
        with pytest.raises(ValueError, match="put a FanOut before it"):
            kernels(fan_in)
    with pytest.raises(ValueError, match="but for the axis of concatenation"):
        kernels(branched(stax.FanInConcat(1), dense(), dense(width=9)))
    for axis in (0, -4, 4):
        with pytest.raises(ValueError, match="axis of FanInConcat must be one of"):
            kernels(branched(stax.FanInConcat(axis), dense(), dense()))
    with pytest.raises(ValueError, match="num must be a positive int"):
        stax.FanOut(0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sum", "product", "channels", "places"])
def test_finite_networks_approach_the_limit(name):
    def wide(out=64):
        return stax.Dense(out, 1.3, 0.2)

    def hidden(out=64):
        return stax.serial(wide(out), stax.Relu())

    net = {
        "sum": branched(
            stax.FanInSum(), stax.serial(hidden(), wide()), stax.Identity(), front=[wide()]
        ),
        "product": branched(stax.FanInProd(), hidden(), hidden(), front=[wide()]),
        "channels": branched(stax.FanInConcat(), hidden(32), wide(), front=[wide()]),
        "places": branched(
            stax.FanInConcat(1), stax.serial(hidden(), wide()), wide(), front=[wide()]
        ),
    }[name]
    after = stax.Relu() if name in ("sum", "places") else stax.Identity()
    x1, x2 = X1[:2, :2].astype(np.float32), X2[:, :2].astype(np.float32)
    assert_network(stax.serial(net, after, wide()), x1, x2, 64, 100)
