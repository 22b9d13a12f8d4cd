"""The reading options of `farwide fit`: one message a mistake, everything left out is said."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from farwide.cli import main
from tests.runlog.folders import write_run, write_sweep
from tests.tables.formats import as_csv

STEPS = (0, 10, 20, 30)
STATES = {5: "crashed"}
ROWS = [
    {"run": f"r{i}", "state": STATES.get(i, "finished"), "step": step, "data": "ab"[i % 2],
     "x": 2.0**i, "y": 3 * 2 ** (-0.3 * i) * (1.5 - step / 60)}
    for i in range(8) for step in (STEPS[:2] if i == 5 else STEPS)
]  # fmt: skip
FIT = ("--form", "m1", "--bootstrap", "0")


@pytest.fixture
def curves(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_bytes(as_csv(ROWS))
    return path


def _fit(capsys, *arguments) -> tuple[str, str]:
    main(["fit", *map(str, arguments)])
    return capsys.readouterr()


def _refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["fit", *map(str, arguments)])
    captured = capsys.readouterr()
    assert (caught.value.code, captured.out) == (2, "")
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_first_fit_takes_one_command(capsys, tmp_path):
    path = tmp_path / "mine.csv"
    rows = [{"name": f"r{n:g}{d:g}", "params": n, "tokens": d,
             "val_loss": 1.7 + 400 / n**0.34 + 410 / d**0.28}
            for n in (1e6, 4e6, 2e7) for d in (1e8, 1e9, 1e10)]  # fmt: skip
    path.write_bytes(as_csv(rows))
    out, err = _fit(capsys, path, "--bootstrap", "0")
    assert err == ""
    assert "9 points" in out
    assert "read       N = params, D = tokens, loss = val_loss, run = name (guessed from" in out
    (alpha,) = [line.split()[1] for line in out.splitlines() if line.split()[:1] == ["alpha"]]
    assert float(alpha) == pytest.approx(0.34, rel=1e-3)


def test_curves_are_warned_about_or_chosen_from(capsys, curves, tmp_path):
    out, err = _fit(capsys, curves, *FIT)
    assert err.startswith("warning: 30 rows of 8 runs (2 to 4 each): all are used; --rows last")
    assert "30 points" in out
    out, err = _fit(capsys, curves, *FIT, "--rows", "all")
    assert err == ""
    out, err = _fit(capsys, curves, *FIT, "--rows", "last", "--out", tmp_path)
    assert err == ""
    assert "8 points" in out
    assert "read       the rows of a run are ordered by step" in out
    assert "Left out: 22\n" in out
    line = next(line for line in out.splitlines() if "--rows last" in line)
    assert line.split()[0] == "22"
    assert "Each of them is listed in fit.json.\n" in out
    saved = json.loads((tmp_path / "fit.json").read_text())
    assert saved["reading"] == ["the rows of a run are ordered by step"]
    assert len(saved["left_out"]) == 22
    assert {tuple(item) for item in saved["left_out"]} == {("run", "reason")}
    used = [point["origin"] for point in saved["points"]]
    listed = [item["run"] for item in saved["left_out"]]
    assert sorted([*used, *listed], key=lambda where: int(where.rpartition(":")[2])) == [
        f"{curves}:{line}" for line in range(2, 32)
    ]


def test_filters_are_listed_one_by_one_while_they_are_few(capsys, curves):
    out, _ = _fit(
        capsys, curves, *FIT, "--rows", "all", "--min-step", "10", "--where", "data=a", "x<100",
        "--where", "y>0", "--min", "x=2", "--max", "y=3.1", "--finished", "state=finished",
    )  # fmt: skip
    assert "9 points" in out
    assert "Left out: 21\n" in out
    kinds = [line.split()[0] for line in out.splitlines() if "--" in line and ": " in line]
    assert sum(map(int, kinds)) == 21
    out, _ = _fit(capsys, curves, *FIT, "--rows", "all", "--min-step", "20")
    assert "Left out: 16\n" in out
    reasons = [line for line in out.splitlines() if "--min-step 20: step is" in line]
    assert len(reasons) == 16
    assert reasons[0].split()[0] == f"{curves}:2"


def test_diverged_runs_and_bad_rows(capsys, tmp_path):
    path = tmp_path / "a.csv"
    rows = [dict(row) for row in ROWS]
    rows[3]["y"] = "nan"
    path.write_bytes(as_csv(rows))
    assert f"{path}:5: y is nan" in _refused(capsys, path, *FIT, "--rows", "all")
    out, _ = _fit(capsys, path, *FIT, "--rows", "all", "--drop-diverged", "1.2")
    assert "26 points" in out
    assert out.count("--drop-diverged 1.2: run r0 ends with y nan") == 4
    out, _ = _fit(capsys, path, *FIT, "--rows", "all", "--skip-bad")
    assert "29 points" in out


def test_formulas_on_the_command_line(capsys, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(as_csv([{"params": 2.0**i, "tokens": 4.0**i, "loss": 8.0**-i}
                             for i in range(1, 6)]))  # fmt: skip
    out, _ = _fit(capsys, path, *FIT, "--columns", "x=6*N*D", "--columns", "y=loss")
    assert "read       N = params, D = tokens (guessed" in out
    (c,) = [line.split()[1] for line in out.splitlines() if line.split()[:1] == ["c"]]
    assert float(c) == pytest.approx(-1, abs=1e-6)
    message = _refused(capsys, path, "--columns", "N=params*", "loss=loss")
    assert "is no formula of numbers, columns, + - * / ** and brackets" in message


BAD = {
    "where": (["--where", "data"], "--where 'data': expected NAME=VALUE"),
    "where a column": (["--where", "dat=a"], "no column 'dat' (nearest: data)"),
    "min": (["--min", "x"], "--min x: expected NAME=VALUE"),
    "min text": (["--min", "x=a[0]"], "expected a number or a formula after >="),
    "min-step": (["--min-step", "nan"], "nothing is >= nan"),
    "diverged": (["--drop-diverged", "0.5"], "--drop-diverged is 0.5; expected a factor of 1"),
    "finished": (["--finished", "x>"], "--finished 'x>': expected a number or a formula"),
    "nothing left": (["--where", "data=c"], "no row is left: 30 left out, the first"),
    "no step": (["--columns", "step=steps"], "no column 'steps' (nearest: step)"),
}


@pytest.mark.parametrize("case", BAD)
def test_options_that_cannot_be_used(capsys, curves, case):
    arguments, reason = BAD[case]
    assert reason in _refused(capsys, curves, *FIT, "--rows", "all", *arguments)


def test_min_step_needs_a_step(capsys, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(as_csv([{"x": 1.0, "y": 2.0}]))
    message = _refused(capsys, path, *FIT, "--min-step", "1")
    assert f"{path}:1: no column 'step'" in message


def test_runs_of_ours_are_filtered_and_still_compared_with_the_held_out_one(capsys, tmp_path):
    root = write_sweep(tmp_path / "sweep")
    out, _ = _fit(capsys, root, "--bootstrap", "0", "--min", "N=5000")
    assert "--min N=5000: N is 4" in out
    assert "Held out, not fitted: 1" in out
    points = int(out.split("data       ")[1].split()[0])
    assert points + int(out.split("Left out: ")[1].split()[0]) == 18
    write_run(tmp_path / "few", "a", 4000, 9000, 2.0)
    message = _refused(capsys, tmp_path / "few", "--where", "N>1e9")
    assert "0 usable points" in message


def test_the_laws_are_listed_as_they_are_declared(capsys):
    from theory import scaling

    out, err = _fit(capsys, "--form", "list")
    assert err == ""
    listed = [line.split()[0] for line in out.splitlines()[2:] if line.strip()]
    assert listed == [*scaling.forms]


def test_help_is_grouped_complete_and_imports_no_reader():
    code = "from farwide.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code, "fit", "--help"],
        capture_output=True, text=True, timeout=120, check=True,
        env={**__import__("os").environ, "COLUMNS": "100"},
    )  # fmt: skip
    help = done.stdout
    groups = [help.index(f"─ {name} options ─") for name in ("law", "reading", "output")]
    assert groups == sorted(groups)
    for option in ("LOGS", "--form", "--bootstrap", "--columns", "--rows", "--where", "--min",
                   "--max", "--min-step", "--finished", "--drop-diverged", "--skip-bad",
                   "--parameters", "--at", "--out"):  # fmt: skip
        assert option in help
    assert "farwide fit runs.csv" in help
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {"jax", "theory", "pyarrow", "tensorboard", "yaml", "pandas"} & imported
