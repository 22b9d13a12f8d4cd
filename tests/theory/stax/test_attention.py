"""Global self-attention against its formulas in NumPy, and against finite networks."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.numerics import assert_close
from tests.theory.stax.sampling import assert_network, flat
from theory import stax
from theory.stax.positions import Positions

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(2, 2, 2, 5)), RNG.normal(size=(3, 2, 2, 5))
B = 0.3


def attention(width=16, heads=4, **options):
    settings = {
        "W_key_std": 1.3,
        "W_query_std": 0.9,
        "W_value_std": 1.1,
        "W_out_std": 1.2,
        "b_std": B,
    }
    return stax.GlobalSelfAttention(width, width, width, heads, **{**settings, **options})


def decay(distance):
    return np.exp(-distance / 2)


def inputs_of(layer):
    """A layer behind a Dense, so that there is an NTK."""
    return stax.serial(stax.Dense(20, 1.2, 0.1), layer)


def expected(before, mechanism, linear, kind, seen_by_values, channels, own):
    """(nngp, ntk) of float64 kernels before the layer, in loops over pairs of examples."""
    places = np.stack(np.meshgrid(np.arange(2), np.arange(2), indexing="ij"), -1).reshape(4, 2)
    distance = ((places[:, None] - places) ** 2).sum(-1).astype(float)
    r = 0.8**2 * decay(distance)
    share, part = {"NONE": (1, 0), "SUM": (1, 1), "CONCAT": (channels, own)}[kind]
    scale = share + part if kind == "CONCAT" else 1

    def embed(k):
        return (share * k + part * r) / scale

    zeta = {
        "SOFTMAX": lambda g: np.exp(g) / np.exp(g).sum(-1, keepdims=True),
        "IDENTITY": lambda g: g,
        "ABS": np.abs,
        "RELU": lambda g: np.maximum(g, 0),
    }[mechanism]
    q2, o2 = (1.3 * 0.9) ** 2, (1.1 * 1.2) ** 2
    k12, t12 = flat(before.nngp), flat(before.ntk)
    k11, k22 = flat(before.cov1, 1), flat(before.cov2, 1)
    nngp, ntk = np.empty_like(k12), np.empty_like(k12)
    for i, j in np.ndindex(*k12.shape[:2]):
        k, t = k12[i, j], t12[i, j]
        value, value_ntk = (embed(k), embed(t)) if seen_by_values else (k, t)
        if linear:
            a, b = (zeta(1.3 * 0.9 * embed(own)) for own in (k11[i], k22[j]))
            nngp[i, j] = o2 * a @ value @ b.T
            ntk[i, j] = o2 * a @ value_ntk @ b.T + 2 * nngp[i, j]
        else:
            k, t = embed(k), embed(t)
            nngp[i, j] = o2 * q2 * k * (k * value).sum()
            both = (t * value + k * value_ntk).sum()
            ntk[i, j] = o2 * q2 * (k * both + t * (k * value).sum()) + 4 * nngp[i, j]
    return nngp + B**2, ntk + B**2


@pytest.mark.parametrize(
    ("mechanism", "linear", "kind", "seen_by_values"),
    [
        pytest.param("SOFTMAX", True, "NONE", False, marks=pytest.mark.slow),
        ("SOFTMAX", True, "CONCAT", True),
        pytest.param("RELU", True, "SUM", False, marks=pytest.mark.slow),
        ("IDENTITY", False, "CONCAT", False),
        pytest.param("ABS", True, "SUM", True, marks=pytest.mark.slow),
        pytest.param("IDENTITY", True, "CONCAT", False, marks=pytest.mark.slow),
        pytest.param("IDENTITY", False, "NONE", False, marks=pytest.mark.slow),
        pytest.param("IDENTITY", False, "SUM", True, marks=pytest.mark.slow),
    ],
)
def test_kernels_follow_the_formulas(mechanism, linear, kind, seen_by_values):
    own = 7 if kind == "CONCAT" else None
    layer = attention(
        attention_mechanism=mechanism, linear_scaling=linear, pos_emb_type=kind,
        val_pos_emb=seen_by_values, pos_emb_decay_fn=decay, n_chan_pos_emb=own, W_pos_emb_std=0.8,
    )  # fmt: skip
    with jax.enable_x64(True):
        before = inputs_of(stax.Identity()).kernel_fn(X1, X2)
        after = inputs_of(layer).kernel_fn(X1, X2)
        again = inputs_of(layer).kernel_fn(before)  # attention in front of the Dense, on a Kernel
        nngp, ntk = expected(before, mechanism, linear, kind, seen_by_values, 20, own)
        assert after.is_gaussian
        assert again.shape1 == after.shape1 == (2, 2, 2, 16)
        assert_close(flat(after.nngp), nngp, "float64")
        assert_close(flat(after.ntk), ntk, "float64")


@pytest.mark.slow
def test_covariances_of_one_side_are_those_of_its_pairs():
    net = inputs_of(attention())
    with jax.enable_x64(True):
        alone = net.kernel_fn(X1, None)
        both = net.kernel_fn(X1, X1.copy())
        at = np.arange(len(X1))
        assert_close(alone.cov1, np.asarray(both.nngp)[at, at], "float64")
        assert_close(alone.nngp, both.nngp, "float64")
        assert_close(alone.ntk, both.ntk, "float64")


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["SOFTMAX", "RELU"])
def test_padding_changes_nothing(mechanism):
    net = inputs_of(attention(attention_mechanism=mechanism, pos_emb_type="SUM", val_pos_emb=True))
    x, y = X1[:, 0], X2[:, 0]
    padded = np.pad(x, ((0, 0), (0, 2), (0, 0)), constant_values=9.0)
    with jax.enable_x64(True):
        plain = net.kernel_fn(x, y, ("nngp", "ntk"))
        wide = np.pad(y, ((0, 0), (0, 2), (0, 0)), constant_values=9.0)
        masked = net.kernel_fn(padded, wide, ("nngp", "ntk"), mask_constant=9.0)
        for short, long in zip(plain, masked, strict=True):
            long = np.array(long)
            assert_close(long[:, :, :2, :2], short, "float64")
            long[:, :, :2, :2] = 0
            assert not long.any()


def test_an_example_that_is_all_padding_gives_zeros():
    x = np.full((1, 3, 5), 9.0)
    kernel = inputs_of(attention()).kernel_fn(x, None, ("nngp", "ntk"), mask_constant=9.0)
    assert not np.asarray(kernel.nngp).any()
    assert not np.asarray(kernel.ntk).any()


def test_finite_padding_changes_nothing():
    layer = attention(pos_emb_type="CONCAT", val_pos_emb=True)
    _, params = layer.init_fn(jax.random.key(0), (2, 3, 5))
    x = RNG.normal(size=(2, 3, 5)).astype(np.float32)
    x[:, 2] = np.nan
    y = layer.apply_fn(params, x, mask_constant=np.nan)
    short = layer.apply_fn((*params[:5], params[5][:, :2]), x[:, :2])
    assert_close(y.masked_value[:, :2], short)
    assert not np.asarray(y.masked_value)[:, 2].any()
    assert np.array_equal(np.asarray(y.mask)[..., 0], [[False, False, True]] * 2)


def test_embeddings_have_the_covariance_of_the_decay():
    layer = stax.GlobalSelfAttention(
        2,
        2,
        2,
        1,
        pos_emb_type="SUM",
        pos_emb_decay_fn=decay,
        val_pos_emb=True,
        n_chan_pos_emb=4000,
    )
    positions = Positions(stax.PositionalEmbedding.SUM, 2, decay, None, 1.0)
    drawn = positions.init(jax.random.key(0), (2, 2), 4000)
    r = np.asarray(positions.apply(drawn, np.zeros((1, 2, 2, 4000), np.float32), None)).reshape(
        4, -1
    )
    truth = flat(positions.covariance((2, 2)), 0)
    deviation = np.sqrt((np.outer(truth.diagonal(), truth.diagonal()) + truth**2) / 4000)
    assert (np.abs(r @ r.T / 4000 - truth) < 5 * deviation).all()
    with pytest.raises(ValueError, match="n_chan_pos_emb must be None or that of the inputs"):
        layer.init_fn(jax.random.key(0), (1, 2, 5))


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ValueError, match="attention_mechanism must be one of 'SOFTMAX'"):
        attention(attention_mechanism="softmax?")
    with pytest.raises(ValueError, match="pos_emb_type must be one of 'NONE'"):
        attention(pos_emb_type="ADD")
    with pytest.raises(ValueError, match="channel_axis must be -1"):
        attention(channel_axis=1)
    with pytest.raises(ValueError, match="n_heads must be a positive int"):
        attention(heads=0)
    with pytest.raises(NotImplementedError, match="no closed form is known"):
        attention(linear_scaling=False).kernel_fn(X1, X2)
    indefinite = attention(pos_emb_type="SUM", pos_emb_decay_fn=lambda d: 1.0 - 3.0 * d)
    params = indefinite.init_fn(jax.random.key(0), X1.shape)[1]
    with pytest.raises(ValueError, match="gives no covariance over places"):
        indefinite.apply_fn(params, X1)


WIDTH = 48
NETWORK = stax.serial(stax.Dense(WIDTH, 1.3, 0.2), stax.Relu())
SMALL1, SMALL2 = (RNG.normal(size=(2, 3, 6)).astype(np.float32) for _ in range(2))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param(
            {"linear_scaling": False, "attention_mechanism": "IDENTITY"}, marks=pytest.mark.slow
        ),
        pytest.param(
            {"pos_emb_type": "CONCAT", "pos_emb_decay_fn": decay, "val_pos_emb": True},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"pos_emb_type": "SUM", "linear_scaling": False, "attention_mechanism": "IDENTITY"},
            marks=pytest.mark.slow,
        ),
        pytest.param({"attention_mechanism": "RELU", "mask_constant": 9.0}, marks=pytest.mark.slow),
    ],
)
def test_finite_networks_approach_the_limit(options):
    options = dict(options)
    mask_constant = options.pop("mask_constant", None)
    x1 = SMALL1.copy()
    if mask_constant is not None:
        x1[0, 1:] = mask_constant
    net = stax.serial(NETWORK, attention(WIDTH, WIDTH // 4, **options))
    assert_network(net, x1, SMALL2, WIDTH, 100, mask_constant=mask_constant)
