"""Neighborhood attention in NumPy float64 from lists of neighbours, with gradients by hand.

It shares nothing with the package: `neighbours` is the definition for one query of one axis, and
all else is a dense attention over the pairs that those lists allow.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

NAMES = ("q", "k", "v", "additional_keys", "additional_values", "bias")


class Window(NamedTuple):
    """The neighbourhood, one entry an axis."""

    window: tuple[int, ...]
    dilation: tuple[int, ...]
    stride: tuple[int, ...]
    causal: tuple[bool, ...]


class Pairs(NamedTuple):
    """Which (query, key) pairs attend, as flat places, and the index of each pair's bias."""

    query: np.ndarray  # (pairs,)
    key: np.ndarray  # (pairs,)
    bias: tuple[np.ndarray, ...]  # per axis, (pairs,): key place - query place + w - 1


class Expected(NamedTuple):
    """Results, gradients by name, and sizes: the root of the sum of the squares of the terms.

    `sizes` has one of the shape of each gradient, of "out" and of "lse" (the largest score and the
    logarithm of the sum, which are its two terms).
    """

    out: np.ndarray
    lse: np.ndarray
    gradients: dict[str, np.ndarray]
    sizes: dict[str, np.ndarray]


def neighbours(i: int, L: int, w: int, d: int, s: int, c: bool) -> list[int]:
    """The keys that query i attends on an axis of length L."""
    g, p = i % d, i // d
    n = len(range(g, L, d))
    if c:
        lead = min((p // s) * s + s - 1, n - 1)
        a, b = max(lead - (w - 1), 0), p + 1
    else:
        lead = min((p // s) * s + s // 2, n - 1)
        a = min(max(lead - w // 2, 0), n - w)
        b = a + w
    return [g + d * t for t in range(a, b)]


@lru_cache(maxsize=256)
def pairs(space: tuple[int, ...], window: Window) -> Pairs:
    """Every pair that attends, by loops over queries and their lists."""
    axes = list(zip(space, *window, strict=True))
    lists = [[neighbours(i, *axis) for i in range(axis[0])] for axis in axes]
    queries, keys, offsets = [], [], []
    for place in product(*map(range, space)):
        for other in product(*(lists[a][i] for a, i in enumerate(place))):
            queries.append(place)
            keys.append(other)
            offsets.append(
                [
                    j // d - i // d + w - 1
                    for i, j, (_, w, d, _, _) in zip(place, other, axes, strict=True)
                ]
            )
    flat = [np.ravel_multi_index(np.array(x).T, space) for x in (queries, keys)]
    return Pairs(flat[0], flat[1], tuple(np.array(offsets).T))


def _same(x: np.ndarray) -> np.ndarray:
    return x


def attention(
    arrays: dict[str, Any],
    window: Window,
    scale: float,
    cotangents: tuple[Any, Any] | None = None,
    rounded: Callable[[np.ndarray], np.ndarray] = _same,
) -> Expected:
    """out and lse, and the gradients of sum(do * out) + sum(dlse * lse) for `cotangents`.

    With S = scale q k + bias, P = exp(S - lse), dP = do v, delta = sum(do * out) - dlse:

        dS = P (dP - delta),  dq = scale dS k,  dk = scale dS' q,  dv = P' do,  dbias = sum dS

    Args:
      arrays: by public argument name, those that the call has.
      window: the neighbourhood.
      scale: of the scores.
      cotangents: (do, dlse); None leaves the gradients empty.
      rounded: applied to the operands of each product that the inputs do not round already (P and
        dS), for the run that 16-bit kernels are measured against.
    """
    wide = {n: np.asarray(a, np.float64) for n, a in arrays.items() if n in NAMES}
    batch, *space, heads, _ = wide["q"].shape
    kv_heads, tokens = wide["k"].shape[-2], int(np.prod(space))
    allowed = pairs(tuple(space), window)

    def by_head(x: np.ndarray) -> np.ndarray:
        """(batch, places.., heads or kv heads, features) -> (batch, heads, places, features)."""
        x = x.reshape(batch, -1, *x.shape[-2:]).transpose(0, 2, 1, 3)
        return np.repeat(x, heads // x.shape[1], axis=1)

    q, k, v = (by_head(wide[n]) for n in ("q", "k", "v"))
    if "additional_keys" in wide:
        k = np.concatenate([k, by_head(wide["additional_keys"])], 2)
        v = np.concatenate([v, by_head(wide["additional_values"])], 2)

    added = np.full((batch, heads, tokens, k.shape[2]), -np.inf)
    added[..., tokens:] = 0
    bias = wide["bias"][:, *allowed.bias] if "bias" in wide else 0.0
    added[:, :, allowed.query, allowed.key] = bias
    if arrays.get("mask") is not None:
        lost = ~np.asarray(arrays["mask"], bool).reshape(batch, tokens)
        added[..., :tokens] = np.where(lost[:, None, None, :], -np.inf, added[..., :tokens])

    S = scale * (q @ k.swapaxes(2, 3)) + added
    top = S.max(-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    weight = np.exp(S - top)
    total = weight.sum(-1, keepdims=True)
    seen = total > 0
    total = np.where(seen, total, 1.0)
    lse = np.where(seen, top + np.log(total), -np.inf)[..., 0]
    P = weight / total
    o = rounded(P) @ v
    sizes = {"out": np.sqrt(P**2 @ v**2), "lse": np.where(seen, np.abs(top) + np.log(total), 0.0)}

    def by_place(x: np.ndarray) -> np.ndarray:
        return x.transpose(0, 2, 1, 3).reshape(batch, *space, heads, -1)

    out, public_lse = by_place(o), by_place(lse[..., None])[..., 0]
    sizes = {"out": by_place(sizes["out"]), "lse": by_place(sizes["lse"])[..., 0]}
    if cotangents is None:
        return Expected(out, public_lse, {}, sizes)

    do = by_head(np.asarray(cotangents[0], np.float64))
    dlse = by_head(np.asarray(cotangents[1], np.float64)[..., None])
    delta = (do * o).sum(-1, keepdims=True) - dlse
    dS = P * (do @ v.swapaxes(2, 3) - delta)
    dS_size = P**2 * (do**2 @ (v**2).swapaxes(2, 3) + (do**2 * o**2).sum(-1, keepdims=True))
    dS_size += P**2 * dlse**2

    def slopes(dS, P, q, k, do, scale):
        """The gradients by name from dS and P, or their squares from the squares."""
        dk, dv = scale * dS.swapaxes(2, 3) @ q, P.swapaxes(2, 3) @ do

        def shared(x: np.ndarray) -> np.ndarray:
            """Summed over the query heads of each kv head, and in public order."""
            x = x.reshape(batch, kv_heads, -1, *x.shape[2:]).sum(2)
            return x.transpose(0, 2, 1, 3)

        made = {
            "q": by_place(scale * dS @ k),
            "k": shared(dk)[:, :tokens].reshape(wide["k"].shape),
            "v": shared(dv)[:, :tokens].reshape(wide["v"].shape),
        }
        if "additional_keys" in wide:
            made["additional_keys"] = shared(dk)[:, tokens:]
            made["additional_values"] = shared(dv)[:, tokens:]
        return made

    given = rounded(dS), rounded(P), q, k, do, scale
    gradients = slopes(*given)
    squares = slopes(dS_size, *(x**2 for x in given[1:]))
    if "bias" in wide:
        for made, terms in ((gradients, dS), (squares, dS_size)):
            made["bias"] = np.zeros_like(wide["bias"])
            picked = terms.sum(0)[:, allowed.query, allowed.key]
            for head in range(heads):
                np.add.at(made["bias"][head], allowed.bias, picked[head])
    sizes |= {name: np.sqrt(square) for name, square in squares.items()}
    return Expected(out, public_lse, gradients, sizes)
