"""Fixed-length windows of a byte array: a batch is a pure function of (seed, position).

Windows do not overlap and each is used once, so no byte is predicted twice within a budget, and
the position (number of windows taken so far) is all that a checkpoint needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Windows:
    """Windows of `length` bytes of `data` in an order set by `seed`.

    Window i covers inputs `data[i*length : (i+1)*length]` and targets one byte later.
    """

    def __init__(self, data: np.ndarray, length: int, *, seed: int | Sequence[int]) -> None:
        if data.ndim != 1 or data.dtype != np.uint8:
            raise ValueError(f"data is {data.dtype}{list(data.shape)}; accepted is uint8[bytes]")
        if length < 1:
            raise ValueError(f"length is {length}; accepted is at least 1")
        self.data = data
        self.length = length
        self.count = max(0, (len(data) - 1) // length)
        self._order = np.random.Generator(np.random.Philox(seed)).permutation(self.count)

    def require(self, windows: int) -> None:
        """Raise ValueError unless the data has that many windows: nothing is ever repeated."""
        if windows > self.count:
            raise ValueError(
                f"the token budget asks for {windows} windows of {self.length} bytes; the training "
                f"data has {self.count}. Use a larger corpus or a smaller budget"
            )

    def batch(self, position: int, size: int) -> np.ndarray:
        """Windows number `position` to `position + size` of the order, (size, length + 1) int32.

        Raises:
            ValueError: the data has fewer windows.
        """
        if position < 0 or size < 1:
            raise ValueError(
                f"position is {position} and size {size}; accepted is position >= 0 and size >= 1"
            )
        self.require(position + size)
        return _gather(self.data, self._order[position : position + size], self.length)


def validation_windows(data: np.ndarray, length: int, count: int) -> np.ndarray:
    """`count` windows spread evenly over `data`, (count, length + 1) int32; all where fewer exist.

    Raises:
        ValueError: `data` is shorter than one window.
    """
    available = max(0, (len(data) - 1) // length)
    if available == 0:
        raise ValueError(
            f"the validation side has {len(data)} bytes; one window of {length} needs {length + 1}"
        )
    chosen = np.linspace(0, available - 1, min(count, available)).round().astype(np.int64)
    return _gather(data, np.unique(chosen), length)


def _gather(data: np.ndarray, windows: np.ndarray, length: int) -> np.ndarray:
    offsets = windows[:, None] * length + np.arange(length + 1)
    return data[offsets].astype(np.int32)
