from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from farwide import fitting
from farwide.cli import main
from tests.runlog.folders import law, write_run, write_sweep

REPLICATES = "60"
POINTS = [(N, D) for N in (4e3, 1.2e4, 4e4, 1.2e5) for D in (1.3e5, 2.6e5, 5.2e5, 1.04e6)]
CSV = "N,D,loss\n" + "".join(f"{N},{D},{float(law(N, D)):.6f}\n" for N, D in POINTS)


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(CSV)
    return path


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    root = write_sweep(tmp_path_factory.mktemp("sweep"))
    write_run(root, "going", 4000, 260_000, 2.0, status=None)
    return root


def _refused(capsys, *arguments) -> str:
    """The one message of a command that exits with 2."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


def _run(capsys, *arguments) -> str:
    main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


# farwide fit


def test_a_csv_is_fitted_and_explained(capsys, csv, tmp_path):
    out = _run(capsys, "fit", csv, "--bootstrap", REPLICATES, "--at", "N=2e5", "D=2e6")
    assert "loss = E + A N^-alpha + B D^-beta" in out
    assert f"16 points from {csv}" in out
    assert "sum of Huber(1e-3) of log residuals over 16 points" in out
    assert "status     converged" in out
    assert "Left out: nothing" in out
    assert "a, N* ~ C^a" in out
    assert "At N=2e5 D=2e6: loss 1." in out
    assert "beyond the fitted range in N = 2e+05 (4000 to 1.2e+05), D = 2e+06" in out
    assert "Not saved; --out DIR writes DIR/fit.json and DIR/report.html." in out
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]
    (beta,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["beta"]]
    assert float(beta[1]) == pytest.approx(0.35, rel=0.01)
    assert beta[2].startswith("[")


def test_out_writes_fit_json(capsys, csv, tmp_path):
    out = _run(capsys, "fit", csv, "--bootstrap", "0", "--out", tmp_path / "new" / "dir")
    path = tmp_path / "new" / "dir" / "fit.json"
    assert f"Saved {path}" in out
    assert set(json.loads(path.read_text())["params"]) == {"E", "A", "B", "alpha", "beta"}
    assert "no intervals (--bootstrap 1000 gives them)" in out


def test_json_lines_of_others_with_a_mapping(capsys, tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        {"model": {"params": N}, "tokens": D, "val_loss": float(law(N, D)), "id": i}
        for i, (N, D) in enumerate(POINTS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = _run(
        capsys, "fit", path, "--bootstrap", "0", "--columns", "N=model.params", "D=tokens",
        "loss=val_loss", "run=id",
    )  # fmt: skip
    assert "16 points" in out


def test_another_form_and_loss(capsys, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "".join(f"{x},{3 * x**-0.5:.9f}\n" for x in (1, 2, 4, 8, 16)))
    out = _run(capsys, "fit", path, "--form", "m1", "--loss", "squared", "--bootstrap", "0")
    assert "sum of squared log residuals over 5 points" in out
    (c,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["c"]]
    assert float(c[1]) == pytest.approx(-0.5, abs=1e-3)


def test_a_folder_of_runs_compares_the_held_out_run_with_its_prediction(capsys, sweep):
    out = _run(capsys, "fit", sweep, "--bootstrap", REPLICATES)
    assert "18 points" in out
    assert "N counts non_embedding parameters" in out
    assert "Left out: 1" in out
    assert "it is unfinished" in out
    held_out = out[out.index("Held out, not fitted: 1") :].splitlines()
    assert held_out[1].split()[:4] == ["run", "N", "D", "predicted"]
    assert held_out[2].split()[:3] == ["big", "180000", "2080000"]
    assert held_out[2].split()[-1] == "inside"


def test_a_recorded_prediction_is_shown_beside_the_outcome(capsys, tmp_path):
    root = write_sweep(tmp_path)
    recorded = fitting.Prediction(
        run="big", N=180_000, D=2_080_000, loss=1.5, low=1.4, high=1.6, level=0.9, noise=0.01,
        noise_df=3, fitted_runs=("a",), made_at="2026-01-02T03:04:05+00:00",
        max_fitted_flops=1e12, flops=2e12,
    )  # fmt: skip
    fitting.save_prediction(root / "prediction.json", recorded)
    out = _run(capsys, "fit", root, "--bootstrap", "0")
    (line,) = [line for line in out.splitlines() if line.startswith("Recorded")]
    assert "Recorded 2026-01-02T03:04:05+00:00" in line
    assert "big 1.5, 90% interval [1.4, 1.6]" in line
    assert line.endswith("inside")
    (root / "prediction.json").write_text("{}")
    with pytest.raises(SystemExit) as caught:
        main(["fit", str(root), "--bootstrap", "0"])
    assert caught.value.code == 2
    assert "prediction.json: schema is not 1" in capsys.readouterr().err


def test_a_torn_log_of_ours_is_a_warning(capsys, tmp_path):
    root = write_sweep(tmp_path)
    path = sorted(root.glob("*/metrics.jsonl"))[0]
    path.write_bytes(path.read_bytes()[:-5])
    main(["fit", str(root), "--bootstrap", "0"])
    captured = capsys.readouterr()
    assert captured.err == (
        f"warning: {path}:4: the last line has no end (the run was cut short) and is not used\n"
    )
    assert "its last validation loss is of step 20, and it ended at step 40" in captured.out


BAD_FILES = {
    "empty": (b"", 1),
    "header only": (b"N,D,loss\n", 1),
    "missing column": (b"N,D,accuracy\n1,2,3\n", 1),
    "NaN": (CSV.encode() + b"1,2,nan\n", 18),
    "infinity": (CSV.encode() + b"1,inf,3\n", 18),
    "not positive": (CSV.encode() + b"1,0,3.0\n", 18),
    "text": (CSV.encode() + b"1,2,three\n", 18),
    "few cells": (CSV.encode() + b"1,2\n", 18),
    "cut short": (CSV.encode()[:-4], 17),
    "binary": (b"N,D,loss\n\x00\x01\x02", 2),
    "invalid JSON": (b'{"N": 1,\n', 1),
    "too few rows": (b"N,D,loss\n1,2,3.0\n2,3,2.5\n", 3),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_gives_one_message_with_file_and_line(capsys, tmp_path, case):
    content, line = BAD_FILES[case]
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert _refused(capsys, "fit", path).startswith(f"error: {path}:{line}: ")


def test_a_missing_column_is_explained(capsys, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("params,params_active,tokens,val_loss\n1,1,2,3\n")
    message = _refused(capsys, "fit", path)
    assert "present: params, params_active, tokens, val_loss" in message
    assert "2 columns may be it: params, params_active" in message
    assert "--columns N=params" in message


def test_files_that_are_not_there(capsys, tmp_path):
    assert "none.csv: no such file" in _refused(capsys, "fit", tmp_path / "none.csv")
    assert "holds no run" in _refused(capsys, "fit", tmp_path)
    assert "holds no run" in _refused(capsys, "runs", tmp_path)
    assert "no such folder" in _refused(capsys, "report", tmp_path / "none")


def test_a_file_without_permission(capsys, csv, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "cannot be read: Permission denied" in _refused(capsys, "fit", csv)


def test_a_folder_with_two_runs_of_one_name(capsys, tmp_path):
    write_run(tmp_path / "x", "a", 4000, 9000, 2.0)
    write_run(tmp_path / "y", "a", 4000, 9000, 2.0)
    assert "holds run 'a', and so does" in _refused(capsys, "fit", tmp_path)


def test_a_folder_with_too_few_runs(capsys, tmp_path):
    write_run(tmp_path, "a", 4000, 9000, 2.0)
    assert f"{tmp_path}: 1 usable points" in _refused(capsys, "fit", tmp_path)


def test_skip_bad_removes_and_lists(capsys, csv):
    csv.write_text(CSV + "1,2,nan\n1,2\n")
    assert _refused(capsys, "fit", csv).startswith(f"error: {csv}:19: ")
    out = _run(capsys, "fit", csv, "--skip-bad", "--bootstrap", "0")
    assert "16 points" in out
    table = out[out.index("Left out: 2") :].splitlines()
    assert table[2].split()[0] == f"{csv}:19"
    assert table[3].split()[0] == f"{csv}:18"
    assert "loss is nan" in table[3]


def test_skip_bad_with_nothing_left(capsys, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("N,D,loss\n1,2,nan\n")
    assert "no row is left" in _refused(capsys, "fit", path, "--skip-bad")
    run = write_run(tmp_path / "runs", "a", 4000, 9000, 2.0)
    (run / "metrics.jsonl").write_text("{}\n")
    assert "no run is left" in _refused(capsys, "fit", tmp_path / "runs", "--skip-bad")


def test_skip_bad_leaves_a_bad_run_out(capsys, tmp_path):
    root = write_sweep(tmp_path)
    path = sorted(root.glob("n*/metrics.jsonl"))[0]
    path.write_text("{}\n")
    assert f"{path}:1: schema is null" in _refused(capsys, "fit", root)
    out = _run(capsys, "fit", root, "--skip-bad", "--bootstrap", "0")
    assert "17 points" in out
    assert f"{path}:1" in out


ARGUMENTS = {
    "no files": ([], "LOGS is missing"),
    "form": (["a.csv", "--form", "m9"], "--form is 'm9'; accepted are chinchilla"),
    "bootstrap": (["a.csv", "--bootstrap", "-1"], "--bootstrap is -1"),
    "delta": (["a.csv", "--delta", "nan"], "--delta is nan"),
    "columns without =": (["a.csv", "--columns", "N"], "--columns N: expected NAME=COLUMN"),
    "columns of nothing": (["a.csv", "--columns", "n=a"], "'n' is unknown; accepted: N, D, loss"),
    "columns twice": (["a.csv", "--columns", "N=a", "N=b"], "N is given twice"),
    "at in part": (["a.csv", "--at", "N=1"], "--at lacks D"),
    "at no number": (["a.csv", "--at", "N=1", "D=x"], "--at D=x: not a number"),
    "at zero": (["a.csv", "--at", "N=1", "D=0"], "--at D=0: expected a positive finite number"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_that_cannot_be_used(capsys, case):
    arguments, reason = ARGUMENTS[case]
    assert reason in _refused(capsys, "fit", *arguments)


def test_out_that_cannot_be_written(capsys, csv, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as caught:
        main(["fit", str(csv), "--bootstrap", "0", "--out", str(tmp_path / "file")])
    assert caught.value.code == 2
    assert "cannot write fit.json" in capsys.readouterr().err


# farwide runs


def test_runs_are_listed(capsys, sweep):
    out = _run(capsys, "runs", sweep)
    assert "20 runs: 19 finished, 1 unfinished" in out
    (big,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["big"]]
    assert big[1:4] == ["held_out", "180000", "2080000"]
    assert big[-1] == "finished"


def test_runs_with_skip_bad_lists_what_it_cannot_read(capsys, tmp_path):
    write_run(tmp_path, "a", 4000, 9000, 2.0)
    bad = write_run(tmp_path, "b", 4000, 9000, 2.0) / "config.json"
    bad.unlink()
    assert f"{bad}: no such file" in _refused(capsys, "runs", tmp_path)
    out = _run(capsys, "runs", tmp_path, "--skip-bad")
    assert "1 run: 1 finished" in out
    assert "1 not read" in out
    assert str(bad) in out


# As a process of its own


def _process(*arguments, **options):
    code = "from farwide.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code, *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


def test_help_does_not_import_jax():
    done = _process("--help")
    assert done.returncode == 0
    assert "fit" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "farwide.cli.main" in imported
    assert not {"jax", "matplotlib", "scipy", "theory"} & imported


def test_a_process_ends_with_2_and_no_traceback(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("N,D,loss\n1,2,nan\n")
    done = _process("fit", path)
    assert done.returncode == 2
    assert f"error: {path}:2: loss is nan" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_reader_that_has_seen_enough_is_no_error(sweep):
    code = "from farwide.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "runs", str(sweep)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    messages = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), messages) == (0, "")


def test_a_terminal_gets_drawn_tables(capsys, sweep, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    out = _run(capsys, "runs", sweep)
    assert "┃" in out
    assert "held_out" in out


def test_the_version_is_looked_up_on_demand():
    import farwide

    assert farwide.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        farwide.nothing  # noqa: B018
