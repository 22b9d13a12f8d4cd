"""Neighborhood attention's limits: against loops, global attention, and finite networks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import neighborhood_attention
from tests.numerics import assert_close
from tests.theory.stax.sampling import assert_limit, assert_network, draws, flat
from tests.theory.stax.sequences.sums import attention_weights, windows
from theory import stax
from theory.stax.neighbors import neighbors

RNG = np.random.default_rng(1)
X1, X2 = RNG.normal(size=(3, 7, 4)), RNG.normal(size=(2, 7, 4))
Y1, Y2 = RNG.normal(size=(2, 3, 4, 3)), RNG.normal(size=(2, 3, 4, 3))
BEFORE = stax.serial(stax.Dense(8, 1.3, 0.2), stax.Relu())
STDS = {"W_value_std": 1.2, "W_out_std": 0.9, "W_key_std": 1.3, "W_query_std": 1.1, "b_std": 0.3}
O2, Q, B2 = (1.2 * 0.9) ** 2, 1.3 * 1.1, 0.3**2
EQUAL = 1e-10


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield


CASES = {
    "a window": (X1, X2, 3, 1, False),
    "even": (X1, X2, 4, 1, False),
    "dilated": (X1, X2, 3, 2, False),
    "causal": (X1, X2, 3, 1, True),
    "causal and dilated": (X1, X2, 2, 3, True),
    "causal, longer than the inputs": (X1, X2, 9, 1, True),
    "images": (Y1, Y2, 3, 1, False),
    "images, an axis each": (Y1, Y2, (3, 2), (1, 2), (False, True)),
    "itself alone": (X1, X2, 1, 1, False),
}


def rows_of(x, window, dilation, causal):
    rank = x.ndim - 2
    settings = [v if isinstance(v, tuple) else (v,) * rank for v in (window, dilation, causal)]
    return windows(x.shape[1:-1], *settings)


def kernels(x1, x2, layer):
    return stax.serial(BEFORE, layer).kernel_fn(x1, x2, ("nngp", "ntk"))


@pytest.mark.parametrize("case", CASES)
def test_linear_scaling_is_attention_over_rows_and_columns(case):
    x1, x2, *settings = CASES[case]
    rows, before = rows_of(x1, *settings), BEFORE.kernel_fn(x1, x2)
    got = kernels(x1, x2, stax.NeighborhoodAttention(*settings, **STDS))
    k, theta = flat(before.nngp), flat(before.ntk)
    a, b = (
        [attention_weights(own, rows, Q) for own in flat(side, 1)]
        for side in (before.cov1, before.cov2)
    )
    for i, j in np.ndindex(*k.shape[:2]):
        nngp = O2 * a[i] @ k[i, j] @ b[j].T
        assert_close(flat(got.nngp)[i, j], nngp + B2, "float64")
        expected = O2 * a[i] @ theta[i, j] @ b[j].T + 2 * nngp + B2
        assert_close(flat(got.ntk)[i, j], expected, "float64")


@pytest.mark.parametrize("case", CASES)
def test_square_root_scaling_sums_over_pairs_of_windows(case):
    x1, x2, *settings = CASES[case]
    rows, before = rows_of(x1, *settings), BEFORE.kernel_fn(x1, x2)
    layer = stax.NeighborhoodAttention(
        *settings, **STDS, linear_scaling=False, attention_mechanism="IDENTITY"
    )
    got = kernels(x1, x2, layer)
    for i, j in np.ndindex(len(x1), len(x2)):
        k, theta = flat(before.nngp)[i, j], flat(before.ntk)[i, j]
        nngp, ntk = np.zeros_like(k), np.zeros_like(k)
        for p, q in np.ndindex(*k.shape):
            pairs = np.ix_(rows[p], rows[q])
            overlap, both = (k[pairs] ** 2).sum(), (k[pairs] * theta[pairs]).sum()
            nngp[p, q] = O2 * Q**2 * k[p, q] * overlap
            ntk[p, q] = O2 * Q**2 * (2 * k[p, q] * both + theta[p, q] * overlap) + 4 * nngp[p, q]
        assert_close(flat(got.nngp)[i, j], nngp + B2, "float64")
        assert_close(flat(got.ntk)[i, j], ntk + B2, "float64")


@pytest.mark.parametrize(
    ("linear", "mechanism"), [(True, "SOFTMAX"), (True, "RELU"), (True, "ABS"), (False, "IDENTITY")]
)
@pytest.mark.parametrize(("x1", "x2", "window"), [(X1, X2, 7), (Y1, Y2, (3, 4))])
def test_the_full_window_is_global_attention(linear, mechanism, x1, x2, window):
    options = {**STDS, "linear_scaling": linear, "attention_mechanism": mechanism}
    ours = kernels(x1, x2, stax.NeighborhoodAttention(window, **options))
    other = kernels(x1, x2, stax.GlobalSelfAttention(8, 8, 8, 4, **options))
    for name in ("nngp", "ntk"):
        scale = np.abs(getattr(other, name)).max()
        assert np.abs(getattr(ours, name) - getattr(other, name)).max() < EQUAL * scale


@pytest.mark.parametrize("case", ["dilated", "causal", "images, an axis each"])
def test_an_operator_computes_the_same(case):
    x1, x2, window, dilation, causal = CASES[case]
    plain, fast = (
        stax.NeighborhoodAttention(window, dilation, causal, **STDS, operator=operator)
        for operator in (None, neighborhood_attention)
    )
    a, b = (kernels(x1, x2, layer) for layer in (plain, fast))
    assert_close(a.nngp, b.nngp, "float64")
    assert_close(a.ntk, b.ntk, "float64")
    params = plain.init_fn(jax.random.key(0), x1.shape)[1]
    outputs = [layer.apply_fn(params, jnp.asarray(x1)) for layer in (plain, fast)]
    assert_close(outputs[0], outputs[1], "float64")


def test_neighborhoods_are_those_of_the_operator():
    """One query at a time: what of the values reaches the outputs."""
    for space, window, dilation, causal in (
        ((9,), 3, 2, False), ((9,), 4, 2, True), ((5, 6), (2, 3), (2, 1), (False, True)),
    ):  # fmt: skip
        places = int(np.prod(space))
        values = np.eye(places).reshape(1, *space, 1, places)
        zeros = np.zeros_like(values)
        out = neighborhood_attention(
            jnp.asarray(zeros), jnp.asarray(zeros), jnp.asarray(values), window=window,
            dilation=dilation, causal=causal,
        )  # fmt: skip
        seen = np.asarray(out).reshape(places, places) > 0
        assert np.array_equal(seen, neighbors(space, window, dilation, causal).seen)


@pytest.mark.parametrize(("linear", "mechanism"), [(True, "SOFTMAX"), (False, "IDENTITY")])
def test_padding_changes_nothing(linear, mechanism):
    layer = stax.NeighborhoodAttention(
        3, 1, True, **STDS, linear_scaling=linear, attention_mechanism=mechanism
    )
    plain = kernels(X1, X2, layer)
    padded = [np.pad(x, ((0, 0), (0, 2), (0, 0)), constant_values=9.0) for x in (X1, X2)]
    masked = stax.serial(BEFORE, layer).kernel_fn(*padded, ("nngp", "ntk"), mask_constant=9.0)
    for name in ("nngp", "ntk"):
        long = np.array(getattr(masked, name))
        assert_close(long[:, :, :7, :7], getattr(plain, name), "float64")
        long[:, :, :7, :7] = 0
        assert not long.any()


def test_masked_places_are_no_keys_of_random_logits():
    layer = stax.NeighborhoodAttention(3, linear_scaling=False, samples=64)
    hidden, other = X1.copy(), X1.copy()
    hidden[:, 4] = 9.0
    net = stax.serial(BEFORE, layer)
    a = net.kernel_fn(hidden, X2, ("nngp", "ntk"), mask_constant=9.0)
    assert not np.asarray(a.nngp)[:, :, 4].any()
    assert np.isfinite(a.ntk).all()
    b = net.kernel_fn(other, X2, "nngp")
    assert np.abs(a.nngp - b)[:, :, [3, 5]].max() > 0.01


def test_one_side_and_tiles():
    for options in ({}, {"linear_scaling": False, "samples": 16}):
        net = stax.serial(BEFORE, stax.NeighborhoodAttention(3, **options), stax.GlobalAvgPool())
        alone = net.kernel_fn(X1, None, ("nngp", "ntk"))
        tiled = net.kernel_fn(X1, None, ("nngp", "ntk"), tile=2)
        assert_close(alone.nngp, alone.nngp.T, "float64")
        assert_close(tiled.nngp, alone.nngp, "float64")
        assert_close(tiled.ntk, alone.ntk, "float64")


def derivatives(a, b, k, weighted):
    """sum over logits (r of p, s of q) of dA_r dA'_s, their values k, times weighted[r, s]."""
    out = np.zeros_like(k)
    for p, q in np.ndindex(*k.shape):
        j = np.diag(a[p]) - np.outer(a[p], a[p])
        other = np.diag(b[q]) - np.outer(b[q], b[q])
        out[p, q] = ((j @ k @ other) * weighted).sum()
    return out


def test_the_derivative_of_random_logits():
    """`_both` of one draw, against the softmax's Jacobian written out."""
    from theory.stax.random_logits import _both

    k, theta = RNG.normal(size=(2, 5, 5))
    a, b = (np.exp(g) / np.exp(g).sum(1, keepdims=True) for g in RNG.normal(size=(2, 5, 5)))
    m, ntk = _both(*(jnp.asarray(v) for v in (a, b, k, theta)), 1.7)
    own = derivatives(a, b, k, k)
    logits = (2 * k + theta) * own + k * derivatives(a, b, k, theta)
    assert_close(m, a @ k @ b.T, "float64")
    assert_close(ntk, a @ theta @ b.T + 2 * a @ k @ b.T + 1.7**2 * logits, "float64")


def test_random_logits_without_a_deviation_are_an_average():
    """Q = 0: A is 1 / |N|, whatever the draw."""
    layer = stax.NeighborhoodAttention(3, linear_scaling=False, W_key_std=0.0, samples=3)
    flat_weights = stax.NeighborhoodAttention(3, W_key_std=0.0)
    a, b = (kernels(X1, X2, each) for each in (layer, flat_weights))
    assert_close(a.nngp, b.nngp, "float64")
    assert_close(a.ntk, b.ntk, "float64")


FINITE = {
    "linear": {"operator": neighborhood_attention},
    "causal": {"causal": True, "dilation": 2, "operator": neighborhood_attention},
    "identity": {"linear_scaling": False, "attention_mechanism": "IDENTITY", "n_heads": 24},
    "softmax": {"linear_scaling": False, "n_heads": 24, "samples": 1500,
                "operator": neighborhood_attention},
}  # fmt: skip


SLOW = [pytest.param(case, marks=pytest.mark.slow) for case in ("causal", "identity", "softmax")]


@pytest.mark.parametrize("case", ["linear", *SLOW])
def test_finite_networks_approach_it(case):
    width = 64
    layer = stax.NeighborhoodAttention(3, **STDS, **FINITE[case])
    net = stax.serial(stax.Dense(width, 1.3, 0.2), stax.Relu(), layer, stax.Dense(width))
    assert_network(net, X1, X2, width, count=40)


@pytest.mark.slow
def test_the_rule_finds_a_wrong_limit():
    width = 64
    before = stax.serial(stax.Dense(width, 1.3, 0.2), stax.Relu())
    right = stax.serial(before, stax.NeighborhoodAttention(3, **STDS), stax.Dense(width))
    wrong = stax.serial(before, stax.NeighborhoodAttention(5, **STDS), stax.Dense(width))
    _, ntk = draws(right, X1, X2, 40)
    with pytest.raises(AssertionError, match="deviations"):
        assert_limit(ntk, wrong.kernel_fn(X1, X2, "ntk"), width)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0,), {}, "window must be a positive int"),
        ((3, 0), {}, "dilation must be a positive int"),
        ((8,), {}, "window is 8; accepted with 7 places"),
        ((4, 2), {}, "at most 3"),
        (((3, 3),), {}, "one for each of 1 axes"),
        ((3,), {"attention_mechanism": "TANH"}, "attention_mechanism must be one of"),
        ((3,), {"n_heads": 0}, "n_heads must be a positive int"),
        ((3,), {"samples": 0}, "samples must be a positive int"),
    ],
)
def test_bad_arguments_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        stax.NeighborhoodAttention(*arguments, **options).kernel_fn(X1)


def test_what_has_no_limit():
    with pytest.raises(NotImplementedError, match='"IDENTITY" and "SOFTMAX"'):
        kernels(
            X1,
            X2,
            stax.NeighborhoodAttention(3, linear_scaling=False, attention_mechanism="RELU"),
        )
    with pytest.raises(NotImplementedError, match="softmax attention"):
        stax.NeighborhoodAttention(3, attention_mechanism="ABS", operator=neighborhood_attention)
    with pytest.raises(ValueError, match="needs inputs with a spatial axis"):
        stax.NeighborhoodAttention(3).kernel_fn(X1[:, 0])
