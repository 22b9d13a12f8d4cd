"""Write a run's metrics.jsonl so that it can be read, and continued, after a kill at any moment."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from farwide.runlog.files import naming, read_bytes, sync_directory, write_atomically
from farwide.runlog.reading import METRICS, parse_records
from farwide.runlog.record import Record


class RunLog:
    """The log of one run, open for appending.

    `RunLog(directory, resume_at=step)` continues the log from a checkpoint taken at `step`:
    complete records up to that step are kept, later ones and a torn last line go (the file is
    rewritten atomically), since training will write them again. `resume_at=0` starts afresh and
    keeps no more than the record of step 0.

    Arguments: `directory`, the run's folder, created when absent; `resume_at`, the step of the
    checkpoint that training continues from.
    Raises LogError when the existing log holds a line that is no record: nothing is overwritten
    then.

    Attributes: `kept` and `dropped`, the numbers of complete records kept and dropped at opening.
    """

    def __init__(self, directory: str | Path, *, resume_at: int = 0) -> None:
        if resume_at < 0:
            raise ValueError(f"resume_at is {resume_at}; expected a step from 0")
        self.path = Path(directory) / METRICS
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fresh = True
        kept: list[Record] = []
        self.dropped = 0
        if self.path.exists():
            records, torn = parse_records(read_bytes(self.path), self.path)
            kept = [record for record in records if record.step <= resume_at]
            self.dropped = len(records) - len(kept)
            if self.dropped or torn is not None:
                self._rewrite(kept)
        self.kept = len(kept)
        self._kept = kept
        self._last_step = kept[-1].step if kept else -1
        self._descriptor: int | None = self._open()
        sync_directory(self.path.parent)

    def write(self, record: Record) -> None:
        """Append a record and hand it to the operating system, which keeps it if we are killed.

        Steps increase. The one exception is the first record after opening: with the step of the
        last record that was kept, it takes that record's place. Raises ValueError for any other
        step that is no later than the last, and for a closed log.
        """
        if self._descriptor is None:
            raise ValueError(f"{self.path} is closed")
        if self._fresh and self._kept and record.step == self._last_step:
            os.close(self._descriptor)
            self._rewrite(self._kept[:-1])
            self._descriptor = self._open()
        elif record.step <= self._last_step:
            raise ValueError(f"record.step is {record.step}; expected more than {self._last_step}")
        line = memoryview((record.to_json() + "\n").encode())
        with naming(self.path):
            while line:
                line = line[os.write(self._descriptor, line) :]
        self._last_step = record.step
        self._fresh = False

    def sync(self) -> None:
        """Wait until the log is on the disk: call it before a checkpoint is declared complete."""
        if self._descriptor is not None:
            with naming(self.path):
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Sync and close. Closing twice does nothing."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            try:
                with naming(self.path):
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def _rewrite(self, records: list[Record]) -> None:
        lines = "".join(record.to_json() + "\n" for record in records)
        write_atomically(self.path, lines.encode())
