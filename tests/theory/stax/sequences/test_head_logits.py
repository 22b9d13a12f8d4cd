"""Attention whose heads keep few key channels: autodiff, many channels, finite networks."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from farwide.models import (
    NeighborhoodAttention1D,
    NeighborhoodAttention2D,
    axial_rotary,
)
from kernels_pallas import neighborhood_attention
from tests.numerics import assert_close, relative_l2
from tests.theory.stax.sampling import assert_network
from theory import stax
from theory.stax import head_logits, logit_draws

RNG = np.random.default_rng(4)
X1, X2 = RNG.normal(size=(2, 5, 4)), RNG.normal(size=(2, 5, 4))
Y1, Y2 = RNG.normal(size=(2, 2, 3, 4)), RNG.normal(size=(1, 2, 3, 4))
BEFORE = stax.serial(stax.Dense(8, 1.3, 0.2), stax.Relu())
HEADS = {"linear_scaling": False, "W_key_std": 1.5, "b_std": 0.3}


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield


def kernels(x1, x2, *layers):
    return stax.serial(BEFORE, *layers).kernel_fn(x1, x2, ("nngp", "ntk"))


@pytest.mark.parametrize("turn", [None, axial_rotary])
@pytest.mark.parametrize("space", [(5,), (2, 3)])
def test_one_draw_against_derivatives_of_the_weights(space, turn):
    """The sums of the file's head, with dA / dq and dA / dk by autodiff."""
    places, d, std = int(np.prod(space)), 4, 1.7
    roots = RNG.normal(size=(2, 1, places, 2 * places))
    k, theta = RNG.normal(size=(2, places, places))
    seen = np.tril(np.ones((places, places), bool))
    given = logit_draws.Given(
        False, jnp.asarray(k)[None], jnp.asarray(theta)[None],
        (jnp.asarray(roots[0]), jnp.asarray(roots[1])), (jnp.asarray(~seen),) * 2,
    )  # fmt: skip
    noise = jnp.asarray(RNG.normal(size=(2 * places, 2, d)))
    turn = turn and partial(turn, base=20.0)
    nngp, ntk = head_logits.draw(given, noise, std, space, turn)

    def weights(q, key):
        if turn is not None:
            q, key = (turn(z.reshape(1, *space, 1, d)).reshape(places, d) for z in (q, key))
        logits = jnp.where(seen, std * (q @ key.T) / d**0.5, -jnp.inf)
        return jax.nn.softmax(logits, -1)

    parts = [jnp.einsum("ps,szd->zpd", jnp.asarray(root[0]), noise) for root in roots]
    (a, b) = (weights(*part) for part in parts)
    (left, right) = (jax.jacobian(weights, (0, 1))(*part) for part in parts)
    expected = a @ theta @ b.T + 2 * a @ k @ b.T
    for one, other in zip(left, right, strict=True):  # of queries, then of keys
        expected += jnp.einsum("prui,rs,qsvi,uv->pq", one, k, other, k + theta)
    assert_close(nngp[0], a @ k @ b.T, "float64")
    assert_close(ntk[0], expected, "float64")


@pytest.mark.slow
def test_many_channels_are_gaussian_logits():
    def net(head_dim, samples):
        def of_seed(seed):
            options = {**HEADS, "W_key_std": 4.0, "head_dim": head_dim, "samples": samples}
            return stax.serial(BEFORE, stax.NeighborhoodAttention(5, seed=seed, **options))

        return stax.seed_average(of_seed, X1, X2, ("nngp", "ntk"), seeds=4)

    few, many, limit = net(1, 1000), net(24, 300), net(None, 1000)
    for name in ("nngp", "ntk"):
        values = [np.asarray(getattr(each.mean, name)) for each in (few, many, limit)]
        errors = [np.asarray(getattr(each.error, name)) for each in (many, limit)]
        noise = np.sqrt(np.mean(errors[0] ** 2 + errors[1] ** 2))
        far, close = (np.sqrt(np.mean((v - values[2]) ** 2)) for v in values[:2])
        assert close < 2 * noise
        assert far > 4 * noise


def near(width, samples, **options):
    options = {"n_heads": 48, "head_dim": 2, "samples": samples, **HEADS, **options}
    layer = stax.NeighborhoodAttention(3, n_chan_val=2, **options)
    return stax.serial(stax.Dense(width, 1.3, 0.2), stax.Relu(), layer, stax.Dense(width))


@pytest.mark.parametrize(
    "options",
    [
        {"rotary": axial_rotary, "operator": neighborhood_attention},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"causal": True, "rotary": axial_rotary}, marks=pytest.mark.slow),
    ],
)
def test_finite_networks_approach_it(options):
    assert_network(near(64, 1500, **options), X1, X2, 64, count=40)


@pytest.mark.parametrize(
    ("x", "linen"), [(X1, NeighborhoodAttention1D), (Y1, NeighborhoodAttention2D)]
)
def test_the_finite_layer_is_that_of_the_models(x, linen):
    heads, head_dim, channels = 3, 4, x.shape[-1]
    layer = stax.NeighborhoodAttention(
        2, n_chan_val=head_dim, n_heads=heads, head_dim=head_dim, rotary=axial_rotary,
        linear_scaling=False,
    )  # fmt: skip
    query, key, value, out, _ = params = layer.init_fn(jax.random.key(0), x.shape)[1]
    parts = [w.transpose(1, 0, 2).reshape(channels, -1) for w in (query, key, value)]
    kernels = {
        "qkv": {"kernel": jnp.concatenate(parts, 1) / channels**0.5},
        "out": {
            "kernel": out.reshape(-1, channels) / (heads * head_dim) ** 0.5,
            "bias": jnp.zeros(channels),
        },
    }
    module = linen(
        channels, heads, 2, head_dim=head_dim, qkv_bias=False, rotary=True,
        param_dtype=jnp.float64,
    )  # fmt: skip
    expected = module.apply({"params": kernels}, jnp.asarray(x))
    assert_close(layer.apply_fn(params, x), expected, "float64")


@pytest.mark.slow
def test_finite_networks_on_planes():
    layer = stax.NeighborhoodAttention(
        2, n_heads=48, n_chan_val=2, head_dim=4, samples=1500, rotary=axial_rotary, **HEADS
    )
    net = stax.serial(stax.Dense(64, 1.3, 0.2), stax.Relu(), layer, stax.Dense(64))
    assert_network(net, Y1, Y2, 64, count=40)


def test_examples_can_be_swapped_and_tiled():
    layer = stax.NeighborhoodAttention(2, head_dim=4, rotary=axial_rotary, samples=3, **HEADS)
    one, other = kernels(Y1, Y2, layer), kernels(Y2, Y1, layer)
    back = np.transpose(other.ntk, (1, 0, 3, 2, 5, 4))
    assert relative_l2(one.ntk, back) < 1e-6  # root of a rounding
    pooled = stax.serial(BEFORE, layer, stax.GlobalAvgPool())
    whole = pooled.kernel_fn(Y1, None, ("nngp", "ntk"))
    tiled = pooled.kernel_fn(Y1, None, ("nngp", "ntk"), tile=1)
    assert_close(tiled.nngp, whole.nngp, "float64")
    assert_close(tiled.ntk, whole.ntk, "float64")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head_dim": 2}, "head_dim is 2; accepted with linear_scaling=False"),
        ({"head_dim": 2, **HEADS, "attention_mechanism": "IDENTITY"}, "head_dim is 2"),
        ({"head_dim": 2, **HEADS, "n_chan_key": 3}, "head_dim is 2"),
        ({"head_dim": 0, **HEADS}, "head_dim must be a positive int"),
        ({"rotary": axial_rotary, **HEADS}, "rotary is given and head_dim None"),
    ],
)
def test_bad_heads(options, message):
    with pytest.raises(ValueError, match=message):
        stax.NeighborhoodAttention(3, **options)


@pytest.mark.parametrize("decay", [None, lambda distance: jnp.exp(-distance)])
def test_added_positions(decay):
    layer = stax.AddPositions(0.7, p_norm=1, decay_fn=decay)
    before = BEFORE.kernel_fn(Y1, Y2)
    after = stax.serial(BEFORE, layer).kernel_fn(Y1, Y2, ("nngp", "ntk"))
    (p, q), (u, v) = np.indices((2, 2)), np.indices((3, 3))
    distance = np.abs(p - q)[:, :, None, None] + np.abs(u - v)
    added = 0.49 * (np.exp(-distance) if decay else distance == 0)
    assert_close(after.nngp, before.nngp + added, "float64")
    assert_close(after.ntk, before.ntk + added, "float64")
    net = stax.serial(stax.Dense(96), layer, stax.Relu(), stax.Flatten(), stax.Dense(96))
    assert_network(net, Y1, Y2, 96, count=40)


def test_bad_positions():
    with pytest.raises(ValueError, match="std must be positive, got 0"):
        stax.AddPositions(0)
    with pytest.raises(ValueError, match="needs inputs with a spatial axis"):
        stax.AddPositions().kernel_fn(X1[:, 0])
