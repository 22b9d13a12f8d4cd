"""Start the processes of a run on several hosts, so that they see each other's devices."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import jax

from farwide.endings import fail_at_once

_OURS = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


class Place(NamedTuple):
    """One process among those of a run."""

    coordinator: str | None  # HOST:PORT of process 0; None: Slurm's own first host
    processes: int
    rank: int  # from 0


def initialize(
    coordinator: str | None = None, processes: int | None = None, rank: int | None = None
) -> bool:
    """Join the processes of a run through `jax.distributed`; call it before anything computes.

    Args:
      coordinator: HOST:PORT of process 0, reached by all.
      processes: how many there are.
      rank: of this one, from 0.

    Without arguments they are what the environment says: JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID, or else the variables of a Slurm step (`srun`).

    From then on a process that fails ends at once (`farwide.endings.fail_at_once`), so that the
    others fail too, with the connection to it, and do not wait.

    Returns:
      Whether there are several processes. With one nothing is done.

    Raises:
      ValueError: some of the three are missing, or the rank is none of the processes.
      RuntimeError: JAX has computed before, or the processes do not find each other.
    """
    given = (coordinator, processes, rank)
    if all(value is None for value in given):
        place = detected(os.environ)
    elif coordinator is None or processes is None or rank is None:
        raise ValueError(
            f"coordinator is {coordinator!r}, processes {processes}, rank {rank}; accepted: all "
            "three, or none, which are then taken from the environment"
        )
    else:
        place = Place(coordinator, processes, rank)
    if place is None:
        return False
    if not 0 <= place.rank < place.processes:
        raise ValueError(f"rank is {place.rank}; accepted: 0 to {place.processes - 1}")
    if place.processes == 1:
        return False
    if place.coordinator is None:
        jax.distributed.initialize(
            None, place.processes, place.rank, cluster_detection_method="slurm"
        )
    else:
        jax.distributed.initialize(place.coordinator, place.processes, place.rank)
    fail_at_once()
    return True


def detected(environment: Mapping[str, str]) -> Place | None:
    """This process's place by the environment, or None where that names no other processes.

    Args:
      environment: `os.environ`, or a part of it.

    Raises:
      ValueError: some of the three variables are missing, or hold no number.
    """
    found = [name for name in _OURS if environment.get(name)]
    if found:
        if missing := [name for name in _OURS if name not in found]:
            raise ValueError(
                f"{', '.join(found)} without {', '.join(missing)}; accepted: all three"
            )
        return Place(
            environment[_OURS[0]], _number(environment, _OURS[1]), _number(environment, _OURS[2])
        )
    if "SLURM_STEP_NUM_TASKS" not in environment:  # no step, or only the batch script of a job
        return None
    processes = _number(environment, "SLURM_STEP_NUM_TASKS")
    return Place(None, processes, _number(environment, "SLURM_PROCID")) if processes > 1 else None


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not value.isdecimal():
        raise ValueError(f"{name} is {value!r}; accepted: a whole number")
    return int(value)
