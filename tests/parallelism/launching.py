"""Start programs of tests as processes of their own, alone or together over loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """This process's, with the tree on the path and a generator that any sharding draws alike."""
    return os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "JAX_PLATFORMS": "cpu",
        "JAX_DEFAULT_PRNG_IMPL": "threefry2x32",
    }


def start(module: str, *arguments: object) -> subprocess.Popen[str]:
    """`python -m module arguments`, its output kept."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes: subprocess.Popen[str], status: int | None = 0) -> list[str]:
    """The outputs of processes that must all end with `status`, any if None."""
    outputs = []
    try:
        for process in processes:
            outputs.append(process.communicate(timeout=300)[0])
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
    for process, output in zip(processes, outputs, strict=True):
        assert status is None or process.returncode == status, output
    return outputs


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
