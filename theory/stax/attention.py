"""Global self-attention.

One head h of the finite layer, places p and q of one example, d key channels, C channels of x:

    G_pq = W_query_std W_key_std (x_p W_Q) . (x_q W_K) / (C d^a)        a = 1 or 1/2
    head_p = sum_q zeta(G_p)_q  x_q W_V

and y = W_out_std W_value_std [heads] W_O / sqrt(heads * value channels * C) + b_std b. Keys and
queries may see positional embeddings, x with r added or beside it, values too.

Limits, Hron et al. 2020, as the numbers of heads and channels grow. Write K~ for the covariance of
x with its embedding, K^ for that of what values see, Q = W_query_std W_key_std and
O = W_out_std W_value_std. With linear scaling (a = 1, W_Q = W_K) the logits converge, theorem 4:

    A = zeta(Q K~(x, x)),     K' = O² A K^ A'^T + b²
    Theta' = O² A Theta^ A'^T + 2 (K' - b²) + b²

With a = 1/2 and zeta the identity they stay random, theorem 3; <.,.> sums over all pairs of places:

    K' = O² Q² K~ <K~, K^> + b²
    Theta' = O² Q² [K~ (<Theta~, K^> + <K~, Theta^>) + (Theta~ + 4 K~) <K~, K^>] + b²

The numbers 2 and 4 are those of weight matrices whose own gradients do not vanish.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from theory.stax.affine import check_axes, check_size, written
from theory.stax.block import Block
from theory.stax.layer import Layer, layer_of
from theory.stax.mixing import by_weights, flat_places, full_always, mixed
from theory.stax.positions import PositionalEmbedding, Positions, member
from theory.stax.rule import Rule

HIDDEN = -1e20  # a masked logit: finite, so that a row of nothing else is no NaN


class AttentionMechanism(enum.Enum):
    """What turns logits into weights: the function zeta of a row of logits."""

    SOFTMAX = "SOFTMAX"
    IDENTITY = "IDENTITY"
    ABS = "ABS"
    RELU = "RELU"

    def weights(self, logits: Array, hidden: Array | None, axis: int) -> Array:
        """zeta(logits).

        Args:
          logits: any shape.
          hidden: broadcasts against the logits, True where a key is masked; or None.
          axis: that of the keys.
        """
        if self is AttentionMechanism.SOFTMAX:
            if hidden is not None:
                logits = jnp.where(hidden, HIDDEN, logits)
            return jax.nn.softmax(logits, axis)
        if hidden is not None:
            logits = jnp.where(hidden, 0.0, logits)
        if self is AttentionMechanism.IDENTITY:
            return logits
        return jnp.abs(logits) if self is AttentionMechanism.ABS else jnp.maximum(logits, 0.0)


class Side(NamedTuple):
    """What a cross block must know of one side.

    Attributes:
      nngp: (p_1, q_1, .., N), K(x, x); None with a = 1/2.
      mask: (*space, N), or None.
    """

    nngp: Array | None
    mask: Array | None


def GlobalSelfAttention(
    n_chan_out: int,
    n_chan_key: int,
    n_chan_val: int,
    n_heads: int,
    linear_scaling: bool = True,
    W_key_std: float = 1.0,
    W_value_std: float = 1.0,
    W_query_std: float = 1.0,
    W_out_std: float = 1.0,
    b_std: float | None = None,
    attention_mechanism: str | AttentionMechanism = "SOFTMAX",
    pos_emb_type: str | PositionalEmbedding = "NONE",
    pos_emb_p_norm: float = 2,
    pos_emb_decay_fn: Callable[[Any], Any] | None = None,
    n_chan_pos_emb: int | None = None,
    W_pos_emb_std: float = 1.0,
    val_pos_emb: bool = False,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    """Multi-head self-attention over all places, its output projection included.

    The head of this file has the formulas. Masked places are no keys, and have no embeddings.

    Args:
      n_chan_out: channels of the outputs.
      n_chan_key: channels of keys and queries, of each head.
      n_chan_val: channels of values, of each head.
      n_heads: heads.
      linear_scaling: True: logits over n_chan_key, queries and keys with the same weights; False:
        over its root, with weights of their own, whose limit is known for "IDENTITY" alone.
      W_key_std, W_value_std, W_query_std, W_out_std: standard deviations of weights, each before
        1/sqrt(fan in).
      b_std: standard deviation of the output's biases; None means none.
      attention_mechanism: "SOFTMAX", "IDENTITY", "ABS" or "RELU", of the logits.
      pos_emb_type: "NONE", "SUM" (added to x) or "CONCAT" (beside the channels of x).
      pos_emb_p_norm, pos_emb_decay_fn: embeddings of places i and j have covariance
        pos_emb_decay_fn(sum over axes |i - j|^p); None means 1 where i = j and 0 elsewhere.
      n_chan_pos_emb: channels of embeddings for "CONCAT"; None means as many as x has.
      W_pos_emb_std: standard deviation of embeddings, which are trained.
      val_pos_emb: whether values see embeddings, too.
      batch_axis, channel_axis: 0 and -1; others are refused.

    Raises:
      ValueError: an argument outside of what is described; when used, embeddings to be added that
        have not as many channels as x; `apply_fn` with a pos_emb_decay_fn that is no covariance.
      NotImplementedError: `kernel_fn` without linear scaling, but for "IDENTITY".

    References:
      Hron et al. 2020, Infinite attention: NNGP and NTK for deep attention networks.
    """
    check_axes(batch_axis, channel_axis)
    for value, what in (
        (n_chan_out, "n_chan_out"), (n_chan_key, "n_chan_key"),
        (n_chan_val, "n_chan_val"), (n_heads, "n_heads"),
    ):  # fmt: skip
        check_size(value, what)
    mechanism = member(AttentionMechanism, attention_mechanism, "attention_mechanism")
    positions = Positions(
        member(PositionalEmbedding, pos_emb_type, "pos_emb_type"),
        pos_emb_p_norm, pos_emb_decay_fn, n_chan_pos_emb, W_pos_emb_std,
    )  # fmt: skip
    logit_std, out_std = W_query_std * W_key_std, W_out_std * W_value_std
    bias = 0.0 if b_std is None else b_std**2
    name = written(
        "GlobalSelfAttention", n_chan_out, n_chan_key, n_chan_val, n_heads,
        linear_scaling=(linear_scaling, True), attention_mechanism=(mechanism.value, "SOFTMAX"),
        pos_emb_type=(positions.kind.value, "NONE"), val_pos_emb=(val_pos_emb, False),
    )  # fmt: skip

    def init(rng, shape):
        *before, channels = shape
        rngs = jax.random.split(rng, 6)
        seen = positions.channels_with(channels)
        seen_by_values = seen if val_pos_emb else channels

        def draw(i, *size):
            return jax.random.normal(rngs[i], size)

        query = None if linear_scaling else draw(0, n_heads, seen, n_chan_key)
        key = draw(1, n_heads, seen, n_chan_key)
        value = draw(2, n_heads, seen_by_values, n_chan_val)
        out = draw(3, n_chan_val * n_heads, n_chan_out)
        b = None if b_std is None else draw(4, *(1,) * len(before), n_chan_out)
        embedding = positions.init(rngs[5], tuple(before[1:]), channels)
        return (*before, n_chan_out), (query, key, value, out, b, embedding)

    def apply(params, x, context):
        query, key, value, out, b, embedding = params
        with_positions = positions.apply(embedding, x, context.mask)
        seen_by_values = with_positions if val_pos_emb else x
        n, channels = x.shape[0], with_positions.shape[-1]

        def project(inputs, weights):  # (batch, heads, places, channels)
            return jnp.einsum("npc,hcd->nhpd", inputs.reshape(n, -1, inputs.shape[-1]), weights)

        keys = project(with_positions, key)
        queries = keys if linear_scaling else project(with_positions, query)
        scale = logit_std / (channels * n_chan_key ** (1.0 if linear_scaling else 0.5))
        logits = jnp.einsum("nhpd,nhqd->nhpq", queries, keys) * scale
        hidden = None if context.mask is None else context.mask.reshape(n, 1, 1, -1)
        weights = mechanism.weights(logits, hidden, axis=-1)
        heads = jnp.einsum("nhpq,nhqd->nhpd", weights, project(seen_by_values, value))
        y = jnp.einsum("nhpd,dho->npo", heads, out.reshape(n_chan_val, n_heads, n_chan_out))
        y = y * (out_std / (n_heads * n_chan_val * seen_by_values.shape[-1]) ** 0.5)
        y = y.reshape(*x.shape[:-1], n_chan_out)
        return y if b is None else y + b_std * b

    def infer(facts):
        positions.channels_with(facts.channels)
        if not linear_scaling and mechanism is not AttentionMechanism.IDENTITY:
            raise NotImplementedError(
                f"{name}: no closed form is known for logits over the root of n_chan_key, but for "
                'attention_mechanism "IDENTITY"; use linear_scaling=True'
            )
        return facts.replace(channels=n_chan_out, gaussian=True, is_input=False)

    def statistics(k, mask, pattern):
        return Side(k.nngp if linear_scaling else None, mask)

    def block(k, left, right, facts):
        hidden = _hidden(k, left.mask, right.mask)

        def seen(value):
            return positions.seen(value, facts.channels, hidden, len(k.batch))

        def seen_by_values(value):
            return seen(value) if val_pos_emb else value

        def weights(side):  # (places, places, *batch)
            own = _hidden(k, side.mask, side.mask)
            logits = positions.seen(side.nngp, facts.channels, own, len(k.batch)) * logit_std
            keys = None if side.mask is None else _keys(side.mask, k.rank)
            return mechanism.weights(flat_places(logits, range(k.rank), k.rank), keys, axis=1)

        if linear_scaling:
            of_values = k.with_values(seen_by_values(k.nngp), _maybe(seen_by_values, k.ntk))
            a, b = weights(left), weights(right)
            k = mixed(of_values, range(k.rank), by_weights(a, 0), by_weights(b, 1))
            nngp = out_std**2 * k.nngp
            ntk = None if k.ntk is None else out_std**2 * k.ntk + 2 * nngp + bias
            return k.with_values(nngp + bias, ntk)

        places = tuple(range(2 * k.rank))

        def dot(u, v):
            return (u * v).sum(places, keepdims=True)

        scale = (out_std * logit_std) ** 2
        keys, values = seen(k.nngp), seen_by_values(k.nngp)
        overlap = dot(keys, values)
        nngp = scale * overlap * keys + bias
        if k.ntk is None:
            return k.with_values(nngp, None)
        keys_ntk, values_ntk = seen(k.ntk), seen_by_values(k.ntk)
        both = dot(keys_ntk, values) + dot(keys, values_ntk)
        ntk = scale * (both * keys + overlap * (keys_ntk + 4 * keys)) + bias
        return k.with_values(nngp, ntk)

    return layer_of(Rule(name, init, apply, infer, block, statistics, full_always, ops=8.0))


def _maybe(f: Callable[[Array], Array], value: Array | None) -> Array | None:
    return None if value is None else f(value)


def _hidden(k: Block, left: Array | None, right: Array | None) -> Array | None:
    """Whether x at p or x' at q is masked."""
    if left is None or right is None:
        return _maybe(k.left, left) if right is None else k.right(right)
    return k.left(left) | k.right(right)


def _keys(mask: Array, rank: int) -> Array:
    """(*space, *batch) as (1, places, *batch)."""
    return mask.reshape(1, -1, *mask.shape[rank:])
