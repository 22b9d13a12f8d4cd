"""F and its derivatives at a point, for a batch of problems."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

Host = Array | np.ndarray  # states live in NumPy between calls


class Local(NamedTuple):
    """F and its derivatives at theta, lower triangles as flat lists over the leading axis."""

    value: Float[Host, "batch"]
    gradient: Float[Host, "params batch"]
    hessian: Float[Host, "entries batch"]
    majorizer: Float[Host, "entries batch"]
