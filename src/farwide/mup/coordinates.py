"""The coordinate check: how much does every layer's result change in the first steps?

In muP, after a few steps, the coordinates of every layer's result have moved by an amount that does
not depend on the width: features are learned, and nothing blows up. On a logarithmic plot the
change against the width is flat. A wrong exponent anywhere shows as a slope: the standard
parametrisation rises, the NTK parametrisation falls as width^(-1/2) in its hidden layers.

Reference: Yang et al. 2021, Tensor Programs V, section D.1 (coordinate checking) and figure 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from rich.table import Table

from farwide.models import Model, activations
from farwide.mup.factors import Initial, Optimizer, Parametrisation, mup_init, scale_by_mup
from farwide.mup.roles import Rule, infer_roles

OUTPUTS = "outputs"


class CoordinateCheck(NamedTuple):
    """What a check measured.

    Attributes:
      widths: of the models.
      change: layer -> (widths, seeds, steps) root mean square of h_t - h_0 over examples and
        features, for t = 1, 2, ..; the model's own result is called "outputs".
    """

    widths: tuple[int, ...]
    change: dict[str, np.ndarray]


class Slope(NamedTuple):
    """d log(change) / d log(width) and its standard error."""

    value: float
    standard_error: float


def coordinate_check(
    make: Callable[[int], Model],
    widths: Sequence[int],
    inputs: jax.Array,
    loss: Callable[[jax.Array], jax.Array],
    *,
    learning_rate: float,
    steps: int = 4,
    optimizer: Optimizer = "adam",
    seeds: int = 3,
    parametrisation: Parametrisation = "mup",
    base_width: int | None = None,
    rules: Sequence[Rule] = (),
    initial: Initial = "fan_in",
    zero_readout: bool = False,
    observe: Callable[[jax.Array], jax.Array] = lambda outputs: outputs,
    seed: int = 0,
) -> CoordinateCheck:
    """Train models of several widths for a few steps on one batch and measure every layer.

    Args:
      make: width -> a model with Linen inside.
      widths: at least two.
      inputs: the batch.
      loss: outputs of the model on that batch -> a number.
      learning_rate: at the base width. Large ones show more: the change should be of the order of
        the activations.
      steps: of the optimiser, 2 or more where the readout starts at zero.
      optimizer: "adam" (betas 0.9 and 0.99, no eps to speak of) or "sgd".
      seeds: of the initial parameters, which are drawn anew at each width.
      parametrisation: "mup", or one to compare with.
      base_width: None: the smallest of `widths`.
      rules, initial, zero_readout: as of `infer_roles` and `mup_init`.
      observe: what of the outputs is measured. Logits of classes that do not occur in the batch
        are hardly pulled anywhere: what they do is noise that falls as width^(-1/2).
      seed: of the first of the keys.

    Returns:
      A CoordinateCheck; see `slopes` and `slope_table`.

    Raises:
      ValueError: fewer than two widths, seeds or steps below 1, or what `infer_roles` raises.
    """
    widths = tuple(sorted(set(widths)))
    if len(widths) < 2:
        raise ValueError(f"widths are {widths}; accepted are at least two different ones")
    for name, value in (("seeds", seeds), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} is {value}; accepted is at least 1")
    base_width = widths[0] if base_width is None else base_width
    keys = jax.random.split(jax.random.key(seed), (len(widths), seeds))
    # random numbers unroll into thousands of instructions: not worth optimising for a few calls
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    found = []
    for width, own in zip(widths, keys, strict=True):
        roles = infer_roles(make, width, base_width, rules=rules)
        model = mup_init(
            make(width), roles, parametrisation=parametrisation, initial=initial,
            zero_readout=zero_readout,
        )  # fmt: skip
        scale = (
            optax.scale_by_adam(0.9, 0.99, eps=1e-30) if optimizer == "adam" else optax.identity()
        )
        rule = optax.chain(
            scale,
            scale_by_mup(roles, optimizer, parametrisation=parametrisation),
            optax.scale_by_learning_rate(learning_rate),
        )
        init = jax.jit(model.init, compiler_options=quick)
        run = jax.jit(partial(_changes, model, rule, inputs, loss, observe, steps))
        found.append([jax.tree.map(np.asarray, run(init(key))) for key in own])
    names = found[0][0]
    change = {name: np.array([[one[name] for one in row] for row in found]) for name in names}
    return CoordinateCheck(widths, change)


def _changes(
    model: Model,
    rule: optax.GradientTransformation,
    inputs: jax.Array,
    loss: Callable[[jax.Array], jax.Array],
    observe: Callable[[jax.Array], jax.Array],
    steps: int,
    params: Any,
) -> dict[str, Float[Array, "steps"]]:
    def layers(params: Any) -> dict[str, jax.Array]:
        outputs, inner = activations(model, params, inputs)
        return {**inner, OUTPUTS: observe(outputs)}

    before = layers(params)

    def step(carry: Any, _: None) -> tuple[Any, Any]:
        params, state = carry
        gradients = jax.grad(lambda p: loss(model.apply(p, inputs)))(params)
        updates, state = rule.update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        moved = {
            name: jnp.sqrt(jnp.mean((h - before[name]) ** 2)) for name, h in layers(params).items()
        }
        return (params, state), moved

    return jax.lax.scan(step, (params, rule.init(params)), None, length=steps)[1]


def slopes(check: CoordinateCheck, step: int = -1) -> dict[str, Slope]:
    """Least-squares slope of log change on log width, layer by layer.

    The change at a width is the root mean square over its seeds (a mean of logarithms would be low
    by half the variance over seeds, which is larger in narrow models).

    Args:
      check: what was measured.
      step: which of its steps; -1 is the last.

    Returns:
      layer -> Slope, its standard error by the jackknife over seeds, NaN for one seed. A change of
      zero, or one that is not finite, makes both NaN.
    """
    x = np.log(check.widths) - np.log(check.widths).mean()
    found = {}
    for name, change in check.change.items():
        squares = change[:, :, step].astype(float) ** 2
        if not (np.isfinite(squares) & (squares > 0)).all():
            found[name] = Slope(float("nan"), float("nan"))
            continue
        n = squares.shape[1]
        value = x @ np.log(squares.mean(1)) / (2 * x @ x)
        error = float("nan")
        if n > 1:
            without = (squares.sum(1, keepdims=True) - squares) / (n - 1)  # (widths, seeds)
            each = x @ np.log(without) / (2 * x @ x)
            error = ((n - 1) / n * ((each - each.mean()) ** 2).sum()) ** 0.5
        found[name] = Slope(float(value), float(error))
    return found


def slope_table(
    check: CoordinateCheck, step: int = -1, *, title: str = "Coordinate check"
) -> Table:
    """A line for each layer: its change at the smallest and largest width, and the slope."""
    first, last = check.widths[0], check.widths[-1]
    shown = Table(title=title, box=None, pad_edge=False)
    shown.add_column("layer")
    for column in (f"width {first}", f"width {last}", "slope"):
        shown.add_column(column, justify="right")
    for name, slope in slopes(check, step).items():
        small, large = ((check.change[name][i, :, step] ** 2).mean() ** 0.5 for i in (0, -1))
        shown.add_row(
            name, f"{small:.3g}", f"{large:.3g}", f"{slope.value:+.3f} ± {slope.standard_error:.3f}"
        )
    shown.caption = "root mean square change of the layer's result"
    return shown
