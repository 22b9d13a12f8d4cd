"""The depthwise long convolution: one random filter a channel, as long as the inputs.

    y_c(t) = sum_s k_c(s) x_c(t - s),     E k(s) k(s') = R(s, s')

Channels do not meet. Given the inputs' covariance K, that of the outputs is the mean over channels

    K'(t, t') = sum_{s, s'} R(s, s') K(t - s, t' - s')
    Theta'(t, t') = sum_{s, s'} T(s, s') K(t - s, t' - s') + R(s, s') Theta(t - s, t' - s')

with T(s, s') = E of the product of the gradients of k(s) and k(s') by the filter's parameters;
T = R where taps are linear in parameters N(0, 1). Taps that are independent, R = diag(v), make both
sums run along the diagonals of K (theory/stax/diagonals.py), and covariances of equal places then
need no others.

A channel of y is a Gaussian process given its filter, and a mixture of them without. So the limit
is exact once a Dense (or Conv) has mixed the channels, and a nonlinearity is refused before;
`LongConvActivation` has that case.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from theory.stax.block import Block
from theory.stax.diagonals import (
    Operator,
    along_diagonals,
    convolved,
    fast_length,
    over_planes,
    two_sided,
)
from theory.stax.lags import Given, Lags, lags_of, root
from theory.stax.layer import Layer, layer_of
from theory.stax.rule import Rule
from theory.stax.windows import need_pairs

DISAGREEMENT = 1e-6  # of the largest variance
Filter = tuple[Callable[..., Any], Callable[..., Array]]


def LongConv(
    tap_variance: Given = None,
    *,
    causal: bool = True,
    tap_covariance: Given = None,
    tap_ntk: Given = None,
    taps: Filter | None = None,
    operator: Operator | None = None,
) -> Layer:
    """Depthwise convolution with random filters as long as the inputs; channels are kept.

        K' = sum_{s, s'} R(s, s') K(t - s, t' - s'),   R = diag(tap_variance) or tap_covariance
        Theta' = sum_{s, s'} T(s, s') K(t - s, t' - s') + R(s, s') Theta(t - s, t' - s')

    with zeros outside of the inputs. Put a Dense behind it, which mixes the channels, and only then
    a nonlinearity: the head of this file says why.

    Args:
      tap_variance: v(s) of independent taps, (taps,) from lag 0 on, or with `causal=False` an odd
        number of lags with lag 0 in the middle; one axis for each spatial axis; or a function of
        the lags (integer arrays, one for each spatial axis; signed with `causal=False`). Lags
        beyond the inputs do nothing.
      causal: whether taps start at lag 0, on every spatial axis.
      tap_covariance: R(s, s') of taps that are not independent, (taps, taps) in the same order, or
        a function of s and s'; inputs with one spatial axis. tap_variance is then None, or its
        diagonal.
      tap_ntk: T, in the form of either of the two, where it is not R; 0 for taps not trained.
      taps: the filters of the finite layer: init(rng, channels, length) -> parameters and
        apply(parameters) -> (channels, lags), such as a model's own; with several spatial axes
        length is a tuple, and there is an axis of lags for each. None draws Gaussian ones.
      operator: computes long convolutions, as `kernels_pallas.long_conv(u, k, k_future=, layout=)`:
        of the finite layer, and along the diagonals of covariances; inputs with one spatial axis.
        None: by plain jnp.

    Raises:
      ValueError: an argument outside of what is described, neither tap_variance nor
        tap_covariance, or a tap_variance that is not the diagonal of tap_covariance; when used,
        inputs with another number of spatial axes.

    References:
      Novak et al. 2019, Bayesian deep CNNs with many channels are Gaussian processes (the same sum
      for filters that mix channels); derived here for depthwise ones.
    """
    moments, trained = tap_moments(tap_variance, tap_covariance, tap_ntk, causal)
    name = _written(moments, taps is not None)

    def check(space: tuple[int, ...]) -> None:
        if not space:
            raise ValueError(f"{name} needs inputs with a spatial axis, got none")
        paired = moments.paired or bool(trained and trained.paired)
        if len(space) > 1 and (paired or operator is not None):
            raise ValueError(
                f"{name} needs inputs with one spatial axis where it has tap_covariance or an "
                f"operator; got {len(space)}: {space}"
            )
        moments.on(space)

    def init(rng, shape):
        space, channels = tuple(shape[1:-1]), shape[-1]
        check(space)
        if taps is not None:
            return shape, taps[0](rng, channels, space[0] if len(space) == 1 else space)
        held = tuple(n if causal else 2 * n - 1 for n in space)
        return shape, jax.random.normal(rng, (channels, *held))

    def filters(params, space, dtype):
        """(channels, *all signed lags)."""
        if taps is not None:
            return all_lags(taps[1](params), space, causal).astype(dtype)
        pads = [(0, 0), *((n - 1 if causal else 0, 0) for n in space)]
        return gaussian_taps(jnp.pad(params, pads).astype(dtype), moments.on(space))

    def apply(params, x, context):
        space = tuple(x.shape[1:-1])
        check(space)
        return depthwise(x, filters(params, space, x.dtype), causal, operator)

    def infer(facts):
        check(facts.space)
        return facts.replace(gaussian=False, is_input=False)

    def block(k, left, right, facts):
        if moments.paired or (trained and trained.paired):
            need_pairs(name, k)
        moved = partial(convolved_moments, k, operator=operator)
        nngp = moved([(k.nngp, moments)])
        if k.ntk is None:
            return k.with_values(nngp, None)
        terms = [] if k.zero_ntk else [(k.ntk, moments)]
        if trained and trained is not moments:
            terms.append((k.nngp, trained))
        theta = moved(terms) if terms else jnp.zeros_like(nngp)
        return k.with_values(nngp, theta + nngp if trained is moments else theta)

    def full(wanted):
        return wanted or moments.paired or bool(trained and trained.paired)

    return layer_of(Rule(name, init, apply, infer, block, full=full, ops=256.0))


def convolved_moments(
    k: Block, terms: list[tuple[Array, Lags]], operator: Operator | None = None
) -> Array:
    """The sum over terms (K, R) of sum_{s, s'} R(s, s') K(t - s, t' - s'), K in the layout of k."""
    move = convolved if k.diagonal else along_diagonals
    lines = [
        move(value, moments.on(k.space), k.rank, operator)
        for value, moments in terms
        if not moments.paired
    ]
    planes = [(value, moments.on(k.space)) for value, moments in terms if moments.paired]
    return reduce(add, lines + ([over_planes(planes)] if planes else []))


def tap_moments(
    tap_variance: Given, tap_covariance: Given, tap_ntk: Given, causal: bool
) -> tuple[Lags, Lags | None]:
    """R and T of the arguments of `LongConv`; T is R itself, or None where taps are not trained.

    Raises:
      ValueError: neither of the first two is given, they contradict each other, or an argument is
        outside of what is described.
    """
    if tap_variance is None and tap_covariance is None:
        raise ValueError("tap_variance and tap_covariance are both None; accepted is one of them")
    if tap_covariance is None:
        moments = lags_of(tap_variance, "tap_variance", causal, paired=False)
        return moments, _trained(tap_ntk, moments)
    moments = lags_of(tap_covariance, "tap_covariance", causal, paired=True)
    if tap_variance is not None:
        variance = lags_of(tap_variance, "tap_variance", causal, paired=False)
        known = [each.values.shape for each in (variance, moments) if not callable(each.values)]
        space = (max((shape[0] for shape in known), default=2),)
        a, b = variance.on(space), np.diagonal(moments.on(space))
        if np.abs(a - b).max() > DISAGREEMENT * np.abs(b).max():
            raise ValueError(
                "tap_variance is not the diagonal of tap_covariance; accepted beside it is its "
                "diagonal, or None"
            )
    return moments, _trained(tap_ntk, moments)


def _trained(given: Given, moments: Lags) -> Lags | None:
    """T: the moments themselves where none is given, None where taps are not trained."""
    if given is None:
        return moments
    if np.isscalar(given) and given == 0:
        return None
    ndim = np.ndim(given)
    paired = moments.paired if callable(given) else ndim == 2 * (moments.rank or 1)
    return lags_of(given, "tap_ntk", moments.causal, paired)


def _written(moments: Lags, model: bool) -> str:
    size = "function" if callable(moments.values) else str(moments.values.shape)
    parts = [f"{moments.name}={size}"]
    parts += [] if moments.causal else ["causal=False"]
    parts += ["taps=model"] if model else []
    return f"LongConv({', '.join(parts)})"


def all_lags(k: Array, space: tuple[int, ...], causal: bool) -> Array:
    """(channels, *lags) of a model's filter as (channels, *signed lags), 2 n - 1 for n places.

    Raises:
      ValueError: more lags than the places have, or an even number where not causal.
    """
    most = space if causal else tuple(2 * n - 1 for n in space)
    counts = k.shape[1:]
    if len(counts) != len(space) or not all(
        c <= m and (causal or c % 2) for c, m in zip(counts, most, strict=True)
    ):
        raise ValueError(
            f"taps gave an array {k.shape}; accepted is (channels, *lags), lags at most {most} "
            "and, where not causal, odd"
        )
    beyond = [(m - c) // (1 if causal else 2) for c, m in zip(counts, most, strict=True)]
    pads = [(n - 1 if causal else b, b) for n, b in zip(space, beyond, strict=True)]
    return jnp.pad(k, [(0, 0), *pads])


def gaussian_taps(drawn: Array, moments: np.ndarray) -> Array:
    """(channels, *signed lags) of a covariance or of variances, from numbers of N(0, 1)."""
    if moments.ndim > drawn.ndim - 1:
        return drawn @ jnp.asarray(root(moments).T, drawn.dtype)
    return drawn * jnp.asarray(np.sqrt(moments), drawn.dtype)


def depthwise(x: Array, k: Array, causal: bool, operator: Operator | None) -> Array:
    """sum_s k_c(s) x_c(t - s) with k (channels, *signed lags), x (batch, *space, channels)."""
    space = x.shape[1:-1]
    if operator is not None:
        past, future = two_sided(k, space[0])
        no_future = causal or space[0] == 1
        return operator(x, past, k_future=None if no_future else future, layout="BLC")
    sizes = tuple(fast_length(3 * n - 2) for n in space)
    axes = tuple(range(-len(space), 0))
    rows = jnp.fft.rfftn(jnp.moveaxis(x, -1, 1), sizes, axes)
    out = jnp.fft.irfftn(rows * jnp.fft.rfftn(k, sizes, axes), sizes, axes)
    kept = tuple(slice(n - 1, 2 * n - 1) for n in space)
    return jnp.moveaxis(out[(..., *kept)], 1, -1)
