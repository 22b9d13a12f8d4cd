"""Kernels of an architecture on many examples, in tiles, float64."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

KERNELS = ("ntk", "nngp")


class Tiles:
    """NTK and NNGP of one kernel function between two sets, one tile after another.

    All tiles have one shape (short ones are filled up), so that there are two compilations. Of a
    set with itself the tiles below the diagonal are mirrored.
    """

    def __init__(self, kernel_fn: Callable, tile: int = 64) -> None:
        self.tile = tile
        self._own = jax.jit(lambda a: kernel_fn(a, None, KERNELS))
        self._cross = jax.jit(lambda a, b: kernel_fn(a, b, KERNELS))

    def own(self, x: np.ndarray, moved: Callable[[int], None]) -> dict[str, np.ndarray]:
        """name -> (N, N); `moved` is told the entries of every tile."""
        found = {name: np.empty((len(x), len(x))) for name in KERNELS}
        with jax.enable_x64(True):
            starts = range(0, len(x), self.tile)
            for i in starts:
                for j in starts:
                    if j >= i:
                        pair = (
                            (self._fill(x, i),) if i == j else (self._fill(x, i), self._fill(x, j))
                        )
                        K = (self._own if i == j else self._cross)(*pair)
                        self._put(found, K, i, j)
                        for each in found.values() if i != j else ():
                            part = each[i : i + self.tile, j : j + self.tile]
                            each[j : j + self.tile, i : i + self.tile] = part.T
                        moved(self.tile**2)
        return found

    def cross(
        self, a: np.ndarray, b: np.ndarray, moved: Callable[[int], None]
    ) -> dict[str, np.ndarray]:
        """name -> (len(a), len(b))."""
        found = {name: np.empty((len(a), len(b))) for name in KERNELS}
        with jax.enable_x64(True):
            for i in range(0, len(a), self.tile):
                for j in range(0, len(b), self.tile):
                    self._put(found, self._cross(self._fill(a, i), self._fill(b, j)), i, j)
                    moved(self.tile**2)
        return found

    def entries(self, rows: int, columns: int | None = None) -> int:
        """Entries that `own` (columns None) or `cross` compute."""
        r = -(-rows // self.tile)
        tiles = r * (r + 1) // 2 if columns is None else r * -(-columns // self.tile)
        return tiles * self.tile**2

    def _fill(self, x: np.ndarray, start: int) -> np.ndarray:
        """A tile's examples; the last one is repeated where there are too few."""
        return x[np.minimum(np.arange(start, start + self.tile), len(x) - 1)]

    def _put(self, found: dict[str, np.ndarray], K, i: int, j: int) -> None:
        for name, each in found.items():
            place = each[i : i + self.tile, j : j + self.tile]
            place[:] = np.asarray(getattr(K, name))[: place.shape[0], : place.shape[1]]
