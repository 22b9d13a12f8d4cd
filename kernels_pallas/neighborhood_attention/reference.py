"""The definition of neighborhood attention: dense scores, a mask, a softmax. Naive and right.

Memory and time grow with the square of the number of tokens. Any precision: float64 is computed in
float64, everything narrower in float32 and rounded once.
"""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import Array

from kernels_pallas.neighborhood_attention import windows
from kernels_pallas.validate import compute_dtype


def forward(
    call,
    q: Array,
    k: Array,
    v: Array,
    additional_keys: Array | None,
    additional_values: Array | None,
    mask: Array | None,
    bias: Array | None,
) -> tuple[Array, Array]:
    """(out, lse) of a checked call; operands as `neighborhood_attention`."""
    dtype, wide = q.dtype, compute_dtype(q.dtype)
    tokens, group = int(np.prod(call.space)), call.heads // call.kv_heads
    attended, offsets = neighbours(call)
    multiply = partial(jnp.einsum, precision="highest")
    q = q.reshape(call.batch, tokens, call.kv_heads, group, call.head_dim).astype(wide)
    k = k.reshape(call.batch, tokens, call.kv_heads, call.head_dim).astype(wide)
    v = v.reshape(call.batch, tokens, call.kv_heads, call.value_dim).astype(wide)
    if mask is not None:  # what is masked is never read: neither a NaN nor a gradient passes
        mask = mask.reshape(call.batch, tokens)
        k, v = (jnp.where(mask[..., None, None], a, 0) for a in (k, v))

    scores = call.scale * multiply("bqhgd,bkhd->bhgqk", q, k)
    if bias is not None:
        relative = bias.reshape(call.kv_heads, group, -1).astype(wide)[:, :, offsets]
        scores = scores + relative
    allowed = attended[None]
    if mask is not None:
        allowed = allowed & mask[:, None]
    scores = jnp.where(allowed[:, None, None], scores, -jnp.inf)
    if additional_keys is not None and additional_values is not None:
        extra = multiply("bqhgd,bshd->bhgqs", q, additional_keys.astype(wide))
        scores = jnp.concatenate([scores, call.scale * extra], -1)
        v = jnp.concatenate([v, additional_values.astype(wide)], 1)

    largest = scores.max(-1, keepdims=True)
    some = largest > -jnp.inf  # a query with no valid key gives 0, and no NaN in any derivative
    weights = jnp.exp(jnp.where(some, scores - jnp.where(some, largest, 0), -jnp.inf))
    total = weights.sum(-1, keepdims=True)
    probabilities = weights / jnp.where(some, total, 1)
    out = multiply("bhgqk,bkhd->bqhgd", probabilities, v)
    lse = jnp.where(some, jnp.log(jnp.where(some, total, 1)) + largest, -jnp.inf)[..., 0]
    out = out.reshape(call.batch, *call.space, call.heads, call.value_dim).astype(dtype)
    lse = lse.transpose(0, 3, 1, 2).reshape(call.batch, *call.space, call.heads)
    return out, lse


def neighbours(call) -> tuple[np.ndarray, np.ndarray]:
    """Which key each query attends, and the flat index of the bias between them.

    Returns:
      attended: bool (tokens, tokens), query by key.
      offsets: int (tokens, tokens), into a bias (2 w_1 - 1) ... (2 w_r - 1) laid flat; 0 where the
        query does not attend the key.
    """
    attended = np.ones((1, 1), bool)
    offsets = np.zeros((1, 1), int)
    for length, w, d, s, causal in zip(
        call.space, call.window, call.dilation, call.stride, call.causal, strict=True
    ):
        i = np.arange(length)
        place, n = i // d, windows.group_length(length, d, i % d)
        first = windows.start(place, n, w, s, causal)[:, None]
        stop = windows.end(place, n, w, s, causal)[:, None]
        near = (i[:, None] % d == i % d) & (first <= place) & (place < stop)
        offset = np.where(near, place - place[:, None] + w - 1, 0)
        attended = np.kron(attended, near).astype(bool)
        ones = np.ones((length, length), int)
        offsets = np.kron(offsets * (2 * w - 1), ones) + np.kron(np.ones_like(offsets), offset)
    return attended, np.where(attended, offsets, 0)


__all__ = ["forward", "neighbours"]
