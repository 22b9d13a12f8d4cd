"""A nonlinearity straight after a depthwise convolution, before any channels are mixed.

    y_c = k_c * x_c,   out_c = phi(y_c)

Given its filter, y_c is Gaussian with covariance C = sum_{s, s'} k(s) k(s') K(t - s, t' - s'), so

    K'(t, t') = E_k E_{u ~ N(0, C)} phi(u_t) phi(u_t')

exactly, and the mean over filters is taken over draws of them, the inner mean in closed form. With
D(t, t') = sum k(s) k(s') Theta(t - s, t' - s') and x, y of one channel

    Theta' = E_k D E_u phi'(u_t) phi'(u_t') + E_k E_x phi'(y_t) phi'(y'_t') P(t, t')
    P(t, t') = sum_{s, s'} T(s, s') x(t - s) x'(t' - s')

the second, of the filter's own parameters, over draws of filter and signal together: x enters y,
and the two factors are not independent. Without draws (samples = 0) filters are taken for averaged,
C for its mean and P for independent of y: the limit of a network that mixes channels in between.
The two differ by as much as phi is far from a straight line, and do not approach each other with
width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from theory.stax.block import Block
from theory.stax.diagonals import Operator
from theory.stax.joint import both_orders, joint_roots
from theory.stax.lags import Given
from theory.stax.layer import Layer, layer_of, rule_of
from theory.stax.long_conv import (
    Filter,
    LongConv,
    all_lags,
    convolved_moments,
    gaussian_taps,
    tap_moments,
)
from theory.stax.mixing import flat_places, full_always, paired_places
from theory.stax.rule import Context, Rule
from theory.stax.windows import need_pairs


class Side(NamedTuple):
    """What a cross block must know of one side.

    Attributes:
      nngp: (p, q, .., N), K(x, x).
      mixed: the activation's statistics where channels are taken for mixed, or None.
    """

    nngp: Array
    mixed: Array | None


def LongConvActivation(
    activation: Layer,
    tap_variance: Given = None,
    *,
    causal: bool = True,
    tap_covariance: Given = None,
    tap_ntk: Given = None,
    taps: Filter | None = None,
    operator: Operator | None = None,
    samples: int = 256,
    seed: int = 0,
) -> Layer:
    """`LongConv` and at once a nonlinearity, as in the published blocks of S4D and LongConv.

    The head of this file has the formulas. Inputs are Gaussian; with several spatial axes taps are
    independent, as `LongConv` has it.

    Args:
      activation: an elementwise layer, such as `Gelu()`.
      tap_variance, causal, tap_covariance, tap_ntk, taps, operator: as of `LongConv`. Where `taps`
        are a model's own filter, draws are of it; T is tap_ntk whatever the draw.
      samples, seed: draws of filters (and of signals, for the NTK); errors fall as samples^-1/2 and
        `seed_average` measures them. 0: channels are taken for mixed, which is an approximation.

    Raises:
      ValueError: an argument outside of what is described; when used, inputs with another number of
        spatial axes.
      NotImplementedError: when used, inputs that are not Gaussian.

    References:
      Derived here, from Price 1958 on Gaussian expectations given the filter.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 0:
        raise ValueError(f"samples must be an int >= 0, got {samples!r}")
    conv = rule_of(
        LongConv(
            tap_variance,
            causal=causal,
            tap_covariance=tap_covariance,
            tap_ntk=tap_ntk,
            taps=taps,
            operator=operator,
        )
    )
    moments, trained = tap_moments(tap_variance, tap_covariance, tap_ntk, causal)
    act = rule_of(activation)
    name = f"LongConvActivation({act.name}, {conv.name.removeprefix('LongConv(')}"

    def apply(params, x, context):
        return act.apply((), conv.apply(params, x, context), context)

    def infer(facts):
        after = conv.infer(facts)
        if not facts.gaussian:
            raise NotImplementedError(
                f"{name} needs Gaussian inputs: put a Dense or Conv layer before it, got {facts}"
            )
        return act.infer(after.replace(gaussian=True))

    def averaged(k: Block) -> Block:
        assert conv.block is not None
        return k.with_values(convolved_moments(k, [(k.nngp, moments)]), None)

    def statistics(k, mask, pattern):
        return Side(k.nngp, None if samples else _statistics(act, averaged(k)))

    def filters(space: tuple[int, ...], dtype) -> Array:
        """(samples, *signed lags) draws."""
        key = jax.random.key(seed)
        if taps is not None:
            drawn = taps[1](taps[0](key, samples, space[0] if len(space) == 1 else space))
            return all_lags(drawn, space, causal).astype(dtype)
        normal = jax.random.normal(key, (samples, *(2 * n - 1 for n in space)), dtype)
        return gaussian_taps(normal, moments.on(space))

    def block(k, left, right, facts):
        need_pairs(name, k)
        assert act.block is not None
        assert conv.block is not None
        if not samples:
            return act.block(conv.block(k, None, None, facts), left.mixed, right.mixed, facts)
        k = k.stored() if k.ntk is not None else k
        with_taps = k.ntk is not None and trained is not None
        roots = joint_roots(k, left.nngp, right.nngp) if with_taps else None

        activated = act.block

        def one(inputs):
            """NNGP and NTK given a filter, the tap's own part for a draw of the signal."""
            taps_of, key = inputs
            matrix = _toeplitz(taps_of, k.space)
            ends = [_statistics(act, _given(matrix, _own(k, side.nngp))) for side in (left, right)]
            out = activated(_given(matrix, k), *ends, facts)
            if roots is None or trained is None:
                return out.values
            draws = both_orders(k, jax.random.normal(key, roots[0].shape[-1:], k.nngp.dtype))
            ntk = out.ntk
            for noise in draws:
                x, y = (jnp.moveaxis(root @ noise, -1, 0) for root in roots)  # (places, *batch)
                own = convolved_moments(k, [(_outer(k, x, y), trained)])
                slopes = (_slope(act, jnp.tensordot(matrix, z, 1)) for z in (x, y))
                ntk = ntk + own * _outer(k, *slopes) / len(draws)
            return out.nngp, ntk

        def step(total, inputs):
            return jax.tree.map(jnp.add, total, tuple(one(inputs))), None

        keys = jax.random.split(jax.random.key(seed + 1), samples)
        start = tuple(jnp.zeros_like(value) for value in k.values)
        total, _ = lax.scan(step, start, (filters(k.space, k.nngp.dtype), keys))
        return replace(k, values=tuple(value / samples for value in total), zero_ntk=False)

    ops = 128.0 * (samples + 1)
    return layer_of(Rule(name, conv.init, apply, infer, block, statistics, full_always, ops=ops))


def _own(k: Block, nngp: Array) -> Block:
    """A self block of one side, in the batch axes of k."""
    return replace(k, values=(nngp,), itself=True, zero_ntk=False)


def _statistics(act: Rule, own: Block) -> Array | None:
    return None if act.statistics is None else act.statistics(own, None, None)


def _toeplitz(taps_of: Array, space: Sequence[int]) -> Array:
    """(places, places) of a filter's signed lags: k(t - u) at (t, u), places as one axis."""
    places = np.indices(space).reshape(len(space), -1)
    return taps_of[tuple(at[:, None] - at + n - 1 for at, n in zip(places, space, strict=True))]


def _given(matrix: Array, k: Block) -> Block:
    """The block after a filter's own matrix: sum k(s) k(s') K(t - s, t' - s')."""

    def both(value: Array) -> Array:
        flat = flat_places(value, range(k.rank), k.rank)
        once = jnp.tensordot(matrix, flat, 1, precision="highest")
        twice = jnp.tensordot(matrix, once, (1, 1), precision="highest")
        return paired_places(jnp.swapaxes(twice, 0, 1), range(k.rank), k.space)

    return k.linear(both)


def _outer(k: Block, x: Array, y: Array) -> Array:
    """x(t) y(t') of (places, *batch) each, in the layout of k."""
    return paired_places(x[:, None] * y[None], range(k.rank), k.space)


def _slope(act: Rule, y: Array) -> Array:
    """phi'(y)."""
    return jax.jvp(lambda u: act.apply((), u, Context()), (y,), (jnp.ones_like(y),))[1]
