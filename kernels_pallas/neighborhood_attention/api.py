"""The public neighborhood attention: check the call, choose an implementation, run it."""

from __future__ import annotations

from collections.abc import Sequence

from jax import Array
from jaxtyping import Bool, Float

from kernels_pallas import dispatch
from kernels_pallas.neighborhood_attention.call import Call, check_call


def _backend(name: str) -> dispatch.Implementation:
    module = f"kernels_pallas.neighborhood_attention.{name}"
    return dispatch.Implementation(dispatch.refused_by(module), module)


def _plain(name: str) -> dispatch.Implementation:
    return dispatch.Implementation(dispatch.always, f"kernels_pallas.neighborhood_attention.{name}")


# Best first, as far as measured: no device has timed the Pallas kernels yet, so they run when they
# are named, and "xla" is the choice for everything else.
IMPLEMENTATIONS: dispatch.Table = {
    "xla": _plain("xla"),
    "mosaic_gpu": _backend("mosaic_gpu"),
    "triton": _backend("triton"),
    "mosaic_tpu": _backend("mosaic_tpu"),
    "reference": _plain("reference"),
}
OPERANDS = ("q", "k", "v", "additional_keys", "additional_values", "mask", "bias")


def neighborhood_attention(
    q: Float[Array, "batch *space heads head_dim"],
    k: Float[Array, "batch *space kv_heads head_dim"],
    v: Float[Array, "batch *space kv_heads value_dim"],
    *,
    window: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    stride: int | Sequence[int] = 1,
    causal: bool | Sequence[bool] = False,
    scale: float | None = None,
    additional_keys: Float[Array, "batch additional kv_heads head_dim"] | None = None,
    additional_values: Float[Array, "batch additional kv_heads value_dim"] | None = None,
    mask: Bool[Array, "batch *space"] | None = None,
    bias: Float[Array, "heads *offsets"] | None = None,
    return_lse: bool = False,
    implementation: str | None = None,
) -> (
    Float[Array, "batch *space heads value_dim"]
    | tuple[Float[Array, "batch *space heads value_dim"], Float[Array, "batch *space heads"]]
):
    """Attention in which every query attends a window of keys around it, in 1, 2 or 3 dimensions.

        out[i] = sum_j softmax_j( scale q[i].k[j] + bias[j - i] ) v[j],   j in neighbours(i)

    On an axis of length L with dilation d, query i is at place p = i // d of the n = ceil((L-g)/d)
    places of its group g = i mod d, and attends the keys of its group at places a <= t < b:

        not causal  lead = min((p // s) s + s // 2, n - 1);  a = clip(lead - w // 2, 0, n - w);
                    b = a + w: always exactly w keys, the window moved inside at the borders
        causal      lead = min((p // s) s + s - 1, n - 1);  a = max(lead - (w - 1), 0);  b = p + 1

    A neighbourhood is the product of the axes' intervals. An even window has w/2 keys to the left
    and w/2 - 1 to the right. Stride s moves the window once every s queries; s = w is blocked
    attention. A window of the whole length, not causal, is plain attention. Query head h attends
    key head h // (heads / kv_heads). "xla" and "reference" are differentiable in every mode, the
    Pallas kernels in reverse mode, to any order.

    Args:
      q: queries (batch, *space, heads, head_dim), one to three axes of space; float16, bfloat16,
        float32 or float64.
      k, v: keys and values (batch, *space, kv_heads, head_dim | value_dim) of q's dtype; kv_heads
        divides heads.
      window: w, keys on each axis: int, or one per axis; >= 2, window * dilation <= length.
      dilation: d >= 1, int or one per axis.
      stride: s, 1 to window, int or one per axis.
      causal: bool, or one per axis.
      scale: multiplies q.k; None is head_dim ** -0.5, and 0.0 is 0.0.
      additional_keys, additional_values: (batch, additional, kv_heads, head_dim | value_dim), seen
        by every query beside its neighbourhood; both or neither.
      mask: (batch, *space) bool, True where a key is valid; does not touch additional keys. A query
        with no valid key gives 0, lse -inf and gradient 0.
      bias: (heads, 2 w_1 - 1, ..), added to the scores: entry (key place - query place) + w - 1 on
        each axis; not to those of additional keys.
      return_lse: return the log-sum-exp of the scores as well; it is differentiable.
      implementation: None for the best that supports the call (by what has been measured so far
        that is "xla"), or by name: "xla" (any platform), "reference" (the definition, dense),
        "mosaic_gpu" (NVIDIA Hopper, 16-bit), "triton" (NVIDIA GPUs), "mosaic_tpu" (TPUs).

    Returns:
      out (batch, *space, heads, value_dim) in q's dtype; with return_lse (out, lse), lse
      (batch, *space, heads) in float32 (float64 for float64), natural logarithm.

    Raises:
      TypeError: an operand is no array, has a dtype that is not accepted or not q's, or a bool or
        an int is something else.
      ValueError: a shape, an option out of its range, or a named implementation that cannot serve
        the call; the message names the argument, its value and what is accepted.

    Reference: Hassani et al. 2023, "Neighborhood Attention Transformer"; Hassani and Shi 2022,
    "Dilated Neighborhood Attention Transformer"; Hassani et al. 2025, "Generalized Neighborhood
    Attention" (stride).
    """
    call, operands = check_call(
        q, k, v, additional_keys, additional_values, mask, bias,
        window=window, dilation=dilation, stride=stride, causal=causal, scale=scale,
        return_lse=return_lse,
    )  # fmt: skip
    name = dispatch.choose("neighborhood_attention", IMPLEMENTATIONS, call, implementation)
    forward = dispatch.load(IMPLEMENTATIONS, name)
    out, lse = forward(call, *(operands.get(name) for name in OPERANDS))
    return (out, lse) if return_lse else out


__all__ = ["IMPLEMENTATIONS", "Call", "neighborhood_attention"]
