"""The report of a sweep: complete, self-contained, honest about what is missing."""

from __future__ import annotations

import html
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from farwide.report import build
from farwide.report.sweep import read_sweep
from farwide.report.verdict import verdict
from farwide.runlog import LogError
from tests.sweep_factory import BEGAN, REPLICATES, make_sweep, run_name, set_times, write_run

FIGURES = (
    "loss_curves",
    "loss_vs_compute",
    "fit",
    "extrapolation",
    "residuals",
    "bootstrap",
    "tokens_per_parameter",
)
SMALL = {"sizes": (4_000, 20_000, 80_000), "budgets": (131_072, 524_288, 1_048_576)}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A finished sweep and its report."""
    root = make_sweep(tmp_path_factory.mktemp("full"))
    build(root)
    return root


@pytest.fixture(scope="module")
def page(sweep):
    return (sweep / "report.html").read_text("utf-8")


def copied(source, target):
    shutil.copytree(source, target)
    return target


def text_of(page: str) -> str:
    """What a reader sees: no style, no pictures, no tags."""
    page = re.sub(r"<(style|svg)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_headline_says_what_was_predicted_and_what_came_out(sweep, page):
    prediction = json.loads((sweep / "prediction.json").read_text())
    summary = json.loads((sweep / "train" / prediction["run"] / "summary.json").read_text())
    observed = summary["validation_loss"]
    headline = html.unescape(re.search(r"<h1>(.*?)</h1>", page, re.S).group(1))
    assert f"{prediction['loss']:.3f}" in headline
    assert f"{observed:.3f}" in headline
    inside = prediction["low"] <= observed <= prediction["high"]
    assert inside  # the planted law is the fitted one: a 95% interval of it holds this seed
    assert "inside the interval" in headline
    text = text_of(page)
    assert f"{prediction['low']:.3f} to {prediction['high']:.3f}" in text
    error = 100 * (prediction["loss"] / observed - 1)
    shown = re.search(r"([+−]?[\d.]+)% relative error: predicted / observed", text).group(1)
    assert float(shown.replace("−", "-")) == pytest.approx(error, rel=0.06)


def test_parameters_and_intervals_are_those_of_the_fit(sweep, page):
    fit = json.loads((sweep / "fit.json").read_text())
    assert fit["bootstrap"]["status"]["converged"] <= REPLICATES
    rows = re.findall(r'class="symbol">(.*?)</th><td class="number">(.*?)</td>'
                      r'<td class="number">(.*?) to (.*?)</td>', page)  # fmt: skip
    shown = {name: [float(v.replace(" ", "")) for v in values] for name, *values in rows}
    for name, symbol in {"E": "E", "alpha": "α", "beta": "β"}.items():
        found = fit["params"][name]
        width = found["high"] - found["low"]
        for value, key in zip(shown[symbol], ("value", "low", "high"), strict=True):
            assert value == pytest.approx(found[key], abs=0.1 * width)


def test_the_page_asks_for_nothing(page):
    class Links(HTMLParser):
        found: list[tuple[str, str, str]] = []  # noqa: RUF012

        def handle_starttag(self, tag, attrs):
            self.found += [
                (tag, name, value or "")
                for name, value in attrs
                if name in ("src", "href", "xlink:href", "srcset", "data", "action")
            ]

    parser = Links()
    parser.feed(page)
    assert not [x for x in parser.found if not x[2].startswith(("#", "data:image/png;base64,"))]
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "<script" not in page
    assert "<link" not in page
    assert len(page) < 3_000_000


def test_every_id_is_used_once_and_every_reference_is_met(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:href="|url\()#([^")]+)', page)
    assert references
    assert set(references) <= set(ids)


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_on_the_page_and_beside_it(sweep, page, name):
    figure = re.search(rf'<figure id="{name}">(.*?)</figure>', page, re.S).group(1)
    assert figure.count("<svg") == 2  # a desktop's and a phone's
    pixels = imread(sweep / f"{name}.png")[..., :3]
    assert pixels.shape[1] >= 1300
    assert len(np.unique(pixels[::5, ::5].reshape(-1, 3), axis=0)) > 20
    assert 0.01 < np.mean(pixels.min(axis=-1) < 0.98) < 0.9


def test_sections_come_in_order(page):
    places = [page.index(f'id="{name}"') for name in (*FIGURES, "law", "runs", "method")]
    assert places == sorted(places)
    text = text_of(page)
    for phrase in (
        "sum of Huber(1e-3) of log residuals over 22 points",
        "1.20 times 6ND",
        "non-embedding parameters",
        "percentile bootstraps",
        "python -m experiments.scaling_sweep --preset demo",
        "0123456789abcdef",
        "ab" * 32,
        "30 000 000 bytes train",
        "Prediction made 2026-01-02 03:59:00 UTC; held-out run started 2026-01-02 04:00:00 UTC",
    ):
        assert phrase in text


def test_every_run_has_a_row_with_its_numbers(sweep, page):
    for folder in (sweep / "train").iterdir():
        summary = json.loads((folder / "summary.json").read_text())
        row = re.search(rf'<th scope="row">{folder.name}</th>(.*?)</tr>', page, re.S).group(1)
        assert f"{summary['validation_loss']:.3f}" in row
        assert f"{summary['tokens']:,}".replace(",", " ") in row
        assert f"{summary['tokens'] / summary['wall_seconds']:,.0f}".replace(",", " ") in row


def test_the_same_folder_gives_the_same_bytes(sweep, tmp_path):
    other = copied(sweep, tmp_path / sweep.name)
    names = [f"{name}.png" for name in FIGURES] + ["report.html"]
    for name in names:
        (other / name).unlink()
    build(other)
    for name in names:
        assert (other / name).read_bytes() == (sweep / name).read_bytes(), name


def test_a_miss_is_said_and_explained(tmp_path):
    found = verdict(read_sweep(make_sweep(tmp_path, **SMALL, surprise=0.2)))
    assert "outside the interval" in found.headline
    assert found.tone == "outside"
    assert "too low" in found.sentence
    reasons = " ".join(found.reasons)
    assert "Distance" in reasons
    assert "times the largest fitted compute" in reasons
    assert "misses one time in 20" in reasons


def test_a_prediction_that_came_later_is_not_believed(sweep, tmp_path):
    assert verdict(read_sweep(sweep)).warnings == ()
    late = copied(sweep, tmp_path / "late")
    prediction = json.loads((late / "prediction.json").read_text())
    prediction["made_at"] = "2026-01-02T05:00:00+00:00"
    (late / "prediction.json").write_text(json.dumps(prediction))
    assert "not shown to have come first" in " ".join(verdict(read_sweep(late)).warnings)


def test_a_fit_that_has_changed_since_the_prediction_is_said(sweep, tmp_path):
    grown = copied(sweep, tmp_path / "grown")
    write_run(grown / "train", "later", 30_000, 262_144, 2.4)
    warnings = " ".join(verdict(read_sweep(grown)).warnings)
    assert "not the one that predicted: 1 runs more and 0 fewer" in warnings


def test_file_times_that_a_copy_lost_are_not_shown(sweep, tmp_path):
    moved = copied(sweep, tmp_path / "moved")
    run = json.loads((moved / "prediction.json").read_text())["run"]
    set_times(moved / "train" / run, BEGAN, seconds=-1)
    assert "file times were not kept" in verdict(read_sweep(moved)).timeline


def test_a_sweep_in_progress(tmp_path):
    """A held-out run that goes on, a diverged run, one with no line yet, and a hostile name."""
    root = make_sweep(tmp_path, **SMALL, held_out=(150_000, 2_097_152), held_out_status=None)
    write_run(root / "train", "bad", 9_000, 524_288, 3.0, status="diverged")
    hostile = "<script>alert('x')<"
    folder = write_run(root / "train", hostile, 9_000, 131_072, 3.0, status=None)
    empty = write_run(root / "train", "started", 9_000, 262_144, 3.0, status=None)
    (empty / "metrics.jsonl").write_text("")
    assert folder.name == hostile
    page = build(root).read_text("utf-8")
    text = text_of(page)
    assert "for a run that has not ended yet" in text
    assert "The run has done 50% of its tokens." in text
    assert "bad : it diverged" in text
    assert "started : it is unfinished" in text
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;" in page
    for name in FIGURES:
        assert (root / f"{name}.png").is_file()


def test_no_fit_yet(tmp_path):
    """Too few runs: the page says so, and the figures of an earlier report go."""
    write_run(tmp_path / "train", "one", 4_000, 131_072, 2.9)
    (tmp_path / "fit.png").write_bytes(b"old")
    page = build(tmp_path).read_text("utf-8")
    text = text_of(page)
    assert "No law yet" in text
    assert "Not drawn: fit, extrapolation, residuals, bootstrap, tokens per parameter." in text
    assert "1 usable points; a fit of chinchilla needs at least 6" in text
    assert not (tmp_path / "fit.png").exists()
    assert (tmp_path / "loss_curves.png").is_file()


def test_a_fit_without_a_prediction(tmp_path):
    root = make_sweep(tmp_path, **SMALL, seeds=0, held_out=None)
    found = verdict(read_sweep(root, bootstrap=0))
    assert found.headline == "A law of 9 runs; no run has been predicted yet."
    assert found.gauge is None


def test_a_held_out_run_that_was_never_predicted(tmp_path):
    root = make_sweep(tmp_path, **SMALL, seeds=0, predict=False)
    found = verdict(read_sweep(root, bootstrap=0))
    assert "never predicted" in found.headline
    assert "nothing can be claimed" in found.sentence


def test_a_held_out_run_that_diverged(tmp_path):
    root = make_sweep(tmp_path, **SMALL, held_out_status="diverged")
    assert "diverged, so the prediction was not tested" in verdict(read_sweep(root)).sentence


def test_the_gauge_stands_in_proportion(sweep):
    gauge = verdict(read_sweep(sweep)).gauge
    assert 0 <= gauge.low < gauge.predicted < gauge.high <= 100
    prediction = json.loads((sweep / "prediction.json").read_text())
    share = (prediction["loss"] - prediction["low"]) / (prediction["high"] - prediction["low"])
    assert (gauge.predicted - gauge.low) / (gauge.high - gauge.low) == pytest.approx(
        share, abs=1e-3
    )


def test_errors_name_the_folder_and_the_file(tmp_path):
    with pytest.raises(LogError, match="holds no run"):
        build(tmp_path)
    with pytest.raises(LogError, match="no such folder"):
        build(tmp_path / "absent")
    folder = write_run(tmp_path, run_name(4_000, 131_072, 0), 4_000, 131_072, 2.9)
    (folder / "metrics.jsonl").write_text('{"schema": 1}\n')
    with pytest.raises(LogError, match=r"metrics\.jsonl:1: missing"):
        build(tmp_path)
