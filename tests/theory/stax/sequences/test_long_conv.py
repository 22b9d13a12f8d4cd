"""The long convolution's limit: against loops, against other layers, against finite networks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import long_conv
from tests.numerics import assert_close
from tests.theory.stax.sampling import assert_network
from tests.theory.stax.sequences.sums import convolved
from theory import stax
from theory.stax import diagonals

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(3, 7, 4)), RNG.normal(size=(2, 7, 4))
Y1, Y2 = RNG.normal(size=(2, 3, 4, 3)), RNG.normal(size=(2, 3, 4, 3))
BEFORE = stax.serial(stax.Dense(8, 1.3, 0.2), stax.Relu())
V = RNG.uniform(size=5)
ROOT = RNG.normal(size=(5, 3))
R = ROOT @ ROOT.T
EQUAL = 1e-10


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield


def as_lags(array, causal, paired):
    """Moments as a dict from tuples of lags."""
    half = array.ndim // 2 if paired else array.ndim
    out = {}
    for index in np.ndindex(array.shape):
        lags = [i - (0 if causal else n // 2) for i, n in zip(index, array.shape, strict=True)]
        key = (tuple(lags[:half]), tuple(lags[half:])) if paired else tuple(lags)
        out[key] = array[index]
    return out


CASES = {
    "variance": (X1, X2, {"tap_variance": V}),
    "both sides": (X1, X2, {"tap_variance": V, "causal": False}),
    "covariance": (X1, X2, {"tap_covariance": R}),
    "covariance, both sides": (X1, X2, {"tap_covariance": R, "causal": False}),
    "images": (Y1, Y2, {"tap_variance": RNG.uniform(size=(2, 3))}),
    "images, both sides": (Y1, Y2, {"tap_variance": RNG.uniform(size=(3, 5)), "causal": False}),
    "longer than the inputs": (X1, X2, {"tap_variance": RNG.uniform(size=11)}),
    "taps not trained": (X1, X2, {"tap_variance": V, "tap_ntk": 0}),
    "an NTK of its own": (X1, X2, {"tap_variance": V, "tap_ntk": RNG.uniform(size=4)}),
    "a paired NTK": (X1, X2, {"tap_variance": V, "tap_ntk": R}),
    "covariance and a variance as NTK": (X1, X2, {"tap_covariance": R, "tap_ntk": V}),
}


@pytest.mark.parametrize("case", CASES)
def test_kernels_are_the_sums(case):
    x1, x2, options = CASES[case]
    causal = options.get("causal", True)
    name = next(name for name in options if name.startswith("tap_") and name != "tap_ntk")
    r = as_lags(options[name], causal, name == "tap_covariance")
    before = BEFORE.kernel_fn(x1, x2, ("nngp", "ntk"))
    got = stax.serial(BEFORE, stax.LongConv(**options)).kernel_fn(x1, x2, ("nngp", "ntk"))
    paired = name == "tap_covariance"
    assert_close(got.nngp, convolved(np.asarray(before.nngp), r, paired), "float64")
    t = options.get("tap_ntk", options[name])
    own = 0.0
    if np.ndim(t):
        t_paired = t.ndim == 2 * (x1.ndim - 2)
        own = convolved(np.asarray(before.nngp), as_lags(t, causal, t_paired), t_paired)
    expected = own + convolved(np.asarray(before.ntk), r, paired)
    assert_close(got.ntk, expected, "float64")


@pytest.mark.parametrize("case", ["variance", "both sides", "covariance"])
def test_a_network_that_starts_with_it(case):
    """Nothing before has parameters: Theta is zero there."""
    x1, x2, options = CASES[case]
    got = stax.LongConv(**options).kernel_fn(x1, x2, ("nngp", "ntk"))
    assert_close(got.ntk, got.nngp, "float64")
    frozen = stax.LongConv(**options, tap_ntk=0).kernel_fn(x1, x2, "ntk")
    assert not np.asarray(frozen).any()


@pytest.mark.parametrize("w", [1, 3, 7])
def test_a_flat_profile_is_a_convolution_of_the_padded_signal(w):
    """K' and Theta' of Conv(w, VALID) behind w - 1 zeros, with W_std² / w = v."""
    padded1, padded2 = (np.pad(x, ((0, 0), (w - 1, 0), (0, 0))) for x in (X1, X2))
    conv = stax.Conv(8, (w,), None, "VALID", W_std=1.2)
    expected = conv.kernel_fn(padded1, padded2, ("nngp", "ntk"))
    flat = stax.LongConv(np.full(w, 1.2**2 / w)).kernel_fn(X1, X2, ("nngp", "ntk"))
    rest = (stax.Relu(), stax.Dense(8, 1.1, 0.3), stax.Relu(), stax.GlobalAvgPool(), stax.Dense(1))
    deep = stax.serial(conv, *rest).kernel_fn(padded1, padded2, ("nngp", "ntk"))
    mixing = stax.LongConv(np.full(w, 1 / w), tap_ntk=0)  # the weights are then those of a Dense
    ours = stax.serial(mixing, stax.Dense(8, 1.2), *rest).kernel_fn(X1, X2, ("nngp", "ntk"))
    for a, b in ((flat, expected), (ours, deep)):
        for name in ("nngp", "ntk"):
            assert np.abs(getattr(a, name) - getattr(b, name)).max() < EQUAL


def test_a_variance_beside_its_covariance():
    both = stax.LongConv(np.diag(R), tap_covariance=R).kernel_fn(X1, X2, "nngp")
    alone = stax.LongConv(tap_covariance=R).kernel_fn(X1, X2, "nngp")
    assert np.array_equal(both, alone)


def test_one_position_has_lag_zero_alone():
    layer = stax.LongConv(V, causal=False, operator=long_conv)
    params = layer.init_fn(jax.random.key(0), (2, 1, 4))[1]
    y = layer.apply_fn(params, X2[:, :1])
    assert_close(y[:, 0], X2[:, 0] * np.asarray(params)[:, 0] * V[2] ** 0.5, "float64")
    expected = V[2] * X2[:, 0] @ X2[:, 0].T / 4
    assert_close(layer.kernel_fn(X2[:, :1]).nngp[:, :, 0, 0], expected, "float64")


def test_functions_of_the_lag():
    def v(s):
        return np.exp(-s / 2)

    def r(s, u):
        return np.exp(-np.abs(s - u)) * np.exp(-(s + u) / 4)

    lags = np.arange(7)
    pairs = [
        (stax.LongConv(v), stax.LongConv(v(lags))),
        (stax.LongConv(tap_covariance=r), stax.LongConv(tap_covariance=r(lags[:, None], lags))),
    ]
    signed = np.arange(-6, 7)
    both = stax.LongConv(lambda s: np.exp(-np.abs(s)), causal=False)
    pairs.append((both, stax.LongConv(np.exp(-np.abs(signed)), causal=False)))
    for one, other in pairs:
        a, b = (net.kernel_fn(X1, X2, ("nngp", "ntk")) for net in (one, other))
        assert_close(a.nngp, b.nngp, "float64")
        assert_close(a.ntk, b.ntk, "float64")


@pytest.mark.parametrize("causal", [True, False])
def test_an_operator_computes_the_same(causal):
    plain = stax.serial(BEFORE, stax.LongConv(V, causal=causal), stax.Dense(8))
    fast = stax.serial(BEFORE, stax.LongConv(V, causal=causal, operator=long_conv), stax.Dense(8))
    for diagonal in (False, True):
        options = {"diagonal_spatial": diagonal}
        a, b = (net.kernel_fn(X1, X2, ("nngp", "ntk"), **options) for net in (plain, fast))
        assert_close(a.nngp, b.nngp, "float64")
        assert_close(a.ntk, b.ntk, "float64")
    shape, params = plain.init_fn(jax.random.key(0), X1.shape)
    assert shape == (3, 7, 8)
    outputs = [net.apply_fn(params, jnp.asarray(X1)) for net in (plain, fast)]
    assert_close(outputs[0], outputs[1], "float64")


def test_transforms_compute_what_products_do(monkeypatch):
    """Beyond WHOLE places, on axes of one and of two spatial dimensions."""
    nets = [
        (stax.serial(BEFORE, stax.LongConv(V, causal=False)), X1, X2),
        (stax.serial(BEFORE, stax.LongConv(CASES["images"][2]["tap_variance"])), Y1, Y2),
    ]
    whole = [net.kernel_fn(a, b, "ntk") for net, a, b in nets]
    monkeypatch.setattr(diagonals, "WHOLE", 2)
    jax.clear_caches()
    for (net, a, b), expected in zip(nets, whole, strict=True):
        assert_close(net.kernel_fn(a, b, "ntk"), expected, "float64")


def test_independent_taps_need_equal_places_alone():
    net = stax.serial(BEFORE, stax.LongConv(V), stax.Dense(4), stax.LastPosition())
    every = stax.serial(BEFORE, stax.LongConv(V), stax.Dense(4)).kernel_fn(X1, X2)
    got = net.kernel_fn(X1, X2, ("nngp", "ntk"))
    assert_close(got.nngp, every.nngp[:, :, -1, -1], "float64")
    assert_close(got.ntk, every.ntk[:, :, -1, -1], "float64")
    rule = stax.LongConv(V).kernel_fn.rule
    assert not rule.full(False)
    assert stax.LongConv(tap_covariance=R).kernel_fn.rule.full(False)


def test_it_never_looks_ahead():
    net = stax.serial(BEFORE, stax.LongConv(tap_covariance=R), stax.Dense(4))
    changed = X1.copy()
    changed[:, 4:] = RNG.normal(size=changed[:, 4:].shape)
    a, b = (net.kernel_fn(x, X2, "ntk") for x in (X1, changed))
    assert_close(a[:, :, :4, :4], b[:, :, :4, :4], "float64")
    assert np.abs(a - b).max() > 0.1


def test_masked_places_hold_nothing():
    net = stax.serial(BEFORE, stax.LongConv(V), stax.Dense(4), stax.GlobalAvgPool())
    padded = [np.pad(x, ((0, 0), (0, 2), (0, 0)), constant_values=9.0) for x in (X1, X2)]
    plain = net.kernel_fn(X1, X2, ("nngp", "ntk"))
    masked = net.kernel_fn(*padded, ("nngp", "ntk"), mask_constant=9.0)
    assert_close(masked.nngp, plain.nngp, "float64")
    assert_close(masked.ntk, plain.ntk, "float64")


def test_one_side_and_tiles():
    net = stax.serial(BEFORE, stax.LongConv(tap_covariance=R), stax.Dense(4), stax.GlobalAvgPool())
    alone = net.kernel_fn(X1, None, ("nngp", "ntk"))
    tiled = net.kernel_fn(X1, None, ("nngp", "ntk"), tile=2)
    both = net.kernel_fn(X1, X1.copy(), ("nngp", "ntk"), tile=2)
    other = ~np.eye(len(X1), dtype=bool)  # a pair (x, x) is a closed form in `alone`
    for name in ("nngp", "ntk"):
        assert_close(getattr(tiled, name), getattr(alone, name), "float64")
        assert_close(getattr(both, name)[other], getattr(alone, name)[other], "float64")
    assert np.linalg.eigvalsh(alone.ntk)[0] > 0


NETWORKS = {
    "variance": (X1, X2, {"tap_variance": V, "operator": long_conv}),
    "covariance": (X1, X2, {"tap_covariance": R, "operator": long_conv}),
    "both sides": (X1, X2, {"tap_covariance": R, "causal": False, "operator": long_conv}),
    "images": (Y1, Y2, CASES["images, both sides"][2]),
}


@pytest.mark.parametrize("depth", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", NETWORKS)
def test_finite_networks_approach_it(case, depth):
    x1, x2, options = NETWORKS[case]
    width = 64
    block = (stax.LongConv(**options), stax.Dense(width, 1.2, 0.1), stax.Relu())
    net = stax.serial(stax.Dense(width, 1.3, 0.2), *block * depth, stax.Dense(width))
    assert_network(net, x1, x2, width, count=40)


def test_a_models_own_filter():
    """(init, apply): independent taps of unit variance through a fixed map, as a covariance."""

    def init(rng, channels, length):
        return jax.random.normal(rng, (channels, 3))

    def apply(params):
        return params @ ROOT.T

    own = stax.LongConv(tap_covariance=R, taps=(init, apply), operator=long_conv)
    assert_network(stax.serial(stax.Dense(64), own, stax.Dense(64)), X1, X2, 64, count=40)
    wrong = stax.LongConv(tap_covariance=R, taps=(init, lambda p: jnp.zeros((4, 9))))
    params = wrong.init_fn(jax.random.key(0), X1.shape)[1]
    with pytest.raises(ValueError, match="taps gave"):
        wrong.apply_fn(params, jnp.asarray(X1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "are both None"),
        ({"tap_variance": V, "tap_covariance": R}, "not the diagonal of tap_covariance"),
        ({"tap_variance": [1.0, -0.1]}, "tap_variance must be variances >= 0"),
        ({"tap_variance": [1.0, np.nan]}, "tap_variance must be finite"),
        ({"tap_variance": 1.0}, "tap_variance must be an array"),
        ({"tap_variance": np.ones(4), "causal": False}, "odd number of lags"),
        ({"tap_covariance": np.ones((2, 3))}, "tap_covariance must be square"),
        ({"tap_covariance": [[1.0, 0.5], [0.4, 1.0]]}, "tap_covariance must be symmetric"),
        ({"tap_covariance": [[1.0, 2.0], [2.0, 1.0]]}, "positive semidefinite"),
        ({"tap_variance": V, "tap_ntk": [-1.0]}, "tap_ntk must be variances"),
    ],
)
def test_bad_moments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        stax.LongConv(**options)


def test_inputs_that_do_not_fit():
    with pytest.raises(ValueError, match="of 1 spatial axes; the inputs have 2"):
        stax.LongConv(V).kernel_fn(Y1)
    with pytest.raises(ValueError, match="one spatial axis where it has"):
        stax.LongConv(np.ones((2, 2)), operator=long_conv).kernel_fn(Y1)
    with pytest.raises(ValueError, match="needs inputs with a spatial axis"):
        stax.LongConv(V).kernel_fn(X1[:, 0])
    with pytest.raises(NotImplementedError, match="needs Gaussian inputs"):
        stax.serial(stax.Dense(4), stax.LongConv(V), stax.Relu()).kernel_fn(X1)
    with pytest.raises(ValueError, match="must keep the shape"):
        stax.LongConv(lambda s: 1.0).kernel_fn(X1)
    narrow = BEFORE.kernel_fn(X1, diagonal_spatial=True)
    with pytest.raises(ValueError, match="needs covariances of all pairs"):
        stax.LongConv(tap_covariance=R).kernel_fn(narrow)
