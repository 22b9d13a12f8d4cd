"""Neighborhood attention on a CPU by other libraries, on the same operands and the same mask.

`torch SDPA`: scaled_dot_product_attention with the neighbourhood as an additive mask made
beforehand (additive, heads first and contiguous is what it runs fastest on). `torch flex`: compiled
flex_attention with the same mask, forward alone, which is all that it has on a CPU. `natten flex`:
NATTEN's own path for a CPU, which it runs uncompiled, forward alone. `jax dense`: masked
jax.nn.dot_product_attention.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from kernels_pallas.neighborhood_attention import windows


class Case(NamedTuple):
    """One attention: query, key and value heads alike; float32; not causal, stride 1."""

    space: tuple[int, ...]
    window: tuple[int, ...]
    dilation: tuple[int, ...]
    heads: int = 4
    head_dim: int = 32
    batch: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """(batch, *space, heads, head_dim)."""
        return (self.batch, *self.space, self.heads, self.head_dim)


def operands(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    """Standard normal float32 q, k, v and the cotangent g."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(case.shape).astype(np.float32) for name in "qkvg"}


def attended(case: Case) -> np.ndarray:
    """bool (tokens, tokens): which key (second) each query (first) attends."""
    whole = np.ones((1, 1), bool)
    for length, window, dilation in zip(case.space, case.window, case.dilation, strict=True):
        i = np.arange(length)
        place, n = i // dilation, windows.group_length(length, dilation, i % dilation)
        first = windows.start(place, n, window, 1, False)[:, None]
        near = (first <= place) & (place < first + window) & (i[:, None] % dilation == i % dilation)
        whole = (whole[:, None, :, None] & near[None, :, None, :]).reshape(
            whole.shape[0] * length, -1
        )
    return whole


def heads_first(case: Case, array: Any) -> Any:
    """(batch, *space, heads, head_dim) -> (batch, heads, tokens, head_dim)."""
    return array.reshape(case.batch, -1, case.heads, case.head_dim).swapaxes(1, 2)


def jax_dense(case: Case) -> Callable[..., jax.Array]:
    """(q, k, v) -> out by masked dense attention in JAX."""
    mask = jax.numpy.asarray(attended(case))[None, None]

    def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        flat = (a.reshape(case.batch, -1, case.heads, case.head_dim) for a in (q, k, v))
        return jax.nn.dot_product_attention(*flat, mask=mask).reshape(q.shape)

    return attend


def torch_tensors(case: Case, arrays: dict[str, np.ndarray], backward: bool) -> tuple[list, Any]:
    """q, k, v heads first and contiguous, and the cotangent."""
    import torch  # pyright: ignore[reportMissingImports]

    placed = [torch.tensor(heads_first(case, arrays[n]).copy()) for n in "qkvg"]
    for tensor in placed[:3]:
        tensor.requires_grad_(backward)
    return placed[:3], placed[3]


def torch_run(attend: Callable, tensors: list, g: Any, backward: bool) -> Callable[[], Any]:
    """What is timed: the output, and the gradients of q, k, v where backward."""
    import torch  # pyright: ignore[reportMissingImports]

    def run() -> Any:
        if not backward:
            with torch.no_grad():
                return attend(*tensors)
        out = attend(*tensors)
        return out, torch.autograd.grad(out, tensors, g)

    return run


def torch_sdpa(case: Case, arrays: dict[str, np.ndarray], backward: bool) -> Callable[[], Any]:
    """Scaled dot product attention with an additive mask."""
    import torch  # pyright: ignore[reportMissingImports]

    allowed = torch.tensor(attended(case))
    mask = torch.zeros(allowed.shape).masked_fill_(~allowed, float("-inf"))
    tensors, g = torch_tensors(case, arrays, backward)
    attention = torch.nn.functional.scaled_dot_product_attention
    return torch_run(lambda q, k, v: attention(q, k, v, attn_mask=mask), tensors, g, backward)


def torch_flex(case: Case, arrays: dict[str, np.ndarray]) -> Callable[[], Any]:
    """Compiled flex_attention over the same mask, its block mask made beforehand; forward."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch.nn.attention.flex_attention import (  # pyright: ignore[reportMissingImports]
        create_block_mask,
        flex_attention,
    )

    allowed = torch.tensor(attended(case))
    tokens = allowed.shape[0]
    blocks = create_block_mask(
        lambda b, h, i, j: allowed[i, j], None, None, tokens, tokens, device="cpu"
    )
    compiled = torch.compile(flex_attention, dynamic=False)
    tensors, g = torch_tensors(case, arrays, False)
    return torch_run(lambda q, k, v: compiled(q, k, v, block_mask=blocks), tensors, g, False)


def natten_flex(case: Case, arrays: dict[str, np.ndarray]) -> Callable[[], Any]:
    """NATTEN's flex path, in its own layout, forward."""
    import torch  # pyright: ignore[reportMissingImports]
    from natten import functional  # pyright: ignore[reportMissingImports]

    attention = getattr(functional, f"na{len(case.space)}d")
    tensors = [torch.tensor(arrays[n]) for n in "qkv"]
    options = {"kernel_size": case.window, "dilation": case.dilation, "backend": "flex-fna"}
    return torch_run(lambda q, k, v: attention(q, k, v, **options), tensors, None, False)


def torch_functions(
    case: Case, arrays: dict[str, np.ndarray], backward: bool, few: bool
) -> dict[str, Callable[[], Any]]:
    """Every peer of PyTorch that is installed, by name; `few` leaves out those slow to start."""
    if importlib.util.find_spec("torch") is None:
        return {}
    made = {"torch SDPA": torch_sdpa(case, arrays, backward)}
    if not backward and not few:
        made["torch flex"] = torch_flex(case, arrays)
        if importlib.util.find_spec("natten") is not None:
            made["natten flex"] = natten_flex(case, arrays)
    return made
