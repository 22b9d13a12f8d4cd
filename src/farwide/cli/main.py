"""Parse the command line, run one command, turn its errors into one message and exit code 2."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence

from farwide.cli.errors import CommandError

PROGRAM = "farwide"
DESCRIPTION = "Fit scaling laws to logged runs, plan the next ones, list runs, and write reports."


def main(argv: Sequence[str] | None = None) -> None:
    """Run `farwide` with `argv` (the process's own arguments when None).

    Returns None when all went well. Raises SystemExit(2) after one message on stderr when the
    arguments or a file cannot be used; a traceback means a defect of ours.
    """
    import tyro

    from farwide.cli.fit import fit_command
    from farwide.cli.plan import plan_command
    from farwide.cli.report import report_command
    from farwide.cli.runs import runs_command
    from farwide.runlog.errors import LogError

    commands = {
        "fit": fit_command, "plan": plan_command, "runs": runs_command, "report": report_command,
    }  # fmt: skip
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a run's name may not fit the terminal
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            tyro.extras.subcommand_cli_from_dict(
                commands, prog=PROGRAM, description=DESCRIPTION, args=argv
            )
            sys.stdout.flush()
    except (CommandError, LogError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # the reader of our output has seen enough: `farwide runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"warning: {message}", file=sys.stderr)
