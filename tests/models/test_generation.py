"""Every causal model, one position at a time, gives the logits of its parallel form."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from farwide.models import (
    MIXERS,
    S4D,
    Attention,
    Cnn,
    Conv,
    Gated,
    Hyena,
    LongConvLMConfig,
    SequenceConfig,
    Squash,
    generate,
    long_conv_lm,
    long_conv_lm_generator,
    mixer,
    sequence_generator,
    sequence_model,
)
from farwide.models.mixers import has_causal_form

LENGTH = 37
CONFIG = SequenceConfig(width=8, depth=1, length=LENGTH, outputs=11, vocabulary=13)
CAUSAL = {name: mixer(name) for name in MIXERS if has_causal_form(mixer(name))} | {
    "s4d real bilinear": Conv(S4D(8, "real", "bilinear")),
    "h3 legs": Gated(S4D(8, "legs"), short="keys"),
    "hyena order 3": Gated(Hyena(hidden=8), order=3),
    "dilated neighborhood": Attention(2, window=4, dilation=3),
    "dilated cnn": Cnn(3, 4),
    "a hybrid": (Conv(Squash()), Attention(2)),
}


def parallel_and_steps(config, inputs, key):
    return both_forms(sequence_model(config), sequence_generator(config), inputs, key)


def both_forms(model, generator, inputs, key):
    @jax.jit
    def both(key, inputs):
        params = model.init(key)

        def step(state, now):
            logits, state = generator.step(params, now, state)
            return state, logits

        state = generator.start(params, len(inputs))
        _, logits = jax.lax.scan(step, state, jnp.moveaxis(inputs, 1, 0))
        return model.apply(params, inputs), jnp.moveaxis(logits, 0, 1)

    return both(key, inputs)


@pytest.mark.parametrize("name", CAUSAL)
def test_steps_equal_the_parallel_form(name):
    depth = len(CAUSAL[name]) if isinstance(CAUSAL[name], tuple) else 1
    config = replace(CONFIG, mixer=CAUSAL[name], depth=depth)
    tokens = jax.random.randint(jax.random.key(1), (2, LENGTH), 0, 13)
    parallel, steps = parallel_and_steps(config, tokens, jax.random.key(2))
    assert parallel.shape == (2, LENGTH, 11)
    assert float(jnp.abs(parallel).max()) > 0.5
    np.testing.assert_allclose(steps, parallel, atol=1e-4)


@pytest.mark.parametrize("kind", ["sgconv", "squash"])
def test_the_language_model_steps_too(kind):
    config = LongConvLMConfig(8, 2, sequence_length=LENGTH, filter=kind)
    tokens = jax.random.randint(jax.random.key(1), (2, LENGTH), 0, 256)
    parallel, steps = both_forms(
        long_conv_lm(config), long_conv_lm_generator(config), tokens, jax.random.key(2)
    )
    assert parallel.shape == (2, LENGTH, 256)
    assert float(jnp.abs(parallel).max()) > 0.5
    np.testing.assert_allclose(steps, parallel, atol=1e-4)


def test_real_inputs_step_too():
    config = replace(CONFIG, mixer=Conv(S4D(8)), vocabulary=None, features=3)
    inputs = jax.random.normal(jax.random.key(1), (2, LENGTH, 3))
    parallel, steps = parallel_and_steps(config, inputs, jax.random.key(2))
    np.testing.assert_allclose(steps, parallel, atol=1e-4)


@pytest.fixture(scope="module")
def small():
    config = replace(CONFIG, mixer=Conv(S4D(8)), outputs=13)
    model = sequence_model(config)
    return model, sequence_generator(config), jax.jit(model.init)(jax.random.key(0))


def test_greedy_generation_is_the_argmax_of_the_parallel_form(small):
    model, generator, params = small
    prompt = jax.random.randint(jax.random.key(3), (2, 5), 0, 13)
    new = generate(generator, params, prompt, 6, jax.random.key(4), temperature=0.0)
    whole = jnp.concatenate([prompt, new], 1)
    padded = jnp.pad(whole, ((0, 0), (0, LENGTH - whole.shape[1])))
    logits = jax.jit(model.apply)(params, padded)
    np.testing.assert_array_equal(new, jnp.argmax(logits, -1)[:, 4:10])


def test_samples_follow_the_softmax_and_the_key(small):
    model, generator, params = small
    prompt = jnp.zeros((2000, 1), jnp.int32)
    first = generate(generator, params, prompt, 1, jax.random.key(5), temperature=2.0)
    again = generate(generator, params, prompt, 1, jax.random.key(5), temperature=2.0)
    other = generate(generator, params, prompt, 1, jax.random.key(6), temperature=2.0)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    logits = jax.jit(model.apply)(params, jnp.zeros((1, LENGTH), jnp.int32))[0, 0]
    expected = jax.nn.softmax(logits / 2.0)
    found = np.bincount(np.asarray(first[:, 0]), minlength=13) / 2000
    np.testing.assert_allclose(found, expected, atol=5 * (0.25 / 2000) ** 0.5)


def test_bad_generation_is_refused(small):
    _, generator, params = small
    prompt = jnp.zeros((1, 30), jnp.int32)
    with pytest.raises(ValueError, match="count is 9 after a prompt of 30; accepted is at most 8"):
        generate(generator, params, prompt, 9, jax.random.key(0))
    with pytest.raises(ValueError, match="temperature is -1"):
        generate(generator, params, prompt, 2, jax.random.key(0), temperature=-1)
    with pytest.raises(ValueError, match="prompt's length is 0"):
        generate(generator, params, prompt[:, :0], 2, jax.random.key(0))
    with pytest.raises(ValueError, match="causal is False"):
        sequence_generator(replace(CONFIG, causal=False))
    with pytest.raises(ValueError, match="readout is 'mean'"):
        sequence_generator(replace(CONFIG, readout="mean"))
