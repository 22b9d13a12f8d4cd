"""`farwide plan`, and the ends of `farwide fit` and `farwide report` that write a page."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from farwide import fitting
from farwide.cli import main
from farwide.fitting.best_split import best_split
from farwide.fitting.candidates import candidates
from tests.runlog.folders import law
from theory import scaling

POINTS = [(N, C / 6 / N) for C in (1e11, 4e11, 1.6e12) for N in np.geomspace(4e3, 1.2e5, 7)]
NOISE = np.random.default_rng(0).standard_normal(len(POINTS))
CSV = "N,D,loss\n" + "".join(
    f"{N:.6g},{D:.6g},{float(law(N, D)) * np.exp(0.004 * e):.6f}\n"
    for (N, D), e in zip(POINTS, NOISE, strict=True)
)


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("logs") / "a.csv"
    path.write_text(CSV)
    return path


@pytest.fixture(scope="module")
def saved(csv, tmp_path_factory):
    """A folder with the fit of the CSV, made by the command."""
    out = tmp_path_factory.mktemp("fit")
    main(["fit", str(csv), "--bootstrap", "60", "--out", str(out), "--hold-out", "C>1e12"])
    return out


def _refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def _run(capsys, *arguments) -> str:
    main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


# farwide plan


def _table(out: str) -> list[list[str]]:
    """The cells of the rows of the table of runs, the row "now" first."""
    lines = out[out.index("  now ") :].split("\n\n")[0].splitlines()
    return [re.split(r"\s{2,}", line.strip()) for line in lines]


def test_the_best_split_is_that_of_the_fit(capsys, saved):
    out = _run(capsys, "plan", saved, "--target-compute", "1e13")
    fit = fitting.load_fit(saved / "fit.json").runs_fit.fit
    best = best_split(fit, np.array([1e13]))
    shown = {line.split("  ")[1].split(",")[0]: line for line in out.splitlines() if "  [" in line}
    for name, value, band in (
        ("N*", best.N, best.N_band),
        ("D*", best.D, best.D_band),
        ("D*/N*", best.ratio, best.ratio_band),
        ("loss of the law", best.value, best.value_band),
    ):
        numbers = re.findall(r"[\d.]+(?:e[+-]\d+)?", shown[name].split("  ", 2)[2])
        expected = [float(value[0]), float(band[0][0]), float(band[1][0])]
        np.testing.assert_allclose([float(n) for n in numbers[-3:]], expected, rtol=1e-3)
    assert "That is 25 times the largest compute of the runs." in out
    assert "No runs are proposed; --budget FLOPS" in out


@pytest.mark.parametrize("of", ["loss", "size"])
def test_runs_are_those_of_the_design(capsys, saved, of):
    out = _run(
        capsys, "plan", saved, "--target-compute", "1e13", "--budget", "3e12", "--runs", "3",
        "--of", of,
    )  # fmt: skip
    found = fitting.load_fit(saved / "fit.json").runs_fit
    grid = candidates(found.fit, found.table.columns, 3e12)
    plan = scaling.next_runs(
        found.fit, target={"C": 1e13}, candidates=grid.columns, cost=grid.cost, budget=3e12,
        runs=3, noise=found.noise.sd, of="size" if of == "size" else "value",
    )  # fmt: skip
    now, *rows = _table(out)
    assert 1 <= len(rows) == len(plan.rows) <= 3
    for cells, row in zip(rows, plan.rows, strict=True):
        N, D = float(cells[1]), float(cells[2])
        assert (N, D) == (grid.columns["N"][row], grid.columns["D"][row])
        assert float(cells[4]) == pytest.approx(6 * N * D, rel=5e-3)
    assert float(rows[-1][5]) == pytest.approx(plan.cost.sum(), rel=5e-3)
    assert float(rows[-1][5]) <= 3e12
    for cells, width in zip(
        [now, *rows], [plan.half_width_before, *plan.half_width_after], strict=True
    ):
        assert float(cells[-1].rstrip("%")) == pytest.approx(100 * np.expm1(width), abs=0.006)
        low, high = map(float, cells[-2].strip("[]").split(", "))
        assert np.sqrt(low * high) == pytest.approx(plan.value, rel=1e-3)
    assert grid.sentence in out
    assert ("best size N*" if of == "size" else "of the loss") in out


def test_logs_are_fitted_first_and_a_point_can_be_the_target(capsys, csv):
    out = _run(
        capsys, "plan", csv, "--bootstrap", "0", "--at", "N=1e6", "D=1e7", "--budget", "1e12",
        "--runs", "1",
    )  # fmt: skip
    assert "data       21 points" in out
    assert "At N=1e+06 D=1e+07: loss 1." in out
    assert "what most shrinks the law at N=1e+06 D=1e+07" in out
    assert len(_table(out)) == 2


def test_a_law_of_one_column_needs_the_price(capsys, tmp_path):
    path = tmp_path / "a.csv"
    rng = np.random.default_rng(0)
    x = np.geomspace(10, 1000, 9)
    y = 3 * x**-0.4 * np.exp(0.01 * rng.standard_normal(9))
    path.write_text("x,y\n" + "".join(f"{a:.6g},{b:.6f}\n" for a, b in zip(x, y, strict=True)))
    arguments = ("plan", path, "--form", "m1", "--bootstrap", "0", "--at", "x=1e5",
                 "--budget", "4e3")  # fmt: skip
    assert "the price of a run is not given; accepted is a column of ('x',)" in _refused(
        capsys, *arguments
    )
    out = _run(capsys, *arguments, "--cost", "x", "--runs", "1")
    (row,) = _table(out)[1:]
    assert float(row[1]) == 4000  # the longest lever
    assert "a run costs its x" in out


def test_a_design_that_cannot_tell_says_so(capsys, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("N,D,loss\n" + "".join(
        f"{N:.6g},1e6,{float(law(N, 1e6)):.6f}\n" for N in np.geomspace(1e4, 1e6, 9)
    ))  # fmt: skip
    out = _run(
        capsys, "plan", path, "--bootstrap", "0", "--at", "N=1e6", "D=1e8", "--budget", "1e13",
        "--runs", "2",
    )  # fmt: skip
    assert "status     unidentifiable" in out
    assert "all runs share one D" in out
    assert _table(out)[0][-2] == "not determined"


def test_other_laws_are_ranked_by_what_was_held_out(capsys, csv, tmp_path):
    out = _run(
        capsys, "fit", csv, "--bootstrap", "0", "--hold-out", "C>1e12", "--compare",
        "chinchilla", "--out", tmp_path,
    )  # fmt: skip
    saved = json.loads((tmp_path / "fit.json").read_text())
    (row,) = saved["comparison"]
    assert row["rmsle_held_out"] == pytest.approx(saved["hold_out"]["rmsle"], rel=1e-6)
    (line,) = [line.split() for line in out.splitlines() if line.startswith("  chinchilla")]
    assert line[1:3] == ["5", f"{row['rmsle_held_out']:.3%}"]
    page = (tmp_path / "report.html").read_text()
    assert f'<td class="number">{row["rmsle_held_out"]:.3%}</td>' in page
    assert "--compare m9: accepted are chinchilla" in _refused(
        capsys, "fit", csv, "--compare", "m9"
    )
    assert "--compare m1: form m1 predicts y" in _refused(
        capsys, "fit", csv, "--bootstrap", "0", "--compare", "m1"
    )


PLANS = {
    "no fit": ([], "FIT is missing"),
    "no target": (["FIT"], "expected one target: --target-compute FLOPS, or --at"),
    "two targets": (
        ["FIT", "--target-compute", "1e13", "--at", "N=1", "D=1"], "expected one target",
    ),
    "target": (["FIT", "--target-compute", "-1"], "--target-compute is -1; expected a positive"),
    "budget": (
        ["FIT", "--target-compute", "1e13", "--budget", "nan"], "--budget is nan; expected",
    ),
    "budget too small": (
        ["FIT", "--target-compute", "1e13", "--budget", "10"],
        "the budget 10 is below the least of the runs, 1e+11",
    ),
    "runs": (["FIT", "--target-compute", "1e13", "--runs", "0"], "--runs is 0; expected 1 or more"),
    "at in part": (["FIT", "--at", "N=1e6"], "--at lacks D; chinchilla needs N and D"),
    "size of a point": (
        ["FIT", "--at", "N=1", "D=1", "--of", "size"], "--of size needs --target-compute",
    ),
    "two fits": (["FIT", "FIT", "--target-compute", "1e13"], "2 sources; a saved fit stands alone"),
    "nothing there": (["none.csv", "--target-compute", "1e13"], "none.csv: no such file"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANS)
def test_plans_that_cannot_be_made(capsys, saved, case):
    arguments, reason = PLANS[case]
    arguments = [str(saved) if a == "FIT" else a for a in arguments]
    assert reason in _refused(capsys, "plan", *arguments)


def test_a_damaged_fit_json_is_named(capsys, saved, tmp_path):
    obj = json.loads((saved / "fit.json").read_text())
    (tmp_path / "fit.json").write_text(json.dumps({**obj, "form": "m9"}))
    message = _refused(capsys, "plan", tmp_path, "--target-compute", "1e13")
    assert "fit.json: form is 'm9'" in message


# The grid of candidates


def test_candidates_are_within_the_budget_and_the_range_of_the_runs(saved):
    found = fitting.load_fit(saved / "fit.json").runs_fit
    grid = candidates(found.fit, found.table.columns, 2e12)
    N, D = grid.columns["N"], grid.columns["D"]
    np.testing.assert_allclose(grid.cost, 6 * N * D)
    assert grid.cost.max() <= 2e12
    assert grid.cost.max() > 1.97e12
    ratio = found.table.columns["D"] / found.table.columns["N"]
    assert (D / N).min() > 0.98 * ratio.min()
    assert (D / N).max() < 1.02 * ratio.max()
    assert len({*zip(N, D, strict=True)}) == len(N)


def test_runs_that_share_one_ratio_get_candidates_that_do_not():
    N = np.geomspace(1e4, 1e6, 8)
    fit = scaling.fit("chinchilla", {"N": N, "D": 20 * N, "loss": law(N, 20 * N)}, loss="squared")
    grid = candidates(fit, {"N": N, "D": 20 * N}, 1e15)
    ratio = grid.columns["D"] / grid.columns["N"]
    assert ratio.max() / ratio.min() > 10
    assert "wider than that of the runs" in grid.sentence


# farwide fit --out and --hold-out, farwide report


def test_a_fit_is_saved_with_its_page(capsys, csv, tmp_path):
    out = _run(
        capsys, "fit", csv, "--bootstrap", "60", "--hold-out", "C>1e12", "--out", tmp_path / "f"
    )
    assert f"Saved {tmp_path / 'f' / 'fit.json'}\nSaved {tmp_path / 'f' / 'report.html'}\n" in out
    saved = json.loads((tmp_path / "f" / "fit.json").read_text())
    (line,) = [line for line in out.splitlines() if line.startswith("held out")]
    assert line == f"held out   {saved['hold_out']['rmsle']:.3%} of 7 points: C = 6ND > 1e+12 " \
        "(7 of 21 rows)"  # fmt: skip
    assert "profile likelihood" in out
    assert saved["provenance"]["files"] == {str(csv): saved["provenance"]["files"][str(csv)]}
    assert len(saved["provenance"]["files"][str(csv)]) == 64
    page = (tmp_path / "f" / "report.html").read_text()
    assert "7 held-out ones" in page


def test_the_page_is_drawn_again_from_fit_json_alone(capsys, saved):
    first = (saved / "report.html").read_bytes()
    (saved / "report.html").unlink()
    assert _run(capsys, "report", saved) == f"{saved / 'report.html'}\n"
    assert (saved / "report.html").read_bytes() == first


def test_a_share_can_be_held_out(capsys, csv):
    out = _run(capsys, "fit", csv, "--bootstrap", "0", "--hold-out", "0.3")
    assert "of 7 points: C = 6ND >= 1.6e+12, the largest 33% (7 of 21 rows)" in out


@pytest.mark.slow
def test_gadre_reads_n_and_d(capsys, csv):
    out = _run(capsys, "fit", csv, "--form", "gadre", "--bootstrap", "0", "--loss", "squared",
               "--at", "N=1e6", "D=1e7")  # fmt: skip
    assert "At N=1e6 D=1e7: loss 1." in out


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("much", "--hold-out 'much'; expected a comparison"),
        ("C>1e30", "holds out no row"),
        ("2", "--hold-out 2; expected a share between 0 and 1"),
    ],
)
def test_rows_that_cannot_be_held_out(capsys, csv, rule, reason):
    assert reason in _refused(capsys, "fit", csv, "--bootstrap", "0", "--hold-out", rule)


def test_without_plotly_the_fit_is_saved_and_one_line_says_what_to_do(
    capsys, csv, tmp_path, monkeypatch
):
    import sys

    for name in [n for n in sys.modules if n.split(".")[0] == "plotly" or "interactive" in n]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    out = _run(capsys, "fit", csv, "--bootstrap", "0", "--out", tmp_path)
    assert 'Not drawn: report.html needs plotly: pip install "farwide[report]"\n' in out
    assert (tmp_path / "fit.json").is_file()
    assert not (tmp_path / "report.html").exists()
    assert 'pip install "farwide[report]"' in _refused(capsys, "report", tmp_path)
