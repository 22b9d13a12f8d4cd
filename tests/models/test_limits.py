"""Limits of the models, against the models themselves at many initial parameters.

The NTK in the NTK parametrisation, from a Linen model: every leaf's gradient times the deviation of
its initial values, leaves that start at a constant left out.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest

from farwide.models import (
    S4D,
    Attention,
    Cnn,
    Conv,
    Gated,
    Hyena,
    ImageConfig,
    LongConvLMConfig,
    MLPConfig,
    SequenceConfig,
    SGConv,
    Squash,
    WideAttention,
    WideCnn,
    WideConfig,
    WideFilter,
    WideLongConv,
    WideMlp,
    image_model,
    mixer,
    mlp,
    sequence_model,
    wide_model,
)
from tests.numerics import assert_close

RNG = np.random.default_rng(0)
LENGTH = 8
X = RNG.normal(size=(3, LENGTH, 4)).astype(np.float32)
ERROR = 5.0  # standard errors of the mean over draws
BIAS = 6.0  # over the width, of the largest entry: what a finite width leaves
CONSTANT = ("bias", "scale", "log_dt", "log_negative_real", "imag", "frequency")


def deviation(path, leaf):
    """Of a Linen leaf's initial values; None where it starts at a constant."""
    name = path[-1].key
    if name == "kernel":
        return float(leaf.size / leaf.shape[-1]) ** -0.5
    known = {"short_taps": 0.5, "positions": 0.5, "c": 0.5**0.5, "embedding": 1.0, "skip": None}
    return None if name in CONSTANT else known[name]


def draws(model, x, count, deviations):
    """(count, outputs, outputs): NNGP, and NTK of the first logit, over examples and positions.

    `deviations` None: no NTK.
    """

    def logit(params):
        return model.apply(params, x)[..., 0].reshape(-1)

    @jax.jit
    def one(key):
        params = model.init(key)
        every = model.apply(params, x)
        flat = every.reshape(-1, every.shape[-1])
        nngp, ntk = flat @ flat.T / flat.shape[-1], 0.0
        if deviations is None:
            return nngp, nngp
        rows = jax.jacrev(logit)(params)
        for path, leaf in jax.tree_util.tree_leaves_with_path(rows):
            scale = deviations(path, leaf[0])
            if scale is not None:
                flat_rows = leaf.reshape(leaf.shape[0], -1) * scale
                ntk = ntk + flat_rows @ flat_rows.T
        return nngp, ntk

    parts = [one(key) for key in jax.random.split(jax.random.key(0), count)]
    return tuple(np.stack([np.asarray(part[i]) for part in parts]) for i in range(2))


def assert_mean(samples, limit, width):
    """Within errors of the mean and what a width leaves."""
    limit = np.asarray(limit)
    if limit.ndim == 4:  # (N, N, positions, positions)
        limit = limit.transpose(0, 2, 1, 3).reshape(samples.shape[1:])
    mean, error = samples.mean(0), samples.std(0, ddof=1) / len(samples) ** 0.5
    excess = np.abs(mean - limit) - ERROR * error
    largest = np.abs(limit).max()
    assert excess.max() < BIAS / width * largest, excess.max() / largest
    assert error.max() < 0.2 * largest  # it could fail


def marked(cases, quick):
    return [pytest.param(n, marks=() if n in quick else pytest.mark.slow) for n in cases]


def config(kind, **options):
    base = {"features": 4, "outputs": 32, "width": 128, "depth": 1, "length": LENGTH}
    return SequenceConfig(kind, **{**base, "readout": "last", **options})


SEQUENCES = {
    "cnn": config(Cnn(3)),
    "cnn, dilated, looking ahead": config(Cnn(3, 2), causal=False, readout="mean"),
    "hyena": config(Gated(Hyena(frequency=1.0)), mlp_ratio=0),
    "h3": config(Gated(S4D(states=8), short_taps=4, short="keys")),
    "h3, looking ahead": config(Gated(S4D(states=8)), causal=False, readout="mean"),
    "gated sgconv, order 3": config(Gated(SGConv(4), order=3), readout="positions"),
    "gated squash": config(Gated(Squash(0.0, scale=0.3, init="normal")), readout="mean"),
    "two mixers": config((Cnn(3), Gated(S4D(states=8))), depth=2),
    "attention": config(Attention(heads=64)),
    "attention, looking ahead": config(Attention(heads=32), causal=False, readout="mean", depth=2),
    "neighborhood, dilated": config(Attention(heads=64, window=3, dilation=2), readout="positions"),
}
NTKS = (
    "cnn", "cnn, dilated, looking ahead", "h3", "h3, looking ahead", "two mixers", "attention",
    "attention, looking ahead", "neighborhood, dilated",
)  # fmt: skip


@pytest.mark.parametrize("name", marked(SEQUENCES, ("cnn", "h3", "attention")))
def test_sequence_models(name):
    settings = SEQUENCES[name]
    limit = settings.limit(samples=500)(X, None, ("nngp", "ntk"))
    deviations = deviation if name in NTKS else None
    nngp, ntk = draws(sequence_model(settings), X, 40, deviations)
    assert_mean(nngp, limit.nngp, settings.width)
    if deviations is not None:
        assert_mean(ntk, limit.ntk, settings.width)


@pytest.mark.slow
def test_a_language_model_takes_tokens_one_hot():
    settings = SequenceConfig(
        Gated(S4D(states=8)), width=128, depth=1, length=LENGTH, outputs=11, vocabulary=11
    )
    tokens = RNG.integers(0, 11, (2, LENGTH))
    limit = settings.limit()(np.eye(11, dtype=np.float32)[tokens], None, ("nngp", "ntk"))
    nngp, ntk = draws(sequence_model(settings), tokens, 60, deviation)
    assert_mean(nngp, limit.nngp, 128)
    assert_mean(ntk, limit.ntk, 128)


@pytest.mark.slow
def test_the_published_block_is_approximate():
    """A limit that takes products for Gaussians: of the right size, and refused without asking."""
    settings = config(Conv(SGConv(4)), readout="mean")
    with pytest.raises(NotImplementedError, match="approximate=True"):
        settings.limit()
    limit = settings.limit(approximate=True, samples=400)(X, None, "nngp")
    nngp, _ = draws(sequence_model(settings), X, 100, None)
    far = np.linalg.norm(nngp.mean(0) - limit) / np.linalg.norm(limit)
    assert far < 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (config(mixer("mlp"), causal=False), "TokenMlp has no limit here"),
        (config(mixer("butterfly"), causal=False), "learned transform"),
        (LongConvLMConfig(16, 1, 8).sequence, "tied_head"),
    ],
)
def test_models_without_a_limit_say_why(settings, message):
    with pytest.raises(NotImplementedError, match=message):
        settings.limit(approximate=True)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_perceptrons(activation):
    settings = MLPConfig(256, 2, LENGTH * 4, 32, activation)
    gain = 1.0 if activation == "tanh" else 2**0.5

    def deviations(path, leaf):
        own = deviation(path, leaf)
        return own if own is None or path[0].key == "readout" else gain * own

    limit = settings.limit()(X, None, ("nngp", "ntk"))
    nngp, ntk = draws(mlp(settings), X, 40, deviations)
    assert_mean(nngp, limit.nngp, 256)
    assert_mean(ntk, limit.ntk, 256)


WIDE = {
    "mlp": (WideMlp(), {}),
    "cnn": (WideCnn(3), {}),
    "long convolution": (WideLongConv(), {}),
    "long convolution, causal": (WideLongConv(0.5), {"causal": True, "readout": "last"}),
    "s4d": (WideFilter(S4D(states=8)), {"readout": "last"}),
    "sgconv": (WideFilter(SGConv(4)), {}),
    "hyena": (WideFilter(Hyena(frequency=1.0)), {}),
    "squash": (WideFilter(Squash(0.1, scale=0.3, init="normal")), {}),
    "neighborhood": (WideAttention(3, logit_std=2.0), {"readout": "flatten"}),
    "attention": (WideAttention(logit_std=2.0), {"residual": True}),
    "residual": (WideLongConv(), {"residual": True, "readout": "flatten"}),
}


@pytest.mark.parametrize("name", marked(WIDE, ("long convolution, causal", "s4d", "neighborhood")))
def test_wide_models(name):
    operator, options = WIDE[name]
    settings = WideConfig(operator, LENGTH, 4, 32, width=128, depth=2, **options)
    limit = settings.limit()(X, None, ("nngp", "ntk"))
    nngp, ntk = draws(wide_model(settings), X, 40, lambda path, leaf: 1.0)
    assert_mean(nngp, limit.nngp, 128)
    if name != "hyena":  # E[1/|k|^2] has heavy tails over draws: tests/theory/taps has its T
        assert_mean(ntk, limit.ntk, 128)


IMAGES = {
    "neighborhood": ((8, 8), {"window": 2}),
    "neighborhood, dilated, positions": ((8, 8), {"dilation": (1, 2), "window": 2, "depth": 2,
                                                  "positions": True}),
    "attention": ((8, 6), {"mixer": "attention"}),
    "cnn": ((8, 6), {"mixer": "cnn", "window": 3}),
    "cnn, even, positions": ((8, 6), {"mixer": "cnn", "window": 4, "depth": 2,
                                      "positions": True}),
    "volumes": ((4, 4, 4), {"mixer": "neighborhood", "window": 2}),
    "volumes, cnn": ((4, 4, 4), {"mixer": "cnn", "window": 2}),
}  # fmt: skip


@pytest.mark.parametrize("name", marked(IMAGES, ("neighborhood", "cnn")))
def test_image_models(name):
    shape, options = IMAGES[name]
    base = {"channels": 2, "outputs": 32, "width": 96, "depth": 1, "heads": 24}
    if len(shape) == 3:
        base["heads"] = 16
    settings = ImageConfig(shape, **{**base, **options})
    x = RNG.normal(size=(3, *shape, 2)).astype(np.float32)
    limit = settings.limit(samples=500)(x, None, ("nngp", "ntk"))
    nngp, ntk = draws(image_model(settings), x, 40, deviation)
    assert_mean(nngp, limit.nngp, 96)
    assert_mean(ntk, limit.ntk, 96)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (lambda: config(Attention(heads=3)).limit(), "heads is 3; accepted with width 128"),
        (lambda: config(Attention()).limit(samples=0), "samples must be a positive int"),
        (lambda: ImageConfig((8, 8), mixer="cnn").limit(samples=0), "samples is 0"),
        (lambda: ImageConfig((8, 8)).limit()(np.ones((1, 8, 8, 1))), "window is 5; accepted with"),
    ],
)
def test_limits_that_cannot_be(limit, message):
    with pytest.raises(ValueError, match=message):
        limit()


def test_the_check_finds_another_models_limit():
    settings = WideConfig(WideLongConv(0.25), LENGTH, 4, 32, width=128)
    other = WideConfig(WideLongConv(1.0), LENGTH, 4, 32, width=128)
    _, ntk = draws(wide_model(settings), X, 40, lambda path, leaf: 1.0)
    with pytest.raises(AssertionError):
        assert_mean(ntk, other.limit()(X, None, "ntk"), 128)


@pytest.mark.slow
def test_the_check_finds_another_image_models_limit():
    base = {"mixer": "cnn", "outputs": 32, "width": 96, "depth": 1}
    settings, other = (ImageConfig((8, 6), window=n, **base) for n in (2, 5))
    x = RNG.normal(size=(3, 8, 6, 1)).astype(np.float32)
    nngp, ntk = draws(image_model(settings), x, 80, deviation)
    right, wrong = (
        each.limit(samples=2000)(x, None, ("nngp", "ntk")) for each in (settings, other)
    )
    assert_mean(nngp, right.nngp, 96)
    assert_mean(ntk, right.ntk, 96)
    with pytest.raises(AssertionError):
        assert_mean(ntk, wrong.ntk, 96)


def test_plain_layers_compute_what_the_operators_do():
    for operator, causal in (
        (WideLongConv(), False), (WideLongConv(), True), (WideAttention(3), False),
        (WideAttention(), True),
    ):  # fmt: skip
        settings = WideConfig(operator, LENGTH, 4, width=16, causal=causal)
        plain, fast = settings.network(), settings.network(finite=True)
        params = plain.init_fn(jax.random.key(0), X.shape)[1]
        assert_close(fast.apply_fn(params, X), plain.apply_fn(params, X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operator": "fourier"}, "name is 'fourier'"),
        ({"width": 0}, "width is 0"),
        ({"readout": "first"}, "readout is 'first'"),
        ({"operator": WideCnn(3), "causal": True}, "causal is True"),
        ({"operator": WideFilter(), "causal": False}, "causal is False"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        WideConfig(**options)
    with pytest.raises(ValueError, match="decay is 0"):
        WideLongConv(0)


def test_inputs_of_another_shape():
    model = wide_model(WideConfig("long_conv", LENGTH, 4, width=8))
    with pytest.raises(ValueError, match="this model takes"):
        model.apply(model.init(jax.random.key(0)), X[:, 1:])
