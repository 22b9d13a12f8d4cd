"""A mesh of devices, and arrays on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA = "data"
"""The mesh axis over which a batch is split."""


def data_mesh(devices: Sequence[Any] | None = None, **axes: int) -> Mesh:
    """A mesh with the axis "data" and, behind it, the axes that are named.

    Args:
      devices: in the order of the batch; None: all, process by process.
      **axes: sizes of further axes, such as model=2; "data" takes what is left.

    Raises:
      ValueError: the sizes do not divide the number of devices.
    """
    if devices is None:
        devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    behind = math.prod(axes.values())
    if behind < 1 or len(devices) % behind:
        raise ValueError(f"axes are {axes}; accepted: sizes that divide {len(devices)} devices")
    shape = (len(devices) // behind, *axes.values())
    return Mesh(
        np.asarray(devices).reshape(shape), (DATA, *axes), axis_types=(AxisType.Auto,) * len(shape)
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that every device holds in full."""
    return NamedSharding(mesh, PartitionSpec())


def global_batch(batch: Any, mesh: Mesh) -> Any:
    """A batch on the mesh, split over "data", from the rows that this process read.

    Args:
      batch: a tree of arrays, this process's contiguous share of the rows.
      mesh: with the axis "data".

    Returns:
      The tree of global arrays: the shares of all processes one after the other.
    """
    sharding = NamedSharding(mesh, PartitionSpec(DATA))
    return jax.tree.map(
        lambda rows: jax.make_array_from_process_local_data(sharding, np.asarray(rows)), batch
    )
