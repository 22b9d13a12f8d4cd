"""One step against the same arithmetic written by hand."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from farwide.data import Batch
from farwide.models import Model
from farwide.training import (
    AdamW,
    Precision,
    StepOptions,
    cross_entropy,
    make_trainer,
    with_precision,
)
from tests.training.problems import attention, mlp, toy_task

TASK = toy_task("mlp")
OPTIMIZER = AdamW(weight_decay=0.1).transformation()


def by_hand(params, batch, model=None):
    """Mean loss over weighted targets, in one expression."""
    logits = (model or mlp()).apply(params, jnp.asarray(batch.inputs))
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.targets[..., None], -1)[..., 0]
    return -(batch.weights * picked).sum() / batch.weights.sum()


@cache
def trainer_of(options=None, dropout=0.0):
    """A trainer of the small model; each is compiled once."""
    return make_trainer(mlp(dropout), OPTIMIZER, options)


def steps(options=None, count=3, dropout=0.0):
    trainer = trainer_of(options, dropout)
    state = trainer.init(0)
    for index in range(count):
        state = trainer.step(state, TASK.train(index * 12, 12), 0.01)
    return state


def assert_close(a, b, rtol=1e-5, atol=1e-6):
    for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


@pytest.fixture(scope="module")
def plain():
    return steps()


def test_cross_entropy_is_the_weighted_negative_log_probability():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 4, 5)).astype(np.float32)
    targets = rng.integers(0, 5, (3, 4)).astype(np.int32)
    weights = rng.choice([0.0, 0.5, 1.0], (3, 4)).astype(np.float32)
    sums = cross_entropy(jnp.asarray(logits), Batch(logits, targets, weights))
    wide = logits.astype(np.float64)
    log_probability = wide - np.log(np.exp(wide).sum(-1, keepdims=True))
    picked = np.take_along_axis(log_probability, targets[..., None], -1)[..., 0]
    assert float(sums.loss) == pytest.approx(-(weights * picked).sum(), rel=1e-6)
    assert float(sums.correct) == (weights * (logits.argmax(-1) == targets)).sum()
    assert float(sums.weight) == weights.sum()


def test_a_target_that_does_not_count_may_hold_anything():
    logits = jnp.asarray([[1.0, 2.0], [jnp.inf, 0.0]])
    sums = cross_entropy(logits, Batch(logits, np.array([0, 99]), np.array([1.0, 0.0])))  # pyright: ignore
    assert np.isfinite(float(sums.loss))
    with pytest.raises(ValueError, match=r"targets \(2,\) want \(2, 'classes'\)"):
        cross_entropy(logits[None], Batch(logits, np.array([0, 1]), np.ones(2)))  # pyright: ignore


def test_step_equals_gradient_then_optax_by_hand():
    trainer = trainer_of(StepOptions(clip_norm=0.05))
    state = trainer.init(0)
    params, opt_state = jax.tree.map(jnp.copy, (state.params, state.opt_state))
    batch = TASK.train(0, 12)
    loss, gradient = jax.value_and_grad(by_hand)(params, batch)
    norm = optax.tree.norm(gradient)
    assert float(norm) > 0.05
    clipped = jax.tree.map(lambda g: g * 0.05 / norm, gradient)
    updates, _ = OPTIMIZER.update(clipped, opt_state, params)
    expected = optax.apply_updates(params, jax.tree.map(lambda u: -0.01 * u, updates))
    state = trainer.step(state, batch, 0.01)
    assert int(state.step) == 1
    assert_close(state.params, expected)
    totals = state.totals
    assert float(totals.sums.loss / totals.sums.weight) == pytest.approx(float(loss), rel=1e-5)
    assert float(totals.gradient_norm) == pytest.approx(float(norm), rel=1e-4)


@pytest.mark.parametrize("accumulate", [2, 6])
def test_micro_batches_of_unequal_weight_add_up_to_the_whole(plain, accumulate):
    weights = TASK.train(0, 12).weights
    assert len({float(weights[i::accumulate].sum()) for i in range(accumulate)}) > 1
    state = steps(StepOptions(accumulate=accumulate))
    assert_close(state.params, plain.params)
    assert_close(state.totals.sums, plain.totals.sums)


def test_a_batch_in_which_nothing_counts_changes_nothing_but_decay():
    trainer = trainer_of()
    state = trainer.init(0)
    decayed = jax.tree.map(lambda p: p * (1 - 0.1 * 0.1 * (p.ndim > 1)), state.params)
    batch = TASK.train(0, 12)
    state = trainer.step(state, batch._replace(weights=np.zeros_like(batch.weights)), 0.1)
    assert_close(state.params, decayed)
    assert int(state.totals.bad_step) == 0


def test_noise_norms_are_those_of_the_pieces():
    trainer = trainer_of(StepOptions(accumulate=3))
    state = trainer.init(0)
    params = jax.tree.map(jnp.copy, state.params)
    batch = TASK.train(0, 12)
    assert trainer.pieces == 3
    norms = []
    for i in range(3):
        part = jax.tree.map(lambda x, i=i: x[i::3], batch)
        norms.append(float(optax.tree.norm(jax.grad(by_hand)(params, part))) ** 2)
    state = trainer.step(state, batch, 0.01)
    assert float(state.totals.small) == pytest.approx(np.mean(norms), rel=1e-4)
    whole = float(optax.tree.norm(jax.grad(by_hand)(params, batch))) ** 2
    assert float(state.totals.large) == pytest.approx(whole, rel=1e-4)


def test_the_moving_average_follows_its_recursion():
    trainer = trainer_of(StepOptions(ema_decay=0.15))
    state = trainer.init(0)
    expected = jax.tree.map(np.asarray, state.params)
    for index in range(3):
        state = trainer.step(state, TASK.train(index, 4), 0.01)
        decay = min(0.15, (1 + index) / (10 + index))
        expected = jax.tree.map(
            lambda e, p, d=decay: d * e + (1 - d) * np.asarray(p), expected, state.params
        )
    assert_close(state.ema, expected)


@pytest.mark.parametrize("policy", ["nothing", "dots"])
def test_remat_changes_memory_only(plain, policy):
    assert_close(steps(StepOptions(remat=policy)).params, plain.params)


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32():
    seen = []

    def watched(params, inputs, key=None):
        seen.append((jax.tree.leaves(params)[0].dtype, inputs.dtype))
        return mlp().apply(params, inputs, key=key)

    model = with_precision(Model(mlp().init, watched), Precision(compute="bfloat16"))
    params = model.init(jax.random.key(0))
    batch = TASK.train(0, 12)
    logits = model.apply(params, jnp.asarray(batch.inputs))
    assert seen == [(jnp.bfloat16, jnp.bfloat16)]
    assert logits.dtype == jnp.float32
    state = steps(StepOptions(precision=Precision(compute="bfloat16")))
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    exact = mlp().apply(params, jnp.asarray(batch.inputs))
    error = float(jnp.abs(logits - exact).max() / jnp.abs(exact).max())
    assert 1e-5 < error < 0.03  # rounded, and only so


def test_integer_inputs_keep_their_type():
    model = with_precision(attention(), Precision(compute="bfloat16"))
    tokens = jnp.asarray(toy_task("attention").train(0, 2).inputs)
    assert model.apply(model.init(jax.random.key(0)), tokens).dtype == jnp.float32


def test_dropout_differs_by_step_and_seed_and_repeats_with_them():
    def losses(seed):
        trainer = trainer_of(None, 0.5)
        state = trainer.init(0)._replace(key=jax.random.key(seed))
        batch, found = TASK.train(0, 12), []
        for _ in range(2):
            state = trainer.step(state, batch, 0.0)
            found.append(float(state.totals.sums.loss))
        return found[0], found[1] - found[0]

    first, second = losses(0)
    assert abs(first - second) > 1e-3  # another mask, the same parameters
    assert losses(0) == (first, second)
    assert abs(losses(1)[0] - first) > 1e-3
    state = steps(None, 1, dropout=0.5)
    whole = steps(None, 1)
    assert abs(float(state.totals.sums.loss - whole.totals.sums.loss)) > 1e-3


def test_a_step_that_is_not_finite_is_remembered():
    trainer = trainer_of()
    state = trainer.init(0)
    for index, rate in enumerate([0.01, np.inf, 0.01, 0.01]):
        state = trainer.step(state, TASK.train(index * 12, 12), rate)
    assert int(state.totals.bad_step) == 3  # its loss, after an update that was too long


def test_evaluation_is_the_mean_over_all_targets_whatever_the_chunks():
    params = mlp().init(jax.random.key(0))
    expected = float(by_hand(params, TASK.test))
    right = np.asarray(mlp().apply(params, jnp.asarray(TASK.test.inputs))).argmax(-1)
    accuracy = ((right == TASK.test.targets) * TASK.test.weights).sum() / TASK.test.weights.sum()
    before = TASK.test.weights.copy()
    for size in (16, 50):
        trainer = trainer_of(StepOptions(evaluation_size=size))
        found = trainer.evaluate(params, TASK.test)
        assert found.loss == pytest.approx(expected, rel=1e-5)
        assert found.accuracy == pytest.approx(accuracy, rel=1e-6)
    np.testing.assert_array_equal(TASK.test.weights, before)
    with pytest.raises(ValueError, match="no target of positive weight"):
        trainer.evaluate(params, TASK.test._replace(weights=0 * before))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "accumulate is 0"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0"),
        ({"run": "xmap"}, "run is 'xmap'"),
        ({"remat": "all"}, "remat is 'all'"),
        ({"evaluation_size": 0}, "evaluation_size is 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        StepOptions(**options)


def test_bad_types_and_batches_are_named():
    with pytest.raises(ValueError, match="compute is 'int8'"):
        Precision(compute="int8")
    trainer = trainer_of(StepOptions(accumulate=5))
    with pytest.raises(ValueError, match="the batch has 12 examples; accepted: a multiple of 5"):
        trainer.step(trainer.init(0), TASK.train(0, 12), 0.1)
