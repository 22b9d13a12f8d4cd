"""Neighborhood attention on a GPU: ours by implementation, and what it is measured beside.

`dense`: attention of every query over every key, no mask, by cuDNN's flash attention through
jax.nn.dot_product_attention. `torch flex`: compiled flex_attention with the same neighbourhood as a
block mask. It is given operands whose tokens are permuted already, so that a block of 128 tokens is
a box of `tile` places, and its block mask is made beforehand: neither is timed.

A problem is the `Call` of kernels_pallas/neighborhood_attention/api.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.long_conv_peers import torch_clock
from kernels_pallas.neighborhood_attention import windows
from kernels_pallas.neighborhood_attention.api import Call
from kernels_pallas.neighborhood_attention.reference import forward as reference

OURS = ("mosaic_gpu", "triton", "xla")
DENSE, FLEX = "dense", "torch flex"
NAMES = (*OURS, DENSE, FLEX)
PASSES = ("forward", "forward+backward")
INTERPRETED = ("mosaic_gpu", "triton")  # those that take `interpret`


def shapes(call: Call) -> dict[str, tuple[int, ...]]:
    """Of q, k, v, the additional keys and values, and the cotangents, by name."""
    lead = (call.batch, *call.space)
    made = {
        "q": (*lead, call.heads, call.head_dim),
        "k": (*lead, call.kv_heads, call.head_dim),
        "v": (*lead, call.kv_heads, call.value_dim),
    }
    if call.additional:
        extra = (call.batch, call.additional, call.kv_heads)
        made["additional_keys"] = (*extra, call.head_dim)
        made["additional_values"] = (*extra, call.value_dim)
    return made | {"do": (*lead, call.heads, call.value_dim), "dlse": (*lead, call.heads)}


def ours(name: str, call: Call, interpret: bool = False) -> Callable[..., Any]:
    """(operands by name, mask) -> (out, lse) by one of our implementations.

    Raises:
      ValueError: it does not support the call; the reason.
    """
    module = import_module(f"kernels_pallas.neighborhood_attention.{name}")
    reason = module.unsupported(call) if name in INTERPRETED else None
    if reason:
        raise ValueError(f"{name} does not support the call: {reason}")
    forward = module.forward
    if name in INTERPRETED:
        forward = partial(forward, interpret=interpret)

    def attend(given: dict[str, jax.Array], mask: jax.Array | None = None) -> Any:
        extra = given.get("additional_keys"), given.get("additional_values")
        return forward(call, given["q"], given["k"], given["v"], *extra, mask, None)

    return attend


def errors(name: str, call: Call, interpret: bool = False) -> dict[str, float]:
    """Relative L2 error of out, lse and every gradient against the definition in float64."""
    rng = np.random.default_rng(0)
    host = {n: rng.standard_normal(shape) for n, shape in shapes(call).items()}
    wide = {n: "float32" if n == "dlse" else call.dtype for n in host}
    mask = rng.random((call.batch, *call.space)) < 0.7 if call.has_mask else None

    def both(attend: Callable, given: dict, cotangents: Any, mask: Any) -> Any:
        values, pull = jax.vjp(lambda operands: attend(operands, mask), given)
        return values, pull(cotangents)[0]

    def split(placed: dict) -> tuple[dict, tuple]:
        given = {n: a for n, a in placed.items() if n not in ("do", "dlse")}
        return given, (placed["do"], placed["dlse"])

    placed = {n: jnp.asarray(a, wide[n]) for n, a in host.items()}
    attend = ours(name, call, interpret)
    (out, lse), slopes = jax.jit(partial(both, attend))(*split(placed), mask)
    found = {"out": out, "lse": lse, **slopes}
    found = {n: np.asarray(a.astype(jnp.float32), np.float64) for n, a in found.items()}

    rounded = {n: np.asarray(a.astype(jnp.float32), np.float64) for n, a in placed.items()}
    with jax.enable_x64(True):

        def exact(given: dict, mask: Any) -> Any:
            extra = given.get("additional_keys"), given.get("additional_values")
            exactly = call._replace(dtype="float64")
            return reference(exactly, given["q"], given["k"], given["v"], *extra, mask, None)

        doubles = {n: jnp.asarray(a, "float64") for n, a in rounded.items()}
        (out, lse), slopes = jax.jit(partial(both, exact))(*split(doubles), mask)
        expected = {n: np.asarray(a) for n, a in {"out": out, "lse": lse, **slopes}.items()}
    return {n: float(np.linalg.norm(found[n] - e) / np.linalg.norm(e)) for n, e in expected.items()}


def sampled_error(call: Call, arrays: dict[str, Any], out: Any, samples: int = 6) -> float:
    """Relative L2 error of a few queries' results at full size, first head, in NumPy float64."""
    host = {n: np.asarray(arrays[n][0, ..., 0, :].astype(jnp.float32), np.float64) for n in "qkv"}
    result = np.asarray(out[0, ..., 0, :].astype(jnp.float32), np.float64)
    rng = np.random.default_rng(1)
    places = [(0,) * len(call.space), tuple(n - 1 for n in call.space)]
    places += [tuple(rng.integers(call.space)) for _ in range(samples - 2)]
    square = norm = 0.0
    for place in places:
        box = []
        for axis, i in enumerate(place):
            d, rule = call.dilation[axis], (call.window[axis], call.stride[axis], call.causal[axis])
            n = windows.group_length(call.space[axis], d, i % d)
            first, stop = (f(i // d, n, *rule) for f in (windows.start, windows.end))
            box.append(slice(i % d + d * int(first), i % d + d * (int(stop) - 1) + 1, d))
        k, v = (host[n][tuple(box)].reshape(-1, host[n].shape[-1]) for n in "kv")
        score = call.scale * (k @ host["q"][place])
        weight = np.exp(score - score.max())
        expected = weight @ v / weight.sum()
        square += float(((result[place] - expected) ** 2).sum())
        norm += float((expected**2).sum())
    return math.sqrt(square / norm)


def jax_timer(
    name: str, call: Call, backward: bool, interpret: bool = False
) -> tuple[Callable[[int], float], Callable[[], float | None]]:
    """calls -> seconds a call, and the error of what was timed (None of the dense one)."""

    @jax.jit
    def drawn(key: jax.Array) -> dict[str, jax.Array]:
        wanted = {n: s for n, s in shapes(call).items() if n != "dlse"}
        keys = dict(zip(wanted, jax.random.split(key, len(wanted)), strict=True))
        return {n: jax.random.normal(keys[n], s, call.dtype) for n, s in wanted.items()}

    if name == DENSE:
        flash = "cudnn" if jax.default_backend() == "gpu" else "xla"

        def attend(given: dict[str, jax.Array]) -> jax.Array:
            flat = (given[n].reshape(call.batch, -1, *given[n].shape[-2:]) for n in "qkv")
            out = jax.nn.dot_product_attention(*flat, scale=call.scale, implementation=flash)
            return out.reshape(*given["q"].shape[:-1], call.value_dim)
    else:
        both = ours(name, call, interpret)

        def attend(given: dict[str, jax.Array]) -> jax.Array:
            return both(given)[0]

    def with_gradients(given: dict[str, jax.Array], do: jax.Array) -> Any:
        out, pull = jax.vjp(attend, given)
        return out, pull(do)

    placed = jax.block_until_ready(drawn(jax.random.key(0)))
    do = placed.pop("do")
    run = jax.jit(with_gradients if backward else attend)
    operands = (placed, do) if backward else (placed,)

    def timed(calls: int) -> float:
        start, result = time.perf_counter(), None
        for _ in range(calls):
            result = run(*operands)
        jax.block_until_ready(result)
        return (time.perf_counter() - start) / calls

    def error() -> float | None:
        if name == DENSE:
            return None
        made = run(*operands)
        return sampled_error(call, placed, made[0] if backward else made)

    return timed, error


def place_of(index: Any, space: tuple[int, ...], tile: tuple[int, ...]) -> list[Any]:
    """The place on each axis of a token by its number, boxes of `tile` places being contiguous."""
    size = math.prod(tile)
    inside, outside = index % size, index // size
    places = []
    for length, extent in zip(reversed(space), reversed(tile), strict=True):
        boxes = length // extent
        places.append((outside % boxes) * extent + inside % extent)
        inside, outside = inside // extent, outside // boxes
    return places[::-1]


def neighbour_rule(call: Call, tile: tuple[int, ...]) -> Callable[..., Any]:
    """(batch, head, query number, key number) -> whether the query attends the key.

    For integers of PyTorch or NumPy alike.

    Raises:
      ValueError: a dilation, a causal axis, or a tile that does not divide the space.
    """
    if max(call.dilation) > 1 or any(call.causal):
        raise ValueError(f"dilation is {call.dilation}, causal {call.causal}; accepted: neither")
    if any(length % extent for length, extent in zip(call.space, tile, strict=True)):
        raise ValueError(f"tile is {tile}; accepted: divisors of {call.space}")

    def attends(_b: Any, _h: Any, query: Any, key: Any) -> Any:
        near: Any = None
        axes = zip(call.space, call.window, call.stride, strict=True)
        places = zip(
            place_of(query, call.space, tile), place_of(key, call.space, tile), strict=True
        )
        for (length, window, stride), (i, j) in zip(axes, places, strict=True):
            lead = ((i // stride) * stride + stride // 2).clip(max=length - 1)
            first = (lead - window // 2).clip(min=0, max=length - window)
            one = (j >= first) & (j < first + window)
            near = one if near is None else near & one
        return near

    return attends


def torch_timer(call: Call, tile: tuple[int, ...], backward: bool) -> Callable[[int], float]:
    """calls -> seconds a call of compiled flex_attention, between CUDA events on a GPU."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch.nn.attention.flex_attention import (  # pyright: ignore[reportMissingImports]
        create_block_mask,
        flex_attention,
    )

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokens = math.prod(call.space)
    rule = neighbour_rule(call, tile)
    blocks = create_block_mask(
        rule, None, None, tokens, tokens, device=device, _compile=device == "cuda"
    )
    attention = torch.compile(flex_attention, dynamic=False)
    torch.manual_seed(0)
    shape = (call.batch, call.heads, tokens, call.head_dim)
    dtype = getattr(torch, call.dtype)
    q, k, v, g = (torch.randn(shape, device=device, dtype=dtype) for _ in range(4))
    for tensor in (q, k, v):
        tensor.requires_grad_(backward)

    def run() -> Any:
        if not backward:
            with torch.no_grad():
                return attention(q, k, v, block_mask=blocks, scale=call.scale)
        out = attention(q, k, v, block_mask=blocks, scale=call.scale)
        return out, torch.autograd.grad(out, (q, k, v), g)

    return torch_clock(run, device)
