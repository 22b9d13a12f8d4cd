"""The perceptron, and the listening to layers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from farwide.models import LongConvLMConfig, MLPConfig, activations, long_conv_lm, mlp


def test_the_perceptron_is_matrix_products():
    model = mlp(MLPConfig(6, 2, 8, 3, "tanh"))
    params = model.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    x = np.random.default_rng(0).standard_normal((5, 2, 4)).astype(np.float32)
    h = x.reshape(5, 8)
    for name in ("hidden_0", "hidden_1"):
        h = np.tanh(h @ params[name]["kernel"] + params[name]["bias"])
    expected = h @ params["readout"]["kernel"] + params["readout"]["bias"]
    np.testing.assert_allclose(model.apply(params, jnp.asarray(x)), expected, rtol=1e-5, atol=1e-6)


def test_variances_at_the_start():
    params = mlp(MLPConfig(400, 2, 300, 200, "relu", bias=False)).init(jax.random.key(0))
    variances = [float(np.var(layer["kernel"])) for layer in params.values()]
    np.testing.assert_allclose(variances, [2 / 300, 2 / 400, 1 / 400], rtol=0.05)
    assert all(set(layer) == {"kernel"} for layer in params.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [((0, 1, 2, 3), "width is 0"), ((4, 0, 2, 3), "depth is 0"), ((4, 1, 2, 0), "outputs is 0")],
)
def test_bad_sizes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MLPConfig(*options)
    with pytest.raises(ValueError, match="activation is 'selu'"):
        MLPConfig(4, 1, 2, 3, "selu")  # pyright: ignore
    model = mlp(MLPConfig(4, 1, 2, 3))
    with pytest.raises(ValueError, match="3 values an example"):
        model.apply(model.init(jax.random.key(0)), jnp.zeros((1, 3)))


def test_every_layer_is_heard_and_nothing_changes():
    model = mlp(MLPConfig(6, 2, 8, 3))
    params = model.init(jax.random.key(0))
    x = jnp.ones((2, 8))
    outputs, layers = jax.jit(lambda p: activations(model, p, x))(params)
    np.testing.assert_array_equal(outputs, jax.jit(model.apply)(params, x))
    assert {name: h.shape for name, h in layers.items()} == {
        "hidden_0": (2, 6), "hidden_1": (2, 6), "readout": (2, 3),
    }  # fmt: skip
    np.testing.assert_allclose(layers["readout"], outputs)
    np.testing.assert_allclose(layers["hidden_0"], x @ params["hidden_0"]["kernel"], rtol=1e-6)


def test_layers_of_layers_have_paths():
    model = long_conv_lm(LongConvLMConfig(8, 2, sequence_length=16))
    tokens = jnp.zeros((1, 16), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0))
    _, layers = jax.eval_shape(lambda p: activations(model, p, tokens), params)
    filter_ = "blocks_1/mixer/filters_0"
    assert {"embed", "blocks_0", "blocks_1/mixer/in_proj", filter_} <= set(layers)
    assert layers[filter_].shape == (8, 16)
    assert not [name for name in layers if "drop" in name]
