"""Inputs and parameters of the golden values.

Both are draws of NumPy's RandomState, whose streams are the same in every version. Inputs are
stored with the values all the same; parameters, which follow from their shapes, are drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

MASK = 100.0  # the mask constant of masked inputs


class Problem(NamedTuple):
    """Two sets of inputs and the keyword arguments that a kernel function takes with them.

    Attributes:
      x1, x2: float64 (N, *space, channels), or tuples of them.
      pattern1, pattern2: graphs, or None.
      mask_constant: of masked inputs, or None.
    """

    x1: Any
    x2: Any
    pattern1: Any = None
    pattern2: Any = None
    mask_constant: float | None = None

    def options(self, same: bool) -> dict[str, Any]:
        """Keyword arguments of kernel_fn; `same`: whether x2 is left out."""
        options: dict[str, Any] = {}
        if self.mask_constant is not None:
            options["mask_constant"] = self.mask_constant
        if self.pattern1 is not None:
            options["pattern"] = (self.pattern1, self.pattern1 if same else self.pattern2)
        return options

    def finite_options(self) -> dict[str, Any]:
        """Keyword arguments of apply_fn on x1 (a layer that is random when trained wants a key)."""
        options = self.options(True)
        if "pattern" in options:
            options["pattern"] = self.pattern1
        return {**options, "rng": jax.random.PRNGKey(0)}


def flattened(problem: Problem) -> dict[str, np.ndarray]:
    """A problem as arrays by name; `read` is the way back."""
    parts = {}
    for name, value in problem._asdict().items():
        if isinstance(value, tuple):
            parts |= {f"{name}/{i}": part for i, part in enumerate(value)}
        elif value is not None:
            parts[name] = np.asarray(value)
    return parts


def read(arrays: Mapping[str, np.ndarray], name: str) -> Problem:
    """The problem `name` of the stored inputs."""
    parts = {}
    for field in Problem._fields:
        key = f"inputs/{name}/{field}"
        if key in arrays:
            parts[field] = arrays[key]
        elif f"{key}/0" in arrays:
            parts[field] = tuple(arrays[f"{key}/{i}"] for i in range(2))
    if "mask_constant" in parts:
        parts["mask_constant"] = float(parts["mask_constant"])
    return Problem(**parts)


def fill(params: Any) -> Any:
    """Parameters of the same shapes, standard normal, drawn leaf after leaf."""
    rng = np.random.RandomState(1)
    return jax.tree_util.tree_map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), params)


def draw() -> dict[str, Problem]:
    """Every problem: 4 examples against 3."""
    rng = np.random.RandomState(20261122)

    def pair(*shape: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.standard_normal((4, *shape)), rng.standard_normal((3, *shape))

    def masked(x: np.ndarray, share: float) -> np.ndarray:
        hidden = rng.uniform(size=x.shape[:-1]) < share
        hidden[(slice(None),) + (0,) * (hidden.ndim - 1)] = False  # no example is all padding
        return np.where(hidden[..., None], MASK, x)

    def edges(count: int, nodes: int, n: int) -> np.ndarray:
        drawn = rng.randint(0, nodes, (n, count, 1, 2))
        drawn[0, -2:] = -1  # padding
        return drawn

    def adjacency(*nodes: int) -> tuple[np.ndarray, np.ndarray]:
        def of(n: int) -> np.ndarray:
            shape = (n, *nodes, *nodes)
            return rng.uniform(-0.5, 1.0, shape) * (rng.uniform(size=shape) < 0.5)

        return of(4), of(3)

    def masked_pair(*shape: int) -> tuple[np.ndarray, np.ndarray]:
        x1, x2 = pair(*shape)
        return masked(x1, 0.3), masked(x2, 0.3)

    flat, other = pair(6), pair(4)
    sequences, nodes = pair(7, 3), pair(6, 3)
    images, small, rows, pixels = pair(5, 5, 3), pair(4, 3, 3), pair(4, 3, 2), pair(3, 2, 3)
    return {
        "flat": Problem(*flat),
        "pair": Problem((flat[0], other[0]), (flat[1], other[1])),
        "sequences": Problem(*sequences),
        "images": Problem(*images),
        "small_images": Problem(*small),
        "even_images": Problem(*pair(6, 4, 3)),
        "volumes": Problem(*pair(3, 3, 4, 2)),
        "masked_sequences": Problem(*masked_pair(7, 3), mask_constant=MASK),
        "masked_images": Problem(*masked_pair(5, 5, 3), mask_constant=MASK),
        "graphs": Problem(*nodes, *adjacency(6)),
        "sparse_graphs": Problem(*nodes, edges(9, 6, 4), edges(9, 6, 3)),
        "row_graphs": Problem(*rows, *adjacency(4)),
        "pixel_graphs": Problem(*pixels, *adjacency(3, 2)),
        "masked_graphs": Problem(*masked_pair(6, 3), *adjacency(6), mask_constant=MASK),
    }
