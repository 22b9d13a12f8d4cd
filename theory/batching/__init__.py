"""Kernel matrices in tiles: over devices, into host memory, or into a file that can be resumed."""

from theory.batching.batch import batch
from theory.batching.stream import stream_kernel

__all__ = ["batch", "stream_kernel"]
