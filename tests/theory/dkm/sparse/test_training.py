"""Training: one step at a time or many, from the middle, and past batches that are no numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.theory.dkm.sparse.quick import jit
from theory import dkm
from theory.dkm.failure import Diverged

EXAMPLES = 24


@pytest.fixture(scope="module")
def case():
    """(model, optimiser, jitted step, start, batches)."""
    layers = [dkm.inputs(5), dkm.kernel("relu"), dkm.gram(1.0, kl="taylor", skr=dkm.Skr())]
    model = dkm.Model(
        dkm.serial(*layers, dkm.kernel("normalized_gaussian"), dkm.output(3)), dkm.categorical(5)
    )
    rng = np.random.default_rng(0)
    batches = [
        (jnp.asarray(rng.normal(size=(8, 4)), jnp.float32), jnp.asarray(rng.integers(0, 3, size=8)))
        for _ in range(7)
    ]
    optimizer = optax.adam(1e-2)
    params = jit(lambda key: dkm.init(model, key, batches[0][0]))(jax.random.key(0))
    step = jit(dkm.make_step(model, optimizer, EXAMPLES))
    return model, optimizer, step, dkm.start(params, optimizer, jax.random.key(1)), batches


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


def spoiled(batches, at):
    x, y = batches[at]
    return [*batches[:at], (x.at[3, 1].set(jnp.nan), y), *batches[at + 1 :]]


def test_a_run_is_determined_by_its_state_and_batches(case):
    model, _, step, state, batches = case
    one = dkm.train(model, step, state, batches, check_every=3)
    two = dkm.train(model, step, state, iter(batches))
    same(one, two)
    assert int(one.step) == 7
    other = dkm.train(model, step, state._replace(key=jax.random.key(2)), batches)
    assert not np.array_equal(other.params["network"][0], one.params["network"][0])


def test_going_on_from_the_middle_gives_the_same_bits(case):
    model, _, step, state, batches = case
    half = dkm.train(model, step, state, batches[:4])
    stored = jax.tree.map(np.asarray, half._replace(key=jax.random.key_data(half.key)))
    loaded = jax.tree.map(jnp.asarray, stored)
    loaded = loaded._replace(key=jax.random.wrap_key_data(loaded.key))
    same(dkm.train(model, step, loaded, batches[4:]), dkm.train(model, step, state, batches))


@pytest.mark.parametrize(
    ("every", "looks"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6, 7]), (50, [7])]
)
def test_on_step_is_called_at_each_look(case, every, looks):
    model, _, step, state, batches = case
    seen = []
    dkm.train(
        model,
        step,
        state,
        batches,
        check_every=every,
        on_step=lambda n, terms: seen.append((n, terms)),
    )
    assert [n for n, _ in seen] == looks
    _, last = step(dkm.train(model, step, state, batches[:6]), *batches[6])
    same(seen[-1][1], last)


def test_no_batches_change_nothing(case):
    model, _, step, state, _ = case
    same(dkm.train(model, step, state, []), state)


def test_after_a_bad_batch_nothing_changes(case):
    model, _, step, state, batches = case
    good = dkm.train(model, step, state, batches[:2])
    for x, y in spoiled(batches, 2)[2:]:
        after, _ = step(good, x, y)
        assert bool(after.frozen)
        same(after, good._replace(frozen=after.frozen))
        good = after


@pytest.mark.parametrize("every", [1, 2, 3, 5, 50])
@pytest.mark.parametrize("at", [0, 2, 6])
def test_a_bad_batch_is_named_with_its_step(case, at, every):
    model, _, step, state, batches = case
    with pytest.raises(Diverged, match=rf"diverged at step {at}\b") as caught:
        dkm.train(model, step, state, spoiled(batches, at), check_every=every)
    error = caught.value
    assert error.step == at
    assert error.layer == "0:inputs(5)"  # the first that gives what is no number
    assert np.isnan(error.condition_number)
    same(error.state, dkm.train(model, step, state, batches[:at]))


def test_training_goes_on_after_a_bad_batch(case):
    model, _, step, state, batches = case
    with pytest.raises(Diverged) as caught:
        dkm.train(model, step, state, spoiled(batches, 3), check_every=2)
    again = dkm.train(model, step, caught.value.state, batches[3:])
    same(again, dkm.train(model, step, state, batches))


def test_a_frozen_state_is_refused_until_it_is_thawed(case):
    model, _, step, state, batches = case
    frozen = state._replace(frozen=jnp.ones((), bool))
    with pytest.raises(Diverged):
        dkm.train(model, step, frozen, batches)
    same(dkm.thawed(frozen), state)


def test_a_step_is_the_gradient_of_the_objective():
    """Ascent by SGD on a machine with nothing random."""
    rng = np.random.default_rng(1)
    x, y = (jnp.asarray(rng.normal(size=(8, c)), jnp.float32) for c in (4, 1))
    model = dkm.Model(dkm.serial(dkm.inputs(5), dkm.output(1)), dkm.gaussian())
    params = dkm.init(model, jax.random.key(0), x)
    optimizer = optax.sgd(1e-3)
    step = jit(dkm.make_step(model, optimizer, 8))
    state, terms = step(dkm.start(params, optimizer, jax.random.key(1)), x, y)

    def value(p):
        return dkm.terms(model, p, x, y, 8).value

    expected, slopes = jit(jax.value_and_grad(value))(params)
    np.testing.assert_allclose(terms.value, expected, rtol=1e-6)
    moved = jax.tree.map(lambda p, g: p + 1e-3 * g, params, slopes)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(moved), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert value(state.params) > expected


@pytest.mark.parametrize("every", [1, 2, 4])
def test_an_update_that_ruins_the_parameters_is_taken_back(case, every):
    """Where the parameters and not the batch are at fault, the state before them is handed back."""
    model, optimizer, step, state, batches = case
    sound = dkm.train(model, step, state, batches[:2])

    def ruin(updates, scale):
        return jax.tree.map(lambda u: jnp.where(scale, 1e20 * jnp.sign(u), u), updates)

    def update(gradients, inner, params=None):
        updates, inner_state = optimizer.update(gradients, inner[0], params)
        return ruin(updates, inner[1] == 2), (inner_state, inner[1] + 1)

    wild = optax.GradientTransformation(lambda p: (optimizer.init(p), jnp.zeros((), int)), update)
    wild_step = jit(dkm.make_step(model, wild, EXAMPLES))
    start = dkm.start(state.params, wild, state.key)
    with pytest.raises(Diverged) as caught:
        dkm.train(model, wild_step, start, batches, check_every=every)
    good = caught.value.state
    assert caught.value.step == 3
    assert int(good.step) == 2
    for found, wanted in zip(
        jax.tree.leaves(good.params), jax.tree.leaves(sound.params), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)  # another program
    on = good._replace(optimizer=good.optimizer[0])
    assert int(dkm.train(model, step, on, batches[2:]).step) == 7
