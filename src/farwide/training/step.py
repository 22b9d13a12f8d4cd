"""One training step as a pure function of state, batch and learning rate.

A batch of weighted targets is cut into pieces: rows of a device, and within them micro-batches.
Each piece gives the gradient of its summed loss and its sums; all pieces are added, over scan and
over devices, and one division by the summed weight makes the gradient of the mean. So the result
does not depend on how the batch was cut, but for rounding, also where weights differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from farwide.data.task import Batch
from farwide.models import Model
from farwide.parallelism.running import RUNS, Body, Run, varying
from farwide.training.objective import Objective, Sums
from farwide.training.precision import FLOAT32, Precision
from farwide.training.remat import POLICIES
from farwide.training.state import Totals, TrainState


@dataclass(frozen=True)
class StepOptions:
    """How a step computes; what it computes is the model's, the objective's and the optimiser's.

    Attributes:
      accumulate: micro-batches that a device's rows are cut into, at least 1.
      clip_norm: largest global norm of the gradient, or None.
      ema_decay: of the moving average of the parameters, 0 < value < 1, or None for no average.
        The decay of update t is min(ema_decay, (1 + t) / (10 + t)).
      precision: types of the arithmetic.
      run: "jit", "pmap" or "shard_map".
      remat: None, or what the forward pass keeps ("nothing", "dots").
      check_vma: of `jax.shard_map`; Pallas operators need False.
      evaluation_size: test examples at a time.
    """

    accumulate: int = 1
    clip_norm: float | None = None
    ema_decay: float | None = None
    precision: Precision = FLOAT32
    run: Run = "jit"
    remat: str | None = None
    check_vma: bool = False
    evaluation_size: int = 64

    def __post_init__(self) -> None:
        for name in ("accumulate", "evaluation_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is at least 1")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm is {self.clip_norm}; accepted: more than 0, or None")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; accepted: 0 < value < 1, or None")
        if self.run not in RUNS:
            raise ValueError(f"run is {self.run!r}; accepted: {', '.join(RUNS)}")
        if self.remat is not None and self.remat not in POLICIES:
            raise ValueError(f"remat is {self.remat!r}; accepted: {', '.join(POLICIES)} or None")

    def arithmetic(self) -> dict[str, Any]:
        """The options that change what is computed beyond rounding, for a run's config.json."""
        return {
            "accumulate": self.accumulate,
            "clip_norm": self.clip_norm,
            "ema_decay": self.ema_decay,
            "precision": vars(self.precision),
        }


class _Pieces(NamedTuple):
    """Sums over pieces of a batch."""

    gradient: Any  # of the summed loss
    sums: Sums
    squared_norms: Float[Array, ""]  # of the pieces' mean gradients
    count: Float[Array, ""]  # pieces with a weight


def make_body(
    model: Model,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    options: StepOptions,
) -> Body:
    """`body(state, batch, rate, axis) -> state`, for `farwide.parallelism.data_parallel`.

        g = sum of gradients / sum of weights,   w <- w - rate * update(clip(g))

    Args:
      model: `apply(params, inputs, key)` gives logits.
      optimizer: its updates lack sign and learning rate, as those of `optax.scale_by_adam`.
      objective: logits and batch to sums.
      options: see `StepOptions`.
    """

    def piece(params: Any, batch: Batch, key: jax.Array) -> _Pieces:
        def summed(params: Any) -> tuple[jax.Array, Sums]:
            sums = objective(model.apply(params, jnp.asarray(batch.inputs), key=key), batch)
            return sums.loss, sums

        gradient, sums = jax.grad(summed, has_aux=True)(params)
        counted = sums.weight > 0
        scale = jnp.where(counted, 1 / jnp.where(counted, sums.weight, 1), 0)
        squared = scale**2 * _squared_norm(gradient)
        return _Pieces(gradient, sums, squared, counted.astype(jnp.float32))

    def pieces(params: Any, batch: Batch, key: jax.Array, axis: str | None) -> _Pieces:
        if options.accumulate == 1:
            return piece(params, batch, key)
        cut = jax.tree.map(lambda x: _micro_batches(x, options.accumulate), batch)
        numbers = jnp.arange(options.accumulate)

        def add(total: _Pieces, part: tuple[Batch, jax.Array]) -> tuple[_Pieces, None]:
            micro, number = part
            more = piece(params, micro, jax.random.fold_in(key, number))
            return jax.tree.map(jnp.add, total, more), None

        shapes = jax.eval_shape(piece, params, jax.tree.map(lambda x: x[0], cut), key)
        nothing = jax.tree.map(lambda s: varying(jnp.zeros(s.shape, s.dtype), axis), shapes)
        return jax.lax.scan(add, nothing, (cut, numbers))[0]

    def body(
        state: TrainState, batch: Batch, rate: Float[Array, ""], /, axis: str | None
    ) -> TrainState:
        key = jax.random.fold_in(state.key, state.step)
        if axis is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis))
        found = pieces(varying(state.params, axis), batch, key, axis)
        if axis is not None:
            found = jax.lax.psum(found, axis)
        weight = jnp.where(found.sums.weight > 0, found.sums.weight, 1)
        gradient = jax.tree.map(lambda g: g / weight.astype(g.dtype), found.gradient)
        squared = _squared_norm(gradient)
        norm = jnp.sqrt(squared)
        if options.clip_norm is not None:
            shrink = jnp.minimum(1, options.clip_norm / jnp.maximum(norm, 1e-30))
            gradient = jax.tree.map(lambda g: g * shrink.astype(g.dtype), gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = jax.tree.map(lambda p, u: (p - rate * u).astype(p.dtype), state.params, updates)
        step = state.step + 1
        finite = jnp.isfinite(found.sums.loss) & jnp.isfinite(norm)
        before = state.totals
        totals = Totals(
            sums=jax.tree.map(jnp.add, before.sums, found.sums),
            gradient_norm=before.gradient_norm + norm,
            small=before.small + found.squared_norms / jnp.maximum(found.count, 1),
            large=before.large + squared,
            bad_step=jnp.where((before.bad_step == 0) & ~finite, step, before.bad_step),
        )
        ema = state.ema
        if options.ema_decay is not None:
            decay = jnp.minimum(options.ema_decay, (1 + state.step) / (10 + state.step))
            ema = jax.tree.map(
                lambda e, p: (decay * e + (1 - decay) * p).astype(e.dtype), ema, params
            )
        return TrainState(step, params, opt_state, ema, state.key, totals)

    return body


def _squared_norm(tree: Any) -> Float[Array, ""]:
    """Sum of squares over a tree, in float32."""
    leaves = [jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(tree)]
    return jnp.sum(jnp.stack(leaves))


def _micro_batches(x: jax.Array, count: int) -> jax.Array:
    """(rows, ...) to (count, rows / count, ...): micro-batch i has the rows i, i + count, ...

    Every device keeps rows of its own in each micro-batch, when the compiler splits the rows.
    """
    return x.reshape(len(x) // count, count, *x.shape[1:]).swapaxes(0, 1)
