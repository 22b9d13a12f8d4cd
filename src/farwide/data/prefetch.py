"""The next batches, made while the last one is learned from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from farwide.data.task import Batch, Task
from farwide.validate import at_least


def batches(task: Task, size: int, *, start: int = 0, ahead: int = 2) -> Iterator[Batch]:
    """Training batches from a position on, without end, made by a thread a little ahead.

    The same batches as `task.train(start + i * size, size)`: how far the thread is plays no part,
    so a checkpoint stores `start` + size times the batches taken, and nothing else. NumPy lets go
    of the interpreter in most of its work, so one thread hides the making of data behind a step
    on a device.

    Args:
      task: what to train on.
      size: of a batch.
      start: number of the first example.
      ahead: batches ready at most.

    Returns:
      An endless iterator; closing it, or leaving it to be collected, ends the thread.

    Raises:
      ValueError: an argument is out of range. What `task.train` raises is raised by `next`.
    """
    at_least(1, size=size, ahead=ahead)
    at_least(0, start=start)
    return _batches(task, size, start, ahead)


def _batches(task: Task, size: int, start: int, ahead: int) -> Iterator[Batch]:
    position = start
    ready: deque[Future[Batch]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="farwide-data")
    try:
        while True:
            while len(ready) < ahead:
                ready.append(pool.submit(task.train, position, size))
                position += size
            yield ready.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
