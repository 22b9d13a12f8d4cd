"""Timing shared by the benchmarks: alternating runs, medians, provenance, one JSON file a result.

Functions that are compared run one after another in every round, so that whatever else the machine
does meets all of them alike. A median over rounds and the median of the rounds' ratios are kept.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import jax

from farwide.runlog.environment import git

RESULTS = Path(__file__).parent / "results"
HEAP_SETTINGS = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


def alternate(
    functions: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 9,
    warmup: int = 2,
    pause: float = 0.0,
) -> dict[str, list[float]]:
    """Seconds of each function in each round, the functions taking turns within a round.

    The order rotates by one from round to round, so that none always follows the same neighbour.

    Args:
      functions: by name; each takes nothing, and what it returns is waited for.
      rounds: measured rounds, at least 1.
      warmup: rounds before them that are not kept (compilation, caches).
      pause: seconds between functions, for one's idle threads to stop spinning.

    Raises:
      ValueError: no functions, or no rounds.
    """
    if not functions or rounds < 1:
        raise ValueError(f"need functions and rounds >= 1, got {list(functions)}, rounds={rounds}")
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    names = list(functions)
    for i in range(warmup + rounds):
        first = i % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(pause)
            start = time.perf_counter()
            jax.block_until_ready(functions[name]())
            if i >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def summarise(seconds: Mapping[str, list[float]], ours: str) -> dict[str, dict[str, float]]:
    """For each name: median and quartiles in ms, and the ratio to `ours` (above 1: slower).

    The ratio is the median over rounds of time / time of `ours` in the same round.
    """
    rows = {}
    for name, times in seconds.items():
        ordered = sorted(times)
        rows[name] = {
            "median_ms": 1e3 * median(times),
            "low_ms": 1e3 * ordered[len(times) // 4],
            "high_ms": 1e3 * ordered[(3 * len(times)) // 4 - (len(times) % 4 == 0)],
            "ratio_to_ours": median(t / o for t, o in zip(times, seconds[ours], strict=True)),
            "rounds": len(times),
        }
    return rows


def device_name() -> str:
    """The device that JAX runs on, in the form of a folder name: `cpu-2`, `nvidia-h100-...`."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"cpu-{os.cpu_count()}"
    return "-".join(device.device_kind.lower().split())


def provenance(command: str) -> dict[str, Any]:
    """What a published number must say of itself: device, versions, commit, command, load."""
    versions = {"jax": jax.__version__}
    for name in ("jaxlib", "numpy", "scipy", "torch"):
        module = sys.modules.get(name)
        if module is not None:
            versions[name] = str(module.__version__)
    return {
        "device": device_name(),
        "device_kind": jax.devices()[0].device_kind,
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(git("status", "--porcelain")),
        "command": command,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load_average": list(os.getloadavg()),
        "heap_settings": {n: os.environ[n] for n in HEAP_SETTINGS if n in os.environ},
    }


def write(name: str, result: Mapping[str, Any], out: Path = RESULTS) -> Path:
    """Write `result` as OUT/<device>/NAME.json and return the path."""
    path = Path(out) / device_name() / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def _cpu_model() -> str:
    """The processor's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
