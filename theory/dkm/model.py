"""A sparse deep kernel machine: layers, a likelihood, and the objective that fits both.

For a minibatch of n of N training examples,

    objective = 1/n sum_i E_q[log p(y_i | f_i)] - (sum_l nu_l KL_l + KL_output) / N

References:
  Yang et al. 2023, A theory of representation learning gives a deep generalisation of kernel
  methods.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jax import Array
from jaxtyping import Float

from theory.dkm.layer import Layer, whole
from theory.dkm.likelihood import Likelihood
from theory.dkm.output import Output
from theory.predict.once import is_traced


class Model(NamedTuple):
    """A network of layers from inputs to an `Output`, and a likelihood."""

    network: Layer
    likelihood: Likelihood


class Terms(NamedTuple):
    """The objective and its parts.

    Attributes:
      value: nats an example, to be maximised.
      log_likelihood: mean E_q[log p(y | f)] of the batch.
      kl: sum of nu_l KL_l and KL_output, of the whole model, not divided.
    """

    value: Float[Array, ""]
    log_likelihood: Float[Array, ""]
    kl: Float[Array, ""]


def init(model: Model, key: Array, x: Array) -> dict[str, Any]:
    """Parameters that start at the network's NNGP.

    Args:
      model: the model.
      key: a PRNG key.
      x: inputs, from which inducing points and the first covariances are taken.
    """
    return {
        "network": model.network.init(key, x),
        "likelihood": model.likelihood.init(x.dtype),
    }


def terms(
    model: Model,
    params: dict[str, Any],
    x: Array,
    y: Array,
    examples: int,
    key: Array | None = None,
    *,
    train: bool = True,
) -> Terms:
    """The minibatch objective.

    Args:
      model: the model.
      params: as `init` gives them.
      x: (n, ..) inputs.
      y: (n,) classes, or (n, C) targets.
      examples: N, the size of the training set.
      key: for SKR and for sampled likelihoods.
      train: whether SKR draws noise.
    """
    if not is_traced(examples):
        whole("examples", examples)
    ours, theirs = (None, None) if key is None else jax.random.split(key)
    out, kl = model.network.apply(params["network"], x, key=ours, train=train)
    likelihood = model.likelihood.expected(params["likelihood"], as_output(out), y, theirs).mean()
    return Terms(likelihood - kl / examples, likelihood, kl)


def predict(model: Model, params: dict[str, Any], x: Array, key: Array | None = None) -> Any:
    """Targets at x: an `Output` for regression, (n, C) log probabilities for classes."""
    out, _ = model.network.apply(params["network"], x)
    return model.likelihood.predict(params["likelihood"], as_output(out), key)


def log_density(
    model: Model, params: dict[str, Any], x: Array, y: Array, key: Array | None = None
) -> Float[Array, "n"]:
    """log p(y_i | x_i) of every example, in nats."""
    out, _ = model.network.apply(params["network"], x)
    return model.likelihood.log_density(params["likelihood"], as_output(out), y, key)


def as_output(value: Any) -> Output:
    """What a network ends in.

    Raises:
      TypeError: not an `Output`.
    """
    if not isinstance(value, Output):
        raise TypeError(
            f"a network must end in dkm.output(...), its last layer gave {type(value).__name__}"
        )
    return value
