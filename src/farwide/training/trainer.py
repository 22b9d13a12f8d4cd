"""The compiled functions of a model, an optimiser and the options of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from farwide.data.task import Batch
from farwide.models import Model
from farwide.parallelism import Fsdp, data_mesh, data_parallel, fsdp_shardings, replicated
from farwide.training.objective import Objective, Sums, cross_entropy
from farwide.training.precision import with_precision
from farwide.training.remat import with_remat
from farwide.training.state import Totals, TrainState, new_state, zero_totals
from farwide.training.step import StepOptions, make_body


class Evaluation(NamedTuple):
    """Means over the weighted targets of a batch."""

    loss: float  # nats
    accuracy: float


class Trainer(NamedTuple):
    """Compiled functions of one model; they serve every seed, schedule and number of steps.

    Attributes:
      init: `init(seed)` -> the state before the first step; a seed is a number or several.
      step: `step(state, batch, rate)` -> the state one update later. `batch` holds the rows of this
        process, rate is a number; the old state's buffers are gone (but under pmap).
      evaluate: `evaluate(params, batch)` -> Evaluation, over all rows of `batch`, which every
        process gives in full.
      options: of the step.
      mesh: the devices; None is one device.
      pieces: parts of a batch whose gradients are compared for the noise scale.
      shapes: `shapes()` -> the state's shapes and types, of which nothing is computed.
      zero_totals: `zero_totals()` -> totals over no step, where the state's totals lie.
    """

    init: Callable[[int | Sequence[int]], TrainState]
    step: Callable[[TrainState, Batch, Any], TrainState]
    evaluate: Callable[[Any, Batch], Evaluation]
    options: StepOptions
    mesh: Mesh | None
    pieces: int
    shapes: Callable[[], TrainState]
    zero_totals: Callable[[], Totals]


def make_trainer(
    model: Model,
    optimizer: optax.GradientTransformation,
    options: StepOptions | None = None,
    *,
    mesh: Mesh | None = None,
    objective: Objective = cross_entropy,
    fsdp: Fsdp | None = None,
) -> Trainer:
    """Build the functions once for all runs of one model; each is compiled at its first call.

    Args:
      model: see `farwide.models.Model`.
      optimizer: its updates lack sign and learning rate, as those of `optax.scale_by_adam`.
      options: of the step; None: one device, float32, no accumulation.
      mesh: the devices. None: one device with run "jit", else all devices of all processes.
      objective: logits and batch to sums; None of the three functions looks at targets otherwise.
      fsdp: rules by which the state is spread over the mesh, with run "jit"; None: every device
        holds all of it.

    Raises:
      ValueError: run "jit" with several processes and no mesh, or `fsdp` without a mesh, with
        another run, or with a rule that does not fit.
    """
    options = options or StepOptions()
    if mesh is None and options.run != "jit":
        mesh = data_mesh()
    if mesh is None and jax.process_count() > 1:
        raise ValueError(
            f"mesh is None with {jax.process_count()} processes; accepted: data_mesh(), over which "
            "they train together"
        )
    if fsdp is not None and (mesh is None or options.run != "jit"):
        raise ValueError(
            f"fsdp is given with run {options.run!r} and mesh {mesh}; accepted: run 'jit' and "
            "a mesh"
        )
    everywhere = None if mesh is None else replicated(mesh)
    model = with_precision(model, options.precision)
    forward = model if options.remat is None else with_remat(model, options.remat)

    def fresh(key: jax.Array, random: jax.Array) -> TrainState:
        return new_state(model.init(key), optimizer, random, ema=options.ema_decay is not None)

    def shapes() -> TrainState:
        return jax.eval_shape(fresh, *_keys(0))

    places = everywhere
    if fsdp is not None and mesh is not None:
        places = fsdp_shardings(shapes(), mesh, fsdp)
    compiled = data_parallel(
        make_body(forward, optimizer, objective, options),
        options.run,
        mesh,
        donate=True,
        check_vma=options.check_vma,
        shardings=places,
    )
    devices = 1 if mesh is None else mesh.shape["data"]
    divisor = devices * options.accumulate

    def step(state: TrainState, batch: Batch, rate: Any) -> TrainState:
        rows = len(batch.inputs) * jax.process_count()
        if rows % divisor:
            raise ValueError(
                f"the batch has {rows} examples; accepted: a multiple of {divisor}, which is "
                f"{devices} devices times {options.accumulate} micro-batches"
            )
        return compiled(state, batch, np.float32(rate))

    return Trainer(
        init=_make_init(fresh, places),
        step=step,
        evaluate=_make_evaluate(model, objective, options, mesh, devices),
        options=options,
        mesh=mesh,
        pieces=options.accumulate * (1 if options.run == "jit" else devices),
        shapes=shapes,
        zero_totals=jax.jit(zero_totals, out_shardings=everywhere),
    )


def _make_init(
    fresh: Callable[[jax.Array, jax.Array], TrainState], shardings: Any
) -> Callable[[int | Sequence[int]], TrainState]:
    """Compile the initialisation.

    It runs in no time and compiles in seconds, for the random numbers unroll into thousands of
    instructions. On CPU those are left unoptimised, which halves that.
    """
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    compiled = jax.jit(fresh, compiler_options=quick, out_shardings=shardings)
    return lambda seed: compiled(*_keys(seed))


def _keys(seed: int | Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """A key for the parameters and one for what is random in a step."""
    first, second = np.random.SeedSequence(seed).generate_state(2)
    return jax.random.key(int(first)), jax.random.key(int(second))


def _make_evaluate(
    model: Model, objective: Objective, options: StepOptions, mesh: Mesh | None, devices: int
) -> Callable[[Any, Batch], Evaluation]:
    """Chunk by chunk, so that memory does not depend on the number of examples.

    A last, smaller chunk is filled up with examples of weight 0.
    """

    def body(params: Any, batch: Batch, shared: None, /, axis: str | None) -> Sums:
        sums = objective(model.apply(params, jnp.asarray(batch.inputs)), batch)
        return sums if axis is None else jax.lax.psum(sums, axis)

    run = "jit" if options.run == "jit" else "shard_map"
    compiled = data_parallel(
        body,
        run,
        mesh,
        check_vma=options.check_vma,
        shardings=None if mesh is None else replicated(mesh),
    )
    size = -(-options.evaluation_size // devices) * devices

    def evaluate(params: Any, batch: Batch) -> Evaluation:
        sums = [compiled(params, part, None) for part in _chunks(batch, size)]
        loss, correct, weight = np.asarray(jax.device_get(sums), np.float64).sum(0)
        if not weight > 0:
            raise ValueError("the batch to evaluate has no target of positive weight")
        return Evaluation(float(loss / weight), float(correct / weight))

    return evaluate


def _chunks(batch: Batch, size: int) -> Iterator[Batch]:
    """The batch in chunks of `size` rows, of which this process yields its share."""
    share = size // jax.process_count()
    first = share * jax.process_index()
    for start in range(0, len(batch.inputs), size):
        rows = np.arange(start, min(start + size, len(batch.inputs)))
        part = Batch(*(x[rows] for x in batch))
        missing = size - len(rows)
        if missing:
            part = Batch(*(np.concatenate([x, np.repeat(x[:1], missing, 0)]) for x in part))
            part.weights[len(rows) :] = 0
        yield Batch(*(x[first : first + share] for x in part))


def all_finite(state: TrainState) -> bool:
    """Whether every real number of a state is finite; asked before a checkpoint."""
    return bool(_all_finite((state.params, state.opt_state, state.ema)))


@jax.jit
def _all_finite(tree: Any) -> jax.Array:
    reals = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in reals]))
