"""One process at a time may write to a run's folder."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farwide.runlog.errors import LogError

LOCK = ".lock"


@contextmanager
def lock_directory(path: str | Path) -> Iterator[None]:
    """Hold a folder for this process; a second holder gets LogError "in use by process PID".

    The lock is an advisory `flock` on PATH/.lock, which the operating system releases when its
    holder ends in any way, SIGKILL included; the file itself stays. It holds between processes of
    one machine, and between machines where the file system carries flock (NFS since version 4).
    The folder is created when absent.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    # Not inheritable, so a program that we start cannot keep the lock after we are gone.
    descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip()
            raise LogError(path, f"in use by process {holder or '(starting)'}") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode())
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
