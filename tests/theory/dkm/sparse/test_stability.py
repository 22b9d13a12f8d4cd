"""float32 on a noisy sine: regularised machines train from every seed, and others fail aloud."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.theory.dkm.sparse.quick import jit
from theory import dkm
from theory.dkm.failure import Diverged

SEEDS = 20


def sine(n):
    """Two columns, a coordinate and a constant, and one target."""
    rng = np.random.default_rng(0)
    at = rng.uniform(-3, 3, size=(n, 1))
    y = np.sin(3 * at) * np.exp(-(at**2) / 9) + 0.1 * rng.normal(size=(n, 1))
    x = np.concatenate([at, np.ones_like(at)], 1)
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


def machine(nu, count, inducing=None, depth=2, **options):
    layers = [dkm.inputs(count, inducing=inducing)]
    for _ in range(depth):
        layers += [dkm.kernel("squared_exponential"), dkm.gram(nu, **options)]
    jitter = options.get("jitter", dkm.Jitter())
    layers += [dkm.kernel("squared_exponential"), dkm.output(1, jitter=jitter)]
    return dkm.Model(dkm.serial(*layers), dkm.gaussian(0.1))


# OpenBLAS uses threads from 16 rows on: with other processes about that takes 100 times as long.
SIZES = [(60, 14, 30), pytest.param(356, 100, 40, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("n", "count", "steps"), SIZES)
@pytest.mark.parametrize("nu", [0.0, 1e-3, 1.0])
def test_skr_and_taylor_train_from_every_seed(nu, n, count, steps):
    x, y = sine(n)
    model = machine(nu, count, kl="taylor", skr=dkm.Skr())
    optimizer = optax.adam(1e-2, b1=0.8, b2=0.9)
    step = dkm.make_step(model, optimizer, n)

    @jit
    def run(keys):
        def one(key):
            first, rest = jax.random.split(key)
            state = dkm.start(dkm.init(model, first, x), optimizer, rest)
            return jax.lax.scan(lambda state, _: step(state, x, y), state, length=steps)

        return jax.lax.map(one, keys)

    states, terms = run(jax.random.split(jax.random.key(0), SEEDS))
    assert not np.asarray(states.frozen).any()
    assert (np.asarray(states.step) == steps).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((states.params, terms)))
    fit = np.asarray(terms.log_likelihood)
    assert (fit[:, -1] > fit[:, 0] + 1).all()


def drawn_together():
    """An optimiser that moves nothing but inducing points, towards their mean."""

    def update(slopes, state, params):
        moves = jax.tree.map(jnp.zeros_like, params)
        z = params["network"][0]
        moves["network"][0] = (z.mean(0) - z) / 8
        return moves, state

    return optax.GradientTransformation(lambda params: (), update)


def test_a_machine_that_fails_says_where_and_goes_on_with_a_sound_one():
    """Exact KL, no jitter, no noise, and inducing points that meet."""
    x, y = sine(60)
    z = jnp.stack([jnp.linspace(-3, 3, 8), jnp.ones(8)], 1)
    model, optimizer = machine(1.0, 8, z, 1, jitter=0.0), drawn_together()
    step = jit(dkm.make_step(model, optimizer, 60))
    params = jit(lambda key: dkm.init(model, key, x))(jax.random.key(0))
    state = dkm.start(params, optimizer, jax.random.key(1))
    with pytest.raises(Diverged, match=r"^2:gram\(nu=1\) diverged at step \d+") as caught:
        dkm.train(model, step, state, [(x, y)] * 30, check_every=7)
    error = caught.value
    assert error.condition_number > 1e6
    assert error.step == int(error.state.step) + 1  # the last update was at fault
    _, parts = step(error.state, x, y)
    assert np.isfinite(parts.value)
    assert not bool(error.state.frozen)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(error.state.params))
    sound = machine(1.0, 8, z, 1, kl="taylor", skr=dkm.Skr(), jitter=(1e-3, 1e-3))
    calm, values = optax.adam(1e-2), []
    again = dkm.start(error.state.params, calm, error.state.key)._replace(step=error.state.step)
    step = jit(dkm.make_step(sound, calm, 60))
    done = dkm.train(
        sound, step, again, [(x, y)] * 20, on_step=lambda _, terms: values.append(terms.value)
    )
    assert int(done.step) == error.step + 19
    assert values[-1] > values[0]


def test_a_machine_that_cannot_start_has_no_state_to_go_on_from():
    x, y = sine(60)
    twice = jnp.ones((3, 2), jnp.float32)
    model = machine(1.0, 3, twice, 1, jitter=0.0)
    optimizer = optax.sgd(0.1)
    params = jit(lambda key: dkm.init(model, key, x))(jax.random.key(0))
    step = jit(dkm.make_step(model, optimizer, 60))
    state = dkm.start(params, optimizer, jax.random.key(1))
    with pytest.raises(
        Diverged, match=r"^2:gram\(nu=1\) diverged at step 0.*no good state"
    ) as caught:
        dkm.train(model, step, state, [(x, y)])
    assert caught.value.state is None
    assert caught.value.condition_number == np.inf or caught.value.condition_number > 1e6
