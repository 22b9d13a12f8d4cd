"""The public triple of a layer: (init_fn, apply_fn, kernel_fn), made from its Rule."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from theory.kernel import GETTABLE, Kernel
from theory.stax import inputs, plan
from theory.stax.inputs import agreed_facts, batch_of, flattened
from theory.stax.masked import MaskedArray, as_masked
from theory.stax.results import kernels, narrowed, run_kernel
from theory.stax.rule import Context, Rule, no_params
from theory.stax.tiles import Request, compute

Tree = Any


IDENTITY = Rule(
    name="Identity()",
    init=no_params,
    apply=lambda params, x, context: x,
    block=lambda block, left, right, facts: block,
    ops=0.0,
)


class Layer(NamedTuple):
    """A layer, or a network of them.

    Attributes:
      init_fn: (rng, input_shape) -> (output_shape, params); shapes (batch, *space, channels).
      apply_fn: (params, inputs, rng=None, mask_constant=None, pattern=None) -> outputs.
      kernel_fn: (x1, x2=None, get=None, ...) -> the covariances in the infinite limit.
    """

    init_fn: Any
    apply_fn: Any
    kernel_fn: Any


def layer_of(rule: Rule) -> Layer:
    """The triple of a rule."""
    return Layer(rule.init, ApplyFn(rule), KernelFn(rule))


def rule_of(layer: Sequence) -> Rule:
    """The rule of a triple made by this package.

    Raises:
      TypeError: the triple was not made here.
    """
    if len(layer) == 3 and isinstance(layer[2], KernelFn):
        return layer[2].rule
    raise TypeError(
        "a layer must be a triple (init_fn, apply_fn, kernel_fn) made by theory.stax, got "
        f"{tuple(type(part).__name__ for part in layer)}; stax.layer makes one from functions"
    )


@dataclass(frozen=True, eq=False)
class ApplyFn:
    """The finite network, apply_fn(params, inputs, ...)."""

    rule: Rule

    def __call__(
        self,
        params: Any,
        inputs: Tree,
        *,
        rng: Array | None = None,
        mask_constant: float | None = None,
        pattern: Array | None = None,
    ) -> Tree:
        """The finite network's outputs.

        Args:
          params: as `init_fn` gives them.
          inputs: (batch, *space, channels), or a tuple of them; a MaskedArray has its own mask.
          rng: a PRNG key, for networks with Dropout.
          mask_constant: inputs equal to it are masked; the output is then a MaskedArray, as it is
            where inputs are.
          pattern: (batch, ..) graph of each example, for Aggregate.
        """
        x, mask = as_masked(inputs, mask_constant)
        y, out = run_finite(self.rule, params, x, Context(rng, mask, pattern))
        return _with_masks(y, out)


def _with_masks(y: Tree, mask: Tree) -> Tree:
    if isinstance(y, tuple):
        return tuple(_with_masks(*part) for part in zip(y, mask, strict=True))
    return y if mask is None else MaskedArray(y, mask[..., None])


def run_finite(rule: Rule, params: Any, x: Tree, context: Context) -> tuple[Tree, Tree]:
    """Outputs and their masks (batch, *space); inputs are zero where masked, and so are outputs."""
    rng, pattern = context.rng, context.pattern
    masks: Tree = context.mask
    if rule.kind in ("serial", "parallel"):
        n = len(rule.children)
        keys = [None] * n if rng is None else list(jax.random.split(rng, n))
        if rule.kind == "serial":
            for child, own, key in zip(rule.children, params, keys, strict=True):
                x, masks = run_finite(child, own, x, Context(key, masks, pattern))
            return x, masks
        parts = [
            run_finite(child, own, part, Context(key, mask, pattern))
            for child, own, part, key, mask in zip(
                rule.children, params, x, keys, masks, strict=True
            )
        ]
        return tuple(part[0] for part in parts), tuple(part[1] for part in parts)
    if rule.kind == "repeat":
        (child,) = rule.children
        keys = None if rng is None else jax.random.split(rng, rule.repeats)

        def step(carry, step_inputs):
            own, key = step_inputs
            return run_finite(child, own, carry[0], Context(key, carry[1], pattern)), None

        return jax.lax.scan(step, (x, masks), (params, keys), length=rule.repeats)[0]
    y = rule.apply(params, x, context)
    if jax.tree.leaves(masks):
        masks = rule.mask(masks, jax.tree.map(inputs.facts_of, x))
    else:
        masks = jax.tree.map(lambda _: None, y)
    return _zeroed(y, masks), masks


def _zeroed(y: Tree, mask: Tree) -> Tree:
    if isinstance(y, tuple):
        return tuple(_zeroed(*part) for part in zip(y, mask, strict=True))
    return y if mask is None else jnp.where(mask[..., None], 0.0, y)


@dataclass(frozen=True, eq=False)
class KernelFn:
    """The covariances of the infinitely wide network, kernel_fn(x1, x2, get, ...)."""

    rule: Rule

    def __call__(
        self,
        x1: Tree,
        x2: Tree = None,
        get: str | tuple[str, ...] | None = None,
        *,
        pattern: tuple[Array | None, Array | None] | None = None,
        mask_constant: float | None = None,
        diagonal_batch: bool | None = None,
        diagonal_spatial: bool | None = None,
        tile: int | tuple[int, int] | None = None,
    ) -> Any:
        """Covariances between two sets of inputs.

        Args:
          x1: (N1, *space, channels), a tuple of them where the network takes several, or a Kernel
            (of another network's outputs).
          x2: (N2, *space, channels); None means x1, whose symmetry is used.
          get: "nngp", "ntk", or any attribute of Kernel; a tuple gives a named tuple; None gives
            a Kernel.
          pattern: graphs of both sets, each (N, ..), for Aggregate.
          mask_constant: inputs equal to it are masked (NaN is allowed).
          diagonal_batch: None or True: cov1 and cov2 are kept example by example.
          diagonal_spatial: whether outputs are held at equal places alone; None: for all pairs.
          tile: examples of x1 and of x2 that are worked on together, an int or one each; None
            chooses by the memory that the network needs.

        Returns:
          What `get` names: nngp and ntk (N1, N2, *spatial), where a full spatial axis appears
          twice, side by side. dtype as the inputs', at least float32.

        Raises:
          TypeError, ValueError: an argument that is not of the kind described; a layer that cannot
            take such inputs.
          NotImplementedError: no formula is known, such as a nonlinearity on what is not Gaussian.
        """
        names, single = _names(get)
        if diagonal_batch is False:
            raise ValueError(
                "diagonal_batch must be None or True, as no layer here mixes examples; got False"
            )
        both = get is None or "ntk" in names
        patterns = (None, None) if pattern is None else pattern
        if _all_kernels(x1):
            if x2 is not None or mask_constant is not None:
                raise ValueError(
                    "x1 is a Kernel, which has both sides: x2 and mask_constant must be None"
                )
            kernel = run_kernel(self.rule, x1, patterns)
        else:
            kernel = self._from_arrays(
                x1, x2, both, patterns, mask_constant, diagonal_spatial, tile
            )
        return jax.tree.map(
            lambda k: _select(k, names, single), kernel, is_leaf=lambda k: isinstance(k, Kernel)
        )

    def _from_arrays(self, x1, x2, both, pattern, mask_constant, diagonal_spatial, tile) -> Tree:
        if x2 is x1:
            x2 = None
        x1, masks1 = as_masked(x1, mask_constant, partial(inputs.check, name="x1"))
        masks2 = None
        if x2 is not None:
            x2, masks2 = as_masked(x2, mask_constant, partial(inputs.check, name="x2"))
        facts = agreed_facts(x1, x2)
        after = self.rule.infer(facts)  # raises where the network cannot take such inputs
        if self.rule.flattens_first:  # one product of matrices, and no covariances of places
            x1, masks1 = flattened(x1, masks1)
            x2, masks2 = (None, None) if x2 is None else flattened(x2, masks2)
            facts = agreed_facts(x1, x2)
        n1, n2 = batch_of(x1), batch_of(x1 if x2 is None else x2)
        for graph, n in zip(pattern, (n1, n2), strict=True):
            if graph is not None and graph.shape[0] != n:
                raise ValueError(
                    f"pattern must have a graph for each of {n} examples, got {graph.shape[0]}"
                )
        out_full = not diagonal_spatial
        sizes = plan.tiles(
            IDENTITY if self.rule.opaque else self.rule,
            facts,
            n1,
            n2,
            itemsize=jax.tree.leaves(x1)[0].dtype.itemsize,
            both=both,
            out_full=out_full,
            symmetric=x2 is None,
            tile=tile,
        )
        request = Request(both, self.rule.full(out_full), bool(diagonal_spatial), **sizes)
        arrays = (x1, x2, masks1, masks2, *pattern)
        if self.rule.opaque:  # it maps whole Kernels: start from those of the inputs
            start = compute(IDENTITY, request._replace(narrow=False), *arrays)
            out = run_kernel(self.rule, kernels(start, facts, n1, n2), pattern)
            return narrowed(out) if diagonal_spatial else out
        return kernels(compute(self.rule, request, *arrays), after, n1, n2)


def _names(get: str | tuple[str, ...] | None) -> tuple[tuple[str, ...], bool]:
    """(names, whether one alone was asked for, as a string)."""
    if get is None:
        return (), False
    names = (get,) if isinstance(get, str) else tuple(get)
    for name in names:
        if name not in GETTABLE:
            raise ValueError(f"get must be one of {', '.join(GETTABLE)}, or a tuple; got {name!r}")
    return names, isinstance(get, str)


@lru_cache
def _named_tuple(names: tuple[str, ...]) -> type:
    return namedtuple("AnalyticKernel", names)  # type: ignore[misc]


def _select(kernel: Kernel, names: tuple[str, ...], single: bool) -> Any:
    if not names:
        return kernel
    values = [getattr(kernel, name) for name in names]
    return values[0] if single else _named_tuple(names)(*values)


def _all_kernels(tree: Tree) -> bool:
    leaves = jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, Kernel))
    return all(isinstance(leaf, Kernel) for leaf in leaves)
