"""Neighborhood attention: every place attends to a window around itself.

One head h of the finite layer, places p and q of one example, d key channels, C channels of x:

    G_pq = W_query_std W_key_std (x_p W_Q) . (x_q W_K) / (C d^a)        a = 1 or 1/2
    head_p = sum_{q in N(p)} zeta(G_p)_q  x_q W_V

and y = W_out_std W_value_std [heads] W_O / sqrt(heads * value channels * C) + b_std b. Limits as of
`GlobalSelfAttention` (Hron et al. 2020), with sums over windows. Q = W_query_std W_key_std,
O = W_out_std W_value_std.

Linear scaling, a = 1 and W_Q = W_K: logits are Q K(x, x), and with A = zeta(Q K(x, x)) on N(p)

    K' = O² A K A'^T + b²,     Theta' = O² A Theta A'^T + 2 (K' - b²) + b²

which is two neighborhood attentions, over rows and then over columns.

a = 1/2: logits stay random, Gaussian with covariance E G_pr G'_qs = Q² K_pq K_rs. With zeta the
identity and S(M)_pq = sum_{r in N(p), s in N(q)} M_rs

    K' = O² Q² K S(K²) + b²
    Theta' = O² Q² [2 K S(K Theta) + (Theta + 4 K) S(K²)] + b²

elementwise products all; nothing is divided by the window's size, as in `GlobalSelfAttention`. The
softmax has no closed form: `random_logits` averages over draws, and `head_logits` where heads keep
few key channels, which positions may turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from theory.stax import head_logits, random_logits
from theory.stax.affine import check_size, written
from theory.stax.attention import AttentionMechanism, Side
from theory.stax.diagonals import Operator
from theory.stax.layer import Layer, layer_of
from theory.stax.logit_draws import averaged
from theory.stax.mixing import by_weights, flat_places, full_always, mixed, paired_places
from theory.stax.neighbors import Neighbors, PerAxis, neighbors
from theory.stax.positions import member
from theory.stax.rule import Rule
from theory.stax.windows import need_pairs

GATHERED = 0.4  # of the places: neighborhoods up to here are gathered, larger ones multiplied


def NeighborhoodAttention(
    window: PerAxis,
    dilation: PerAxis = 1,
    causal: bool | Sequence[bool] = False,
    *,
    n_chan_out: int | None = None,
    n_chan_key: int | None = None,
    n_chan_val: int | None = None,
    n_heads: int = 4,
    W_value_std: float = 1.0,
    W_out_std: float = 1.0,
    W_key_std: float = 1.0,
    W_query_std: float = 1.0,
    b_std: float | None = None,
    linear_scaling: bool = True,
    attention_mechanism: str | AttentionMechanism = "SOFTMAX",
    head_dim: int | None = None,
    rotary: head_logits.Turn | None = None,
    samples: int = 128,
    seed: int = 0,
    operator: Operator | None = None,
) -> Layer:
    """Multi-head attention of every place to a window around it, its output projection included.

    The head of this file has the formulas. Masked places are no keys. With windows as large as the
    axes it is `GlobalSelfAttention`.

    Args:
      window: places along each spatial axis, one int or one for each axis.
      dilation: distance between neighbors.
      causal: whether neighbors are at or before the query, one bool or one for each axis.
      n_chan_out, n_chan_key, n_chan_val: channels of the outputs, and of keys and values of each
        head, in the finite layer; None means as many as the inputs have.
      n_heads: heads of the finite layer.
      W_value_std, W_out_std, W_key_std, W_query_std: standard deviations of weights, each before
        1/sqrt(fan in).
      b_std: standard deviation of the output's biases; None means none.
      linear_scaling: True: logits over n_chan_key, queries and keys with the same weights; False:
        over its root, with weights of their own.
      attention_mechanism: "SOFTMAX", "IDENTITY", "ABS" or "RELU", of the logits; "SOFTMAX" or
        "IDENTITY" without linear scaling.
      head_dim: channels of queries and keys that each head keeps in the limit, too, while heads and
        values grow; for "SOFTMAX" without linear scaling. None: they grow as well.
      rotary: turns queries and keys by their places, (batch, *space, heads, head_dim) to the same,
        orthogonal and linear at each place, such as `farwide.models.axial_rotary`; with head_dim.
      samples, seed: draws of logits behind "SOFTMAX" without linear scaling. Errors fall as
        samples^-1/2; `seed_average` measures them. Layers of one network want seeds of their own.
      operator: computes neighborhood attention, as
        `kernels_pallas.neighborhood_attention(q, k, v, window=, dilation=, causal=, scale=)`, for
        "SOFTMAX": of the finite layer and, with linear scaling, of the covariances. None: jnp.

    Raises:
      ValueError: an argument outside of what is described; when used, a window that does not fit.
      NotImplementedError: `kernel_fn` without linear scaling for "ABS" or "RELU"; an operator for
        another mechanism than "SOFTMAX", or for masked inputs.

    References:
      Hassani et al. 2023, Neighborhood Attention Transformer. Hron et al. 2020, Infinite attention:
      NNGP and NTK for deep attention networks, theorems 3 and 4.
    """
    for value, what in (
        (n_chan_out, "n_chan_out"), (n_chan_key, "n_chan_key"), (n_chan_val, "n_chan_val"),
        (n_heads, "n_heads"), (samples, "samples"), (head_dim, "head_dim"),
    ):  # fmt: skip
        if value is not None or what in ("n_heads", "samples"):
            check_size(value, what)  # pyright: ignore[reportArgumentType]
    mechanism = member(AttentionMechanism, attention_mechanism, "attention_mechanism")
    random = not linear_scaling and mechanism is AttentionMechanism.SOFTMAX
    if head_dim is not None and not (random and n_chan_key in (None, head_dim)):
        raise ValueError(
            f'head_dim is {head_dim}; accepted with linear_scaling=False, "SOFTMAX" and n_chan_key '
            "None is an int, else None"
        )
    if rotary is not None and head_dim is None:
        raise ValueError("rotary is given and head_dim None; accepted beside it is an int")
    logit_std, out_std = W_query_std * W_key_std, W_out_std * W_value_std
    bias = 0.0 if b_std is None else b_std**2
    name = written(
        "NeighborhoodAttention", window, dilation=(dilation, 1), causal=(causal, False),
        linear_scaling=(linear_scaling, True), attention_mechanism=(mechanism.value, "SOFTMAX"),
        head_dim=(head_dim, None), rotary=(rotary is not None, False),
    )  # fmt: skip
    if operator is not None and mechanism is not AttentionMechanism.SOFTMAX:
        raise NotImplementedError(
            f'{name}: an operator computes softmax attention; accepted is "SOFTMAX"'
        )
    options = {"window": window, "dilation": dilation, "causal": causal}

    def around(space: tuple[int, ...]) -> Neighbors:
        if not space:
            raise ValueError(f"{name} needs inputs with a spatial axis, got none")
        return neighbors(space, **options)

    def init(rng, shape):
        *before, channels = shape
        around(tuple(before[1:]))
        keys = head_dim or n_chan_key or channels
        values, out = (n or channels for n in (n_chan_val, n_chan_out))
        rngs = jax.random.split(rng, 5)

        def draw(i, *size):
            return jax.random.normal(rngs[i], size)

        query = None if linear_scaling else draw(0, n_heads, channels, keys)
        key = draw(1, n_heads, channels, keys)
        value = draw(2, n_heads, channels, values)
        project = draw(3, n_heads, values, out)
        b = None if b_std is None else draw(4, *(1,) * len(before), out)
        return (*before, out), (query, key, value, project, b)

    def apply(params, x, context):
        query, key, value, project, b = params
        space, channels = x.shape[1:-1], x.shape[-1]

        def heads(weights):  # (batch, *space, heads, channels of a head)
            return jnp.einsum("n...c,hcd->n...hd", x, weights)

        keys, values = heads(key), heads(value)
        queries = keys if query is None else heads(query)
        if rotary is not None:
            queries, keys = rotary(queries), rotary(keys)
        scale = logit_std / (channels * key.shape[-1] ** (1.0 if linear_scaling else 0.5))
        if operator is not None:
            if context.mask is not None:
                raise NotImplementedError(f"{name}: an operator takes no masked inputs")
            y = operator(queries, keys, values, scale=scale, **options)
        else:
            flat = (x.shape[0], prod(space))
            q, k, v = (a.reshape(*flat, *a.shape[-2:]) for a in (queries, keys, values))
            hidden = jnp.asarray(~around(space).seen)
            if context.mask is not None:
                hidden = hidden | context.mask.reshape(flat[0], 1, 1, -1)
            logits = jnp.einsum("nphd,nqhd->nhpq", q, k) * scale
            weights = mechanism.weights(logits, hidden, axis=-1)
            y = jnp.einsum("nhpq,nqhd->nphd", weights, v)
            y = y.reshape(values.shape)
        y = jnp.einsum("n...hd,hdo->n...o", y, project)
        y = y * (out_std / (n_heads * value.shape[-1] * channels) ** 0.5)
        return y if b is None else y + b_std * b

    def infer(facts):
        around(facts.space)
        closed = (AttentionMechanism.IDENTITY, AttentionMechanism.SOFTMAX)
        if not linear_scaling and mechanism not in closed:
            raise NotImplementedError(
                f"{name}: logits over the root of n_chan_key have a limit here for the mechanisms "
                '"IDENTITY" and "SOFTMAX"; use linear_scaling=True'
            )
        channels = facts.channels if n_chan_out is None else n_chan_out
        return facts.replace(channels=channels, gaussian=True, is_input=False)

    def statistics(k, mask, pattern):
        return Side(k.nngp if linear_scaling or random else None, mask)

    def linear(k, left, right):
        near, space = around(k.space), k.space
        if operator is not None:
            if left.mask is not None or right.mask is not None:
                raise NotImplementedError(f"{name}: an operator takes no masked inputs")
            return mixed(
                k,
                range(k.rank),
                lambda value: by_operator(value, left.nngp, 0),
                lambda value: by_operator(value, right.nngp, 1),
            )
        dense = near.index.shape[1] > GATHERED * prod(space)

        def weights(side):
            logits = flat_places(side.nngp * logit_std, range(k.rank), k.rank)
            hidden = jnp.asarray(~(near.seen if dense else near.valid))
            hidden = hidden.reshape(*hidden.shape, *(1,) * len(k.batch))
            if side.mask is not None:
                keys = side.mask.reshape(-1, *side.mask.shape[k.rank :])
                hidden = hidden | (keys[None] if dense else keys[near.index])
            if not dense:
                logits = logits[np.arange(len(near.index))[:, None], near.index]
            return mechanism.weights(logits, hidden, axis=1)

        a, b = weights(left), weights(right)
        if dense:
            return mixed(k, range(k.rank), by_weights(a, 0), by_weights(b, 1))
        return mixed(
            k, range(k.rank), lambda v: gathered(a, v, near, 0), lambda v: gathered(b, v, near, 1)
        )

    def by_operator(value, own, side):
        """Attention with logits `own` (p, q, ..), over axis `side` of value (p, q, *batch)."""
        assert operator is not None
        batch, places = value.shape[2:], value.shape[0]
        space = own.shape[: own.ndim - len(batch) : 2]
        own = flat_places(own, range(len(space)), len(space))

        def rows(array, axis):  # (pairs, *space, 1 head, places)
            array = jnp.broadcast_to(array, (places, places, *batch))
            array = jnp.moveaxis(array, (axis, 1 - axis), (-2, -1))
            return array.reshape(-1, *space, 1, places)

        queries, values = rows(own * logit_std, 0), rows(value, side)
        keys = jnp.broadcast_to(
            jnp.eye(places, dtype=value.dtype).reshape(*space, 1, places), queries.shape
        )
        out = operator(queries, keys, values, scale=1.0, **options)
        out = out.reshape(*batch, places, places)
        return jnp.moveaxis(out, (-2, -1), (side, 1 - side))

    def identity(k):
        seen = around(k.space).seen
        window_sum = by_pairs(seen, seen)

        def sums(product):
            flat = window_sum(flat_places(product, range(k.rank), k.rank))
            return paired_places(flat, range(k.rank), k.space)

        scale = (out_std * logit_std) ** 2
        overlap = sums(k.nngp**2)
        nngp = scale * overlap * k.nngp + bias
        if k.ntk is None:
            return k.with_values(nngp, None)
        both = 2 * sums(k.nngp * k.ntk)
        ntk = scale * (both * k.nngp + overlap * (k.ntk + 4 * k.nngp)) + bias
        return k.with_values(nngp, ntk)

    def block(k, left, right, facts):
        need_pairs(name, k)
        if not linear_scaling and not random:
            return identity(k)
        if random:
            if head_dim is None:
                shape, draw = (None, None), partial(random_logits.draw, logit_std=logit_std)
            else:
                shape = (None, 2, head_dim)
                draw = partial(head_logits.draw, logit_std=logit_std, space=k.space, turn=rotary)
            seen = around(k.space).seen
            nngp, ntk = averaged(k, left, right, seen, draw, shape, samples, seed)
        else:
            out = linear(k, left, right)
            nngp, ntk = out.nngp, out.ntk
            ntk = None if ntk is None else ntk + 2 * nngp
        ntk = None if ntk is None else out_std**2 * ntk + bias
        return k.with_values(out_std**2 * nngp + bias, ntk)

    ops, held = (128.0 * samples, 8.0) if random else (32.0, 1.0)
    if head_dim is not None:
        ops, held = ops * head_dim, held * head_dim
    return layer_of(
        Rule(name, init, apply, infer, block, statistics, full_always, ops=ops, held=held)
    )


def gathered(weights: Array, value: Array, near: Neighbors, side: int) -> Array:
    """sum_j weights[p, j] value[neighbor j of p] along axis `side` of value (p, q, *batch).

    Args:
      weights: (places, size, *batch), batch axes that broadcast; 0 where a neighbor is none.
      value: (places, places, *batch).
      near: the neighborhoods.
      side: 0 or 1.
    """
    total = None
    for j in range(near.index.shape[1]):
        part = jnp.expand_dims(weights[:, j], 1 - side) * jnp.take(value, near.index[:, j], side)
        total = part if total is None else total + part
    assert total is not None
    return total


def by_pairs(left: np.ndarray, right: np.ndarray):
    """(p, q, *batch) -> sum_{r, s} left[p, r] right[q, s] value[r, s], static weights."""

    def apply(value: Array) -> Array:
        a, b = (jnp.asarray(w, value.dtype) for w in (left, right))
        return jnp.einsum("pr,rs...,qs->pq...", a, value, b, precision="highest")

    return apply
