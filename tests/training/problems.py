"""Small models and tasks for tests of training."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from farwide.data import Batch, Task
from farwide.models import LongConvLMConfig, Model, NeighborhoodAttention1D, long_conv_lm

CLASSES = 5
LENGTH = 16


class _Mlp(nn.Module):
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.gelu(nn.Dense(24, name="up")(x.reshape(len(x), -1)))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(CLASSES, name="out")(x)


class _Attention(nn.Module):
    dropout: float = 0.0

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Embed(32, 16, name="embed")(tokens)
        y = nn.LayerNorm(name="norm")(x)
        x = x + NeighborhoodAttention1D(16, 2, 5, causal=True, rotary=True, name="mixer")(y)
        return nn.Dense(CLASSES, name="out")(x)


def wrapped(module: nn.Module, example: np.ndarray) -> Model:
    """A module behind the seam, with dropout where a key is given."""

    def init(key: jax.Array) -> Any:
        return module.init(key, jnp.asarray(example))["params"]

    def apply(params: Any, inputs: jax.Array, key: jax.Array | None = None) -> jax.Array:
        rngs = None if key is None else {"dropout": key}
        return module.apply({"params": params}, inputs, train=key is not None, rngs=rngs)  # pyright: ignore

    return Model(init, apply)


def mlp(dropout: float = 0.0) -> Model:
    """(batch, 16, 3) real to 5 classes."""
    return wrapped(_Mlp(dropout), np.zeros((1, LENGTH, 3), np.float32))


def attention() -> Model:
    """(batch, 16) tokens below 32 to 5 classes at every position."""
    return wrapped(_Attention(), np.zeros((1, LENGTH), np.int32))


def convolution() -> Model:
    """The language model, (batch, 16) bytes to bytes."""
    return long_conv_lm(LongConvLMConfig(8, 1, sequence_length=LENGTH))


def _batch(rng: np.random.Generator, kind: str, size: int) -> Batch:
    """Learnable classes; weights that differ, a few of them 0."""
    if kind == "mlp":
        inputs = rng.normal(size=(size, LENGTH, 3)).astype(np.float32)
        targets = np.digitize(inputs[:, :4, 0].sum(-1), [-3, -1, 1, 3]).astype(np.int32)
    else:
        inputs = rng.integers(0, 32, (size, LENGTH)).astype(np.int32)
        before = np.roll(inputs, 1, axis=1)
        targets = ((inputs + before) % CLASSES).astype(np.int32)
    weights = rng.choice([0.0, 1.0, 2.0], targets.shape, p=[0.2, 0.6, 0.2]).astype(np.float32)
    return Batch(inputs, targets, weights)


def toy_task(kind: str, seed: int = 0) -> Task:
    """An endless task for one of the models: "mlp", "attention" or "convolution".

    Example number i is drawn from a generator of its own.
    """

    def train(position: int, size: int) -> Batch:
        each = [_batch(np.random.default_rng([seed, i]), kind, 1)
                for i in range(position, position + size)]  # fmt: skip
        return jax.tree.map(lambda *rows: np.concatenate(rows), *each)

    test = _batch(np.random.default_rng([seed, 10**9]), kind, 50)
    return Task(
        name=f"toy {kind}",
        input_shape=test.inputs.shape[1:],
        vocabulary=None if kind == "mlp" else 32,
        outputs=CLASSES,
        train=train,
        test=test,
        facts={"seed": seed},
    )


MODELS = {"mlp": mlp, "attention": attention, "convolution": convolution}
