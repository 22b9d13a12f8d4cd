"""A byte-level language model made of gated long convolutions.

Block: `x + out(post * longconv(pre * v))`, then `x + mlp(x)`, each on a normalised input. The
gates `post` and `pre` and the values `v` are three linear maps of that input, each followed by a
short convolution, as in Hyena of order 2 (Poli et al. 2023). Position enters through the
convolutions alone.

Widths are meant to be compared, so the parametrisation is muP for Adam (Yang et al. 2021, table 8):
embedding of unit variance, hidden matrices of variance 1/fan_in, logits divided by the width.
The optimiser half of the rule is in `farwide.training.optimizer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from farwide.models.filters import SGConv, Squash
from farwide.models.generator import Generator
from farwide.models.mixers import Gated
from farwide.models.model import Model
from farwide.models.sequence import SequenceConfig, sequence_generator, sequence_model
from farwide.validate import at_least, one_of

VOCABULARY = 256  # bytes


@dataclass(frozen=True)
class LongConvLMConfig:
    """Shape of the model. `width` and `depth` scale it; the rest stays fixed in a family."""

    width: int
    depth: int
    sequence_length: int = 256
    filter: Literal["sgconv", "squash"] = "sgconv"
    scale_dim: int = 16  # SGConv: parameters a channel and scale
    short_taps: int = 3
    mlp_ratio: int = 4
    output_scale: float = 4.0  # logits are output_scale / width * (embedding @ x)

    def __post_init__(self) -> None:
        at_least(1, width=self.width, depth=self.depth, sequence_length=self.sequence_length)
        at_least(1, scale_dim=self.scale_dim, short_taps=self.short_taps, mlp_ratio=self.mlp_ratio)
        one_of(("sgconv", "squash"), filter=self.filter)

    @property
    def sequence(self) -> SequenceConfig:
        """The same in the terms of any sequence model."""
        filter_ = SGConv(self.scale_dim) if self.filter == "sgconv" else Squash()
        return SequenceConfig(
            mixer=Gated(filter_, short_taps=self.short_taps),
            width=self.width,
            depth=self.depth,
            length=self.sequence_length,
            outputs=VOCABULARY,
            vocabulary=VOCABULARY,
            mlp_ratio=self.mlp_ratio,
            bias=False,
            tied_head=self.output_scale / self.width,
        )


def long_conv_lm(config: LongConvLMConfig) -> Model:
    """The model as pure functions: tokens (batch, sequence_length) int32 -> logits (..., 256)."""
    return sequence_model(config.sequence)


def long_conv_lm_generator(config: LongConvLMConfig) -> Generator:
    """The same model one byte at a time."""
    return sequence_generator(config.sequence)
