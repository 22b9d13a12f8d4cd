"""A sequence model with any mixer: embedding, residual blocks, readout.

    x = embed(inputs);   x = x + mixer(norm(x));   x = x + mlp(norm(x));   logits = head(norm(x))

One description serves language models (`readout="positions"`, causal) and classifiers ("mean", or
"last" for causal models).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from farwide.models.generator import Generator
from farwide.models.limits import sequence_limit
from farwide.models.mixers import Attention, MixerConfig, has_causal_form, make_mixer
from farwide.models.model import Model, Params
from farwide.validate import at_least, one_of, probability
from theory.stax.layer import KernelFn


@dataclass(frozen=True)
class SequenceConfig:
    """Shape of a sequence model.

    Attributes:
      mixer: of every block, or one for each block.
      width, depth, length: channels, blocks, positions.
      outputs: classes.
      vocabulary: of int32 tokens; None where the inputs are `features` real numbers a position.
      features: see vocabulary.
      readout: "positions" for logits everywhere, "mean" or "last" for one of a sequence.
      causal: no position sees a later one.
      mlp_ratio: hidden width of the MLP over the width; 0 for none.
      dropout: of mixers, MLPs and residual branches.
      bias: of the MLPs and the head.
      tied_head: s in logits = s * embedding @ x, without weights or a bias of the head's own; None
        for a head that has them.
    """

    mixer: MixerConfig | tuple[MixerConfig, ...] = field(default_factory=Attention)
    width: int = 64
    depth: int = 2
    length: int = 128
    outputs: int = 10
    vocabulary: int | None = None
    features: int | None = None
    readout: Literal["positions", "mean", "last"] = "positions"
    causal: bool = True
    mlp_ratio: int = 2
    dropout: float = 0.0
    bias: bool = True
    tied_head: float | None = None

    def __post_init__(self) -> None:
        at_least(1, width=self.width, depth=self.depth, length=self.length, outputs=self.outputs)
        at_least(0, mlp_ratio=self.mlp_ratio)
        one_of(("positions", "mean", "last"), readout=self.readout)
        probability(dropout=self.dropout)
        if (self.vocabulary is None) == (self.features is None):
            raise ValueError(
                f"vocabulary is {self.vocabulary} and features {self.features}; accepted is one of "
                "the two"
            )
        at_least(1, **{"vocabulary or features": self.vocabulary or self.features})
        if self.tied_head is not None and self.outputs != self.vocabulary:
            raise ValueError(
                f"outputs is {self.outputs}; accepted with a tied head is vocabulary, "
                f"{self.vocabulary}"
            )
        if isinstance(self.mixer, tuple) and len(self.mixer) != self.depth:
            raise ValueError(
                f"mixer has {len(self.mixer)} settings; accepted is one, or depth = {self.depth}"
            )
        ahead = [m for m in self.mixers if self.causal and not has_causal_form(m)]
        if ahead:
            raise ValueError(f"causal is True; accepted with {ahead[0]} is False: it looks ahead")

    @property
    def mixers(self) -> tuple[MixerConfig, ...]:
        """One for each block."""
        return self.mixer if isinstance(self.mixer, tuple) else (self.mixer,) * self.depth

    def limit(self, *, approximate: bool = False, samples: int = 64) -> KernelFn:
        """kernel_fn(x1, x2, get, ...) of the model as its width grows; x are (N, length, features).

        Tokens are given one-hot, (N, length, vocabulary). NNGP: the covariance of logits at the
        start. NTK: of the parameters with a random start, in the NTK parametrisation. Dropout is
        off. Moments of the filters are those of `width` channels, which for `Squash` depend on it.
        Heads of attention keep width / heads channels, and grow in number.

        Args:
          approximate: accept mixers without a Gaussian limit (`Conv`), as if they had one.
          samples: draws of filters in each such block, and of queries and keys in each block of
            attention; errors fall as samples^-1/2.

        Raises:
          NotImplementedError: the model has no limit here; the message says why.
          ValueError: heads do not divide the width, or samples is below 1 with attention.
        """
        return sequence_limit(self, approximate=approximate, samples=samples)


class Block(nn.Module):
    """Pre-norm residual block: a mixer over positions, an MLP over channels."""

    config: SequenceConfig
    mixer_config: MixerConfig

    def setup(self) -> None:
        config = self.config
        self.mixer_norm = nn.RMSNorm()
        self.mixer = make_mixer(
            self.mixer_config,
            config.width,
            config.length,
            causal=config.causal,
            dropout=config.dropout,
        )
        if config.mlp_ratio:
            self.mlp_norm = nn.RMSNorm()
            self.up = nn.Dense(config.mlp_ratio * config.width, use_bias=config.bias)
            self.down = nn.Dense(config.width, use_bias=config.bias)
        self.drop = nn.Dropout(config.dropout)

    def _mlp(self, x: jax.Array, deterministic: bool) -> jax.Array:
        if not self.config.mlp_ratio:
            return x
        h = self.down(nn.gelu(self.up(self.mlp_norm(x))))
        return x + self.drop(h, deterministic=deterministic)

    def __call__(self, x: Float[Array, "batch length width"], deterministic: bool = True):
        y = self.mixer(self.mixer_norm(x), deterministic)  # pyright: ignore[reportCallIssue]
        return self._mlp(x + self.drop(y, deterministic=deterministic), deterministic)

    def start(self, batch: int) -> Any:
        """The mixer's state before the first position."""
        return self.mixer.start(batch)

    def step(self, x: Float[Array, "batch width"], state: Any) -> tuple[jax.Array, Any]:
        """One position: (x, next state)."""
        y, state = self.mixer.step(self.mixer_norm(x), state)
        return self._mlp(x + y, True), state


class SequenceModel(nn.Module):
    """Embedding, blocks, norm, readout, head."""

    config: SequenceConfig

    def setup(self) -> None:
        config = self.config
        if config.vocabulary is not None:
            self.embed = nn.Embed(
                config.vocabulary, config.width, embedding_init=nn.initializers.normal(1.0)
            )
        else:
            self.embed = nn.Dense(config.width)
        self.blocks = [Block(config, mixer) for mixer in config.mixers]
        self.norm = nn.RMSNorm()
        if config.tied_head is None:
            self.head = nn.Dense(config.outputs, use_bias=config.bias)

    def __call__(self, inputs: jax.Array, deterministic: bool = True) -> jax.Array:
        x = self.embed(inputs)
        for block in self.blocks:
            x = block(x, deterministic)
        if self.config.readout == "last":
            x = x[:, -1]
        x = self.norm(x)
        if self.config.readout == "mean":
            x = x.mean(axis=1)
        return self._logits(x)

    def _logits(self, x: Float[Array, "... width"]) -> Float[Array, "... outputs"]:
        if self.config.tied_head is None:
            return self.head(x)
        assert isinstance(self.embed, nn.Embed)
        return self.config.tied_head * self.embed.attend(x)

    def start(self, batch: int) -> tuple[Any, ...]:
        """The states of the blocks before the first position."""
        return tuple(block.start(batch) for block in self.blocks)

    def step(self, inputs: jax.Array, state: tuple[Any, ...]) -> tuple[jax.Array, tuple[Any, ...]]:
        """One position: (logits, next states)."""
        x = self.embed(inputs)
        states = []
        for block, old in zip(self.blocks, state, strict=True):
            x, new = block.step(x, old)
            states.append(new)
        return self._logits(self.norm(x)), tuple(states)


def sequence_model(config: SequenceConfig) -> Model:
    """The model as pure functions.

    Inputs: (batch, length) int32 tokens or (batch, length, features). Logits: (batch, length,
    outputs) for the readout "positions", else (batch, outputs).

    Raises (at a call):
      ValueError: the inputs have another length.
    """
    module = SequenceModel(config)

    def init(key: jax.Array) -> Params:
        return module.init(key, _example(config))["params"]

    def apply(params: Params, inputs: jax.Array, key: jax.Array | None = None) -> jax.Array:
        if inputs.shape[1:] != _example(config).shape[1:]:
            raise ValueError(
                f"inputs has shape {inputs.shape}; this model takes (batch, "
                f"{', '.join(map(str, _example(config).shape[1:]))})"
            )
        rngs = {} if key is None else {"dropout": key}
        return module.apply(  # pyright: ignore[reportReturnType]
            {"params": params}, inputs, key is None, rngs=rngs
        )

    return Model(init, apply)


def sequence_generator(config: SequenceConfig) -> Generator:
    """The same model one position at a time, for causal models.

    Raises:
      ValueError: the model is not causal, or reads out a mean.
    """
    if not config.causal:
        raise ValueError("causal is False; accepted for generation is True")
    if config.readout == "mean":
        raise ValueError("readout is 'mean'; accepted for generation are 'positions' and 'last'")
    module = SequenceModel(config)

    def start(params: Params, batch: int) -> Any:
        return module.apply({"params": params}, batch, method="start")

    def step(params: Params, inputs: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        return module.apply(  # pyright: ignore[reportReturnType]
            {"params": params}, inputs, state, method="step"
        )

    return Generator(start, step, config.length)


def _example(config: SequenceConfig) -> jax.Array:
    if config.vocabulary is not None:
        return jnp.zeros((1, config.length), jnp.int32)
    return jnp.zeros((1, config.length, config.features or 1))
