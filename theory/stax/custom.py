"""Layers of a user's own, from plain functions (init_fn, apply_fn, kernel_fn[, mask_fn]).

    @stax.layer
    @stax.supports_masking(remask_kernel=False)
    def Scale(factor):
        def init_fn(rng, input_shape):
            return input_shape, ()

        def apply_fn(params, inputs, **kwargs):
            return factor * inputs

        def kernel_fn(k, **kwargs):
            c = factor**2
            cov2 = None if k.cov2 is None else c * k.cov2
            ntk = None if k.ntk is None else c * k.ntk
            return k.replace(nngp=c * k.nngp, ntk=ntk, cov1=c * k.cov1, cov2=cov2)

        return init_fn, apply_fn, kernel_fn

kernel_fn maps whole Kernels (theory/kernel.py), so that a network with such a layer is not cut into
tiles. It must be traceable, like any function under `jax.jit`, and keep up `is_gaussian` and
`diagonal_spatial`; shapes follow from init_fn, masks from mask_fn.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from theory.kernel import Kernel
from theory.stax.inputs import as_tuples
from theory.stax.layer import KernelFn, Layer, layer_of
from theory.stax.requirements import Bool, checked, diagonal_of
from theory.stax.results import facts_of
from theory.stax.rule import Facts, Rule

Tree = Any


@dataclass(frozen=True)
class UserKernelFn:
    """A kernel function with what its decorators say of it.

    Attributes:
      fn: (Kernel, **kwargs) -> Kernel.
      requirements: of `requires`.
      masking: whether masks are supported.
      remask: whether outputs must be zeroed where masked.
      mask_fn: (mask, input_shape) -> mask, both (batch, *space, 1); None where masks are kept.
    """

    fn: Callable[..., Any]
    requirements: Mapping[str, Any] = field(default_factory=dict)
    masking: bool = False
    remask: bool = False
    mask_fn: Callable[..., Any] | None = None

    def __call__(self, k: Tree, **kwargs: Any) -> Tree:
        """The Kernel of the outputs.

        Raises:
          ValueError: a Kernel that does not meet the requirements.
        """
        if diagonal_of(self.requirements).input is Bool.NO and any(
            part.diagonal_spatial for part in _leaves(k)
        ):
            raise ValueError(
                f"{_name(self.fn)} requires covariances of all pairs of places; the Kernel given "
                "holds those of equal places alone: compute it with diagonal_spatial=False"
            )
        return as_tuples(_called(self.fn, k, **kwargs))

    def mask(self, masks: Tree, shapes: Tree) -> Tree:
        """Masks (batch, *space, 1) of the outputs, from those of the inputs; None: none is masked.

        Raises:
          ValueError: there are masks, and they are not supported.
        """
        if not jax.tree.leaves(masks):
            return None
        if not self.masking:
            raise ValueError(
                f"{_name(self.fn)} does not support masked inputs: decorate its layer with "
                "stax.supports_masking"
            )
        if self.mask_fn is None:
            return masks
        return jax.tree.map(
            lambda m: m.all(-1, keepdims=True), as_tuples(self.mask_fn(masks, shapes))
        )


def requires(**static_reqs: Any) -> Callable[[Callable[..., Any]], UserKernelFn]:
    """A decorator of kernel functions: what the Kernels that they are given must be like.

    Args:
      static_reqs: `diagonal_spatial`, a Diagonal; also batch_axis=0, channel_axis=-1,
        diagonal_batch=True and use_dropout, which hold always here.

    Raises:
      ValueError: another requirement, or one that cannot be met.
    """
    found = checked(static_reqs)

    def decorate(kernel_fn: Callable[..., Any]) -> UserKernelFn:
        known = _user(kernel_fn)
        return replace(known, requirements={**known.requirements, **found})

    return decorate


def supports_masking(remask_kernel: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator of layer functions, below `layer`: their layers take masked inputs.

    The layer function then gives (init_fn, apply_fn, kernel_fn) or a fourth, mask_fn(mask,
    input_shape), which says where outputs are masked; without it they are where inputs were. Masks
    are (batch, *space, 1), True where masked, or tuples of them. `apply_fn` gets `mask=`, that of
    its inputs, if there is one, and zeros there.

    Args:
      remask_kernel: whether kernel_fn leaves what is not zero at masked places, to be zeroed.
    """

    def decorate(layer_fn: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(layer_fn)
        def with_masking(*args: Any, **kwargs: Any) -> tuple:
            functions = tuple(layer_fn(*args, **kwargs))
            if len(functions) not in (3, 4):
                raise ValueError(
                    f"{layer_fn.__name__} must give (init_fn, apply_fn, kernel_fn[, mask_fn]), got "
                    f"{len(functions)} functions"
                )
            init_fn, apply_fn, kernel_fn = functions[:3]
            mask_fn = functions[3] if len(functions) == 4 else None
            user = replace(
                _user(kernel_fn), masking=True, remask=bool(remask_kernel), mask_fn=mask_fn
            )
            return init_fn, apply_fn, user

        return with_masking

    return decorate


def layer(layer_fn: Callable[..., Any]) -> Callable[..., Layer]:
    """A decorator: a function that gives plain (init_fn, apply_fn, kernel_fn) gives layers.

    They can be called and composed like all others. The plain functions are

      init_fn: (rng, input_shape) -> (output_shape, params).
      apply_fn: (params, inputs, **kwargs) -> outputs; kwargs are those of rng, mask and pattern
        that there are, and that it takes.
      kernel_fn: (Kernel, **kwargs) -> Kernel, or tuples of them; kwargs may hold pattern.

    A function that gives a layer made of others is left as it is.
    """

    @wraps(layer_fn)
    def made(*args: Any, **kwargs: Any) -> Layer:
        functions = layer_fn(*args, **kwargs)
        if len(functions) == 3 and isinstance(functions[2], KernelFn):
            return Layer(*functions)
        if len(functions) != 3 or not all(callable(f) for f in functions):
            raise ValueError(
                f"{layer_fn.__name__} must give three functions (init_fn, apply_fn, kernel_fn), "
                f"got {len(functions)} parts; a mask_fn needs stax.supports_masking"
            )
        options = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
        return layer_of(rule_from(f"{layer_fn.__name__}({', '.join(options)})", *functions))

    return made


def rule_from(name: str, init_fn: Any, apply_fn: Any, kernel_fn: Any) -> Rule:
    """The Rule, of kind "opaque", of plain functions."""
    user = _user(kernel_fn)

    def apply(params, x, context):
        mask = jax.tree.map(lambda m: m[..., None], context.mask)
        given = {"rng": context.rng, "mask": mask, "pattern": context.pattern}
        there = {key: value for key, value in given.items() if jax.tree.leaves(value)}
        return as_tuples(_called(apply_fn, params, x, **there))

    def kernel(k, pattern=(None, None)):
        kwargs = {} if all(p is None for p in pattern) else {"pattern": pattern}
        out = user(k, **kwargs)
        shapes, masks = [], []
        for side in ("1", "2"):
            before = _map(lambda part: getattr(part, f"shape{side}"), k)  # noqa: B023
            shapes.append(shape_after(init_fn, before))
            masks.append(user.mask(_map(lambda part: getattr(part, f"mask{side}"), k), before))  # noqa: B023
        return _finished(out, shapes[0], shapes[1], masks[0], masks[1], user.remask)

    def infer(facts):
        out = jax.eval_shape(kernel, _map_facts(_abstract_kernel, facts))
        return _map(facts_of, out)

    def mask(masks, facts):
        shapes = _map_facts(lambda fact: (-1, *fact.space, fact.channels), facts)
        out = user.mask(jax.tree.map(lambda m: m[..., None], masks), shapes)
        return jax.tree.map(lambda m: m[..., 0], out)

    return Rule(
        name, init_fn, apply, infer, full=diagonal_of(user.requirements).full, mask=mask,
        kind="opaque", kernel=kernel,
    )  # fmt: skip


def shape_after(init_fn: Callable[..., Any], shape: Tree) -> Tree:
    """The output shape that an init_fn states; nothing is computed."""
    found = []

    def run(key: Array) -> Array:
        found.append(init_fn(key, shape)[0])
        return jnp.zeros(())

    jax.eval_shape(run, jax.random.key(0))
    return as_tuples(found[0])


def _user(kernel_fn: Callable[..., Any]) -> UserKernelFn:
    return kernel_fn if isinstance(kernel_fn, UserKernelFn) else UserKernelFn(kernel_fn)


def _name(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__qualname__", repr(fn))


def _called(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """fn with those keyword arguments that it takes."""
    parameters = inspect.signature(fn).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        names = {p.name for p in parameters}
        kwargs = {key: value for key, value in kwargs.items() if key in names}
    return fn(*args, **kwargs)


def _leaves(tree: Tree) -> list[Kernel]:
    return jax.tree.leaves(tree, is_leaf=lambda part: isinstance(part, Kernel))


def _map(f: Callable[[Kernel], Any], tree: Tree) -> Tree:
    """f of every Kernel of nested tuples."""
    return f(tree) if isinstance(tree, Kernel) else tuple(_map(f, part) for part in tree)


def _map_facts(f: Callable[[Facts], Any], tree: Tree) -> Tree:
    return f(tree) if isinstance(tree, Facts) else tuple(_map_facts(f, part) for part in tree)


def _abstract_kernel(facts: Facts) -> Any:
    """A Kernel of such activations with all that it may hold; its arrays have shapes alone."""

    def array(*batch: int) -> Any:
        pairs = [size for size in facts.space for _ in range(2)]
        return jax.ShapeDtypeStruct((*batch, *pairs), jnp.result_type(float))

    return Kernel(
        nngp=array(2, 3), ntk=array(2, 3), cov1=array(2), cov2=array(3),
        is_gaussian=facts.gaussian, is_input=facts.is_input,
        shape1=(2, *facts.space, facts.channels), shape2=(3, *facts.space, facts.channels),
        channel_axis=len(facts.space) + 1,
    )  # fmt: skip


def _finished(
    out: Tree, shape1: Tree, shape2: Tree, mask1: Tree, mask2: Tree, remask: bool
) -> Tree:
    """A user's Kernels with the shapes and masks that follow from the inputs'."""
    if not isinstance(out, Kernel):
        n = len(out)
        masks = [m if m is not None else (None,) * n for m in (mask1, mask2)]
        parts = zip(out, shape1, shape2, masks[0], masks[1], strict=True)
        return tuple(_finished(*part, remask) for part in parts)
    rank = len(shape1) - 2
    out = out.replace(
        shape1=shape1, shape2=shape2, mask1=mask1, mask2=mask2, batch_axis=0, channel_axis=rank + 1,
        diagonal_spatial=rank > 0 and out.diagonal_spatial,
    )  # fmt: skip
    expected = (shape1[0], shape2[0], *(shape1[1:-1] if out.diagonal_spatial else _pairs(shape1)))
    if out.nngp.shape != expected:
        raise ValueError(
            f"a kernel_fn gave nngp of shape {out.nngp.shape}, but by its init_fn outputs have "
            f"shape {shape1}, so it must be {expected}"
        )
    return _zeroed(out) if remask else out


def _pairs(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape[1:-1] for _ in range(2))


def _zeroed(k: Kernel) -> Kernel:
    """Zero where x1 at p or x2 at q is masked."""
    if k.mask1 is None and k.mask2 is None:
        return k

    def spread(mask: Array | None, offset: int) -> Array:
        """(N, p_1, 1, p_2, 1, ..) at offset 1, (N, 1, p_1, ..) at 0."""
        if mask is None:
            return jnp.zeros((), bool)
        mask = mask[..., 0]
        if k.diagonal_spatial:
            return mask
        return jnp.expand_dims(mask, tuple(1 + 2 * a + offset for a in range(mask.ndim - 1)))

    def hidden(a: Array | None, b: Array | None, pair: bool) -> Array:
        left, right = spread(a, 1), spread(b, 0)
        return (left[:, None] if pair and a is not None else left) | right

    def zero(value: Array | None, at: Array) -> Array | None:
        return None if value is None else jnp.where(at, jnp.zeros((), value.dtype), value)

    mask2 = k.mask1 if k.x1_is_x2 else k.mask2
    both = hidden(k.mask1, mask2, True)
    return k.replace(
        nngp=zero(k.nngp, both),
        ntk=zero(k.ntk, both),
        cov1=zero(k.cov1, hidden(k.mask1, k.mask1, False)),
        cov2=zero(k.cov2, hidden(mask2, mask2, False)),
    )
