"""Finite networks of an architecture, trained in NTK parametrisation and in muP.

With f_ntk the network of N(0, 1) numbers and `width0` a width,

    f = gamma [f_ntk(theta) - f_ntk(theta_0)],  rate = eta / gamma^2,  gamma = sqrt(width0/width)

is muP (mean field): gradients by theta scale with gamma, so a step moves f by eta times the NTK as
before, while the hidden pre-activations, which f_ntk moves by 1/sqrt(width), move by
1/(gamma sqrt(width)) = 1/sqrt(width0) at every width: features are learned. gamma = 1 is NTK
parametrisation; both are one model at width0.

Yang and Hu 2021, Tensor Programs IV: Feature Learning in Infinite-Width Neural Networks; Bordelon
and Pehlevan 2022, Self-consistent dynamical field theory of kernel evolution in wide neural
networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.predicting.regression import Descent
from farwide.models import Model

PARAMETRISATIONS = ("ntk", "mup")
LOST = 0.9  # a last loss of this share of the first or more, or none that is finite, is a failure
CHUNK = 256  # test examples at once


class Trained(NamedTuple):
    """What a training gave.

    Attributes:
      squared: (test,) squared errors, summed over outputs.
      loss: the last training loss over the first.
      steps: taken.
    """

    squared: np.ndarray
    loss: float
    steps: int


def gamma_of(parametrisation: str, width: int, width0: int) -> float:
    """Output multiplier."""
    return (width0 / width) ** 0.5 if parametrisation == "mup" else 1.0


def trainer(model: Model, how: Descent) -> Callable:
    """`train(params, x, y, rate, gamma)` -> (params, last loss over the first, steps).

    The loss is half the squared error of the centred outputs, summed over outputs, mean over
    examples. A loss that is not finite ends training. Steps are a loop in Python, since XLA runs a
    convolution inside a loop of its own fifty times slower on a CPU.
    """

    def loss_of(params, start, x, y, gamma):
        left = gamma * (model.apply(params, x) - start) - y
        return 0.5 * (left**2).sum() / len(x)

    @jax.jit
    def step(params, speed, start, x, y, rate, gamma):
        loss, gradient = jax.value_and_grad(loss_of)(params, start, x, y, gamma)
        speed = jax.tree.map(lambda v, g: how.momentum * v - rate * g, speed, gradient)
        return jax.tree.map(jnp.add, params, speed), speed, loss

    apply, last_loss = jax.jit(model.apply), jax.jit(loss_of)

    def train(params, x, y, rate, gamma):
        start = apply(params, x)
        speed = jax.tree.map(jnp.zeros_like, params)
        first, count = float("nan"), 0
        while count < how.steps:
            params, speed, loss = step(params, speed, start, x, y, rate, gamma)
            loss, count = float(loss), count + 1
            first = loss if count == 1 else first
            if not loss > how.stop * first or not np.isfinite(loss):
                break
        return params, float(last_loss(params, start, x, y, gamma)) / first, count

    return train


def train_all(
    model: Model,
    how: Descent,
    gamma: float,
    sets: list[tuple[np.ndarray, np.ndarray]],
    tops: list[float],
    test: tuple[np.ndarray, np.ndarray],
    keys: jax.Array,
    train: Callable | None = None,
) -> list[Trained]:
    """One network for each training set, one after another.

    They are not vmapped: on a CPU that takes no less time, and more for a convolution.

    Args:
      gamma: output multiplier (`gamma_of`).
      sets: (x, y) of each seed.
      tops: largest eigenvalue of the limit's NTK over n, of each; the step is
        how.rate/(top gamma^2).
      test: x and y.
      keys: of initial values.
      train: of `trainer`, to share its compilation.
    """
    train = trainer(model, how) if train is None else train
    apply = jax.jit(model.apply)
    x_test, y_test = test
    padded = np.concatenate([x_test, np.repeat(x_test[-1:], -len(x_test) % CHUNK, axis=0)])
    pieces = [
        jnp.asarray(part, jnp.float32) for part in padded.reshape(-1, CHUNK, *x_test.shape[1:])
    ]
    found = []
    for (x, y), top, key in zip(sets, tops, keys, strict=True):
        params = model.init(key)
        ends, loss, steps = train(
            params, jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32),
            how.rate / (top * gamma**2), gamma,
        )  # fmt: skip
        f = np.concatenate([gamma * (apply(ends, part) - apply(params, part)) for part in pieces])
        squared = ((f[: len(x_test)] - y_test) ** 2).sum(1)
        found.append(Trained(squared, float(loss), int(steps)))
    return found


def record(found: list[Trained]) -> dict[str, Any]:
    """Plain values; errors of trainings that failed (`LOST`) are None."""
    good = [bool(np.isfinite(each.squared).all() and each.loss < LOST) for each in found]
    return {
        "by_draw": [
            float(each.squared.mean()) if ok else None for each, ok in zip(found, good, strict=True)
        ],
        "squared": [
            np.round(each.squared, 6).tolist() if ok else None
            for each, ok in zip(found, good, strict=True)
        ],
        "loss": [each.loss if np.isfinite(each.loss) else None for each in found],
        "steps": [each.steps for each in found],
    }
