"""AdamW, warm-up and cosine, clipping, and one learning rate for all widths and budgets.

The rule that carries the learning rate across widths is muP for Adam (Yang et al. 2021, table 8):
hidden matrices, those whose fan-in grows with the width, use `learning_rate * base_width / width`;
everything else (embedding, norms, skip, short taps) uses `learning_rate`; the long filter uses
`filter_ratio * learning_rate`, also the same at every width, as its taps have no fan-in.

Across token budgets D the peak is `learning_rate * (base_tokens / D)^token_exponent`. Measured at
width 24, batch 2 x 256, standard library bytes (7.5e-3, 1.5e-2, 3e-2 tried): the best were 3e-2 at
D = 131k, 1.5e-2 to 3e-2 at 524k, 1.5e-2 at 2.1M, hence the default exponent of 1/4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

from farwide.training.schedule import Schedule

HIDDEN_MATRICES = frozenset({"in_proj", "out_proj", "up", "down"})


@dataclass(frozen=True)
class OptimizerConfig:
    """What the optimiser does.

    `learning_rate` is the peak at width `base_width` and `base_tokens` tokens.
    """

    learning_rate: float = 3e-2
    base_width: int = 32
    base_tokens: int = 131_072
    token_exponent: float = 0.25
    filter_ratio: float = 0.3
    warmup_fraction: float = 0.05
    final_fraction: float = 0.02  # learning rate at the end over the peak
    beta1: float = 0.9
    beta2: float = 0.98
    weight_decay: float = 0.1  # decoupled, hidden matrices only
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("learning_rate", "base_width", "base_tokens", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is more than 0")
        for name in ("warmup_fraction", "final_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 0 <= value < 1")


def _label(path: tuple[Any, ...]) -> str:
    keys = {entry.key for entry in path if hasattr(entry, "key")}
    if any(key.startswith("filters_") for key in keys):
        return "filter"
    return "hidden" if keys & HIDDEN_MATRICES else "vector"


def labels(params: Any) -> Any:
    """The tree of `params` with "hidden", "filter" or "vector" at each leaf."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _label(path), params)


def make_optimizer(config: OptimizerConfig, width: int) -> optax.GradientTransformation:
    """Clip, Adam, decoupled weight decay, the width rule. The learning rate itself is left out:

    the step multiplies the updates by `-learning_rate(step)`, which is data, not code, so that one
    compiled step serves every token budget.
    """
    factors = {
        "hidden": config.base_width / width,
        "filter": config.filter_ratio,
        "vector": 1.0,
    }
    width_rule = optax.stateless(
        lambda updates, params: jax.tree.map(
            lambda update, label: factors[label] * update, updates, labels(updates)
        )
    )
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.scale_by_adam(config.beta1, config.beta2, eps=1e-8),
        optax.add_decayed_weights(
            config.weight_decay,
            mask=lambda params: jax.tree.map(lambda label: label == "hidden", labels(params)),
        ),
        width_rule,
    )


def peak_learning_rate(config: OptimizerConfig, tokens: int) -> float:
    """`learning_rate * (base_tokens / tokens)^token_exponent`."""
    return config.learning_rate * (config.base_tokens / tokens) ** config.token_exponent


def learning_rates(config: OptimizerConfig, steps: int, tokens: int) -> np.ndarray:
    """Learning rate of each step, (steps,) float32: linear warm-up to the peak, then cosine.

    Raises:
        ValueError: `steps` is smaller than 1.
    """
    peak = peak_learning_rate(config, tokens)
    return Schedule(peak, config.warmup_fraction, config.final_fraction).rates(steps)
