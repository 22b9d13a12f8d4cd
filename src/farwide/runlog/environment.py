"""Where a number comes from: device, versions, commit, command."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from farwide.runlog.files import sync_directory, to_json
from farwide.runlog.record import SCHEMA

PACKAGES = ("farwide", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")
VARIABLES = (
    "XLA_FLAGS",
    "JAX_PLATFORMS",
    "JAX_ENABLE_X64",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_DEFAULT_PRNG_IMPL",
)


def environment_record(command: str | None = None) -> dict[str, Any]:
    """The environment of this process, as plain values for environment.jsonl.

    Fields: schema, started (now, UTC, ISO 8601), command (this process's own when None),
    commit (of a git checkout, with "+" when files differ from it; None outside one), python,
    system, cpus, packages {name: version}, variables (those that change what JAX computes and
    are set), and of JAX: backend, device, devices, processes, process.

    Starts JAX's backend: call it after `jax.distributed.initialize`.
    """
    import jax

    device = jax.devices()[0]
    return {
        "schema": SCHEMA,
        "started": utc_now(),
        "command": this_command() if command is None else command,
        "commit": commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "packages": package_versions(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "backend": device.platform,
        "device": device.device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "process": jax.process_index(),
    }


def append_environment(path: str | Path, record: dict[str, Any]) -> None:
    """Add a record to an environment.jsonl; a torn last line of a killed process goes first."""
    path = Path(path)
    with open(path, "a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write((to_json(record) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)


def this_command() -> str:
    """The command line of this process, as one would type it."""
    program, *arguments = sys.orig_argv
    return shlex.join([Path(program).name, *arguments])


def utc_now() -> str:
    """The time now in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def package_versions() -> dict[str, str]:
    """The versions of the packages that can change a result, those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git(*arguments: str) -> str | None:
    """What a git command says of the checkout that this code lies in; None where it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).resolve().parent), *arguments],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def commit() -> str | None:
    """The commit of the checkout that this code runs from, or None outside a checkout."""
    package = Path(__file__).resolve().parents[1]
    top = git("rev-parse", "--show-toplevel")
    # An installed copy may lie below some other repository, whose commit says nothing of us.
    if top is None or Path(top) / "src" / "farwide" != package:
        return None
    head = git("rev-parse", "--verify", "HEAD")
    if not head:
        return None
    return head + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
