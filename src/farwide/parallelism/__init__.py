"""Several devices and several hosts: where a batch and a state lie, and how a function is run."""

from farwide.parallelism.mesh import DATA, data_mesh, global_batch, replicated
from farwide.parallelism.running import RUNS, Run, data_parallel

__all__ = [
    "DATA",
    "RUNS",
    "Run",
    "data_mesh",
    "data_parallel",
    "global_batch",
    "replicated",
]
