"""Several devices and several hosts: where a batch and a state lie, and how a function is run."""

from farwide.parallelism.fsdp import Fsdp, fsdp_shardings, report_text, sharding_report
from farwide.parallelism.hosts import initialize
from farwide.parallelism.mesh import DATA, data_mesh, global_batch, replicated
from farwide.parallelism.running import RUNS, Run, data_parallel

__all__ = [
    "DATA",
    "RUNS",
    "Fsdp",
    "Run",
    "data_mesh",
    "data_parallel",
    "fsdp_shardings",
    "global_batch",
    "initialize",
    "replicated",
    "report_text",
    "sharding_report",
]
