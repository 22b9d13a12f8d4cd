"""Run logs: one folder a run, one JSON object a line, readable after a crash at any moment.

config.json        what was asked for; written before the first step
environment.jsonl  one record for each process that worked on the run
metrics.jsonl      the log, one `Record` a line, flushed to the operating system line by line
summary.json       written atomically at the end; a run without it is not finished
"""

from farwide.runlog.environment import append_environment, environment_record
from farwide.runlog.errors import LogError
from farwide.runlog.files import write_json
from farwide.runlog.locking import lock_directory
from farwide.runlog.log import RunLog
from farwide.runlog.reading import Run, read_records, read_run, read_runs
from farwide.runlog.record import SCHEMA, Record

__all__ = [
    "SCHEMA",
    "LogError",
    "Record",
    "Run",
    "RunLog",
    "append_environment",
    "environment_record",
    "lock_directory",
    "read_records",
    "read_run",
    "read_runs",
    "write_json",
]
