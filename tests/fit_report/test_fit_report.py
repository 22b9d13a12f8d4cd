"""The page of a fit: its numbers are the fit's, it asks for nothing, and it says what it lacks."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from farwide import fitting
from farwide.fit_report import MissingPlotly, build
from farwide.fitting import parse_hold_out, save_fit
from farwide.runlog import LogError
from farwide.tables import Removal, Table
from theory import scaling

REPLICATES = 40
FIGURES = (
    "loss_against_compute", "isoflop", "best_size", "tokens_per_parameter", "extrapolation",
    "residuals", "bootstrap",
)  # fmt: skip
PROVENANCE = {
    "command": "farwide fit runs.csv",
    "files": {"runs.csv": "ab" * 32},
    "settings": {"columns": {"N": "params_no_embed"}},
}


def planted(hold_out: str | None, noise: float = 0.005):
    rng = np.random.default_rng(1)
    C, ratio = (np.ravel(x) for x in np.meshgrid(np.geomspace(1e17, 1e20, 6), [2, 8, 20, 50, 200]))
    N = np.sqrt(C / 6 / ratio)
    D = C / (6 * N)
    loss = 1.82 + 482 * N**-0.348 + 2085 * D**-0.366
    columns = {
        "N": N, "D": D, "loss": loss * np.exp(noise * rng.standard_normal(len(N))),
        "run": np.array(["<script>alert('x')</script>", *(f"run-{i:02d}" for i in range(1, 30))]),
    }  # fmt: skip
    table = Table(columns, tuple(f"runs.csv:{i + 2}" for i in range(len(N))),
                  (Removal("runs.csv:99", "loss is nan"),))  # fmt: skip
    rule = parse_hold_out(hold_out) if hold_out else None
    found = fitting.fit_table(table, bootstrap=REPLICATES, hold_out=rule)
    return replace(found, certainty=fitting.certainty(found.fit))


@pytest.fixture(scope="module")
def fitted():
    return planted("C>5e19")


@pytest.fixture(scope="module")
def folder(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    save_fit(folder / "fit.json", fitted, **PROVENANCE)
    build(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text("utf-8")


def text_of(page: str) -> str:
    """What a reader sees: no style, no scripts, no tags."""
    page = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def figure(page: str, name: str) -> dict:
    data = re.search(rf'id="plot-{name}-data">(.*?)</script>', page, re.S)
    assert data is not None, name
    return json.loads(data[1])


def trace(page: str, name: str, called: str) -> dict:
    found = [t for t in figure(page, name)["data"] if t.get("name") == called]
    assert found, (name, called)
    return found[0]


def heading(page: str, name: str) -> str:
    found = re.search(rf'<figure id="{name}">\s*<h2>(.*?)</h2>', page, re.S)
    assert found is not None
    return html.unescape(found[1])


def test_what_was_fitted_is_stated(fitted, page):
    text = text_of(page)
    for phrase in (
        "Law chinchilla: loss = E + A N^-alpha + B D^-beta",
        f"Points {fitted.fit.n_points} of {fitted.fit.n_points} runs",
        "Held out C = 6ND > 5e+19 (5 of 30 rows): RMSLE",
        "Left out 1, listed below",
        "N the column params_no_embed of the data",
        "C 6ND (6 times size times tokens) wherever C is used, not an exact count",
        "sum of Huber(1e-3) of log residuals over 25 points",
        "(a sum, not a mean)",
        "r²/2 up to delta = 0.001, linear beyond",
        "Status converged",
        f"{REPLICATES} bootstrap resamples of runs (seed 0)",
        "Design condition number",
        "one run scatters by",
        "runs.csv:99 : loss is nan",
        "Command farwide fit runs.csv",
        "runs.csv (sha256 " + "ab" * 32,
        "jax 0.",
    ):
        assert phrase in text, phrase


def test_numbers_on_the_page_are_those_of_the_fit(fitted, page):
    rows = re.findall(r'<th scope="row">(.)</th><td class="number">(.*?)</td>'
                      r'<td class="number">(.*?) to (.*?)</td>', page)  # fmt: skip
    shown = {symbol: [float(v.replace(" ", "")) for v in values] for symbol, *values in rows}
    estimates = fitting.parameter_estimates(fitted.fit)
    estimates |= fitting.compute_optimal_exponents(fitted.fit)
    for name, symbol in {"E": "E", "alpha": "α", "beta": "β", "a": "a", "b": "b"}.items():
        found = estimates[name]
        for number, exact in zip(shown[symbol], found, strict=True):
            assert number == pytest.approx(exact, abs=0.1 * (found.high - found.low))
    profiles = re.findall(
        r'<th scope="row">([Eαβ])</th>(?:<td class="number">.*?</td>){2}'
        r'<td class="number">(.*?) to (.*?)</td>', page
    )  # fmt: skip
    assert len(profiles) == 3
    for symbol, *ends in profiles:
        exact = fitted.certainty.profile[{"α": "alpha", "β": "beta"}.get(symbol, symbol)]
        for number, end in zip(ends, exact, strict=True):
            assert float(number) == pytest.approx(end, abs=0.1 * (exact[1] - exact[0]))
    errors = fitting.log_errors(fitted.fit, fitted.held)
    rmsle = 100 * float(np.sqrt(np.mean(errors**2)))
    for title in (text_of(page), heading(page, "extrapolation")):
        (said,) = re.findall(
            r"(?:held-out ones with an RMSLE of|Held out: RMSLE) ([\d.]+)%", title
        )[:1]
        assert float(said) == pytest.approx(rmsle, rel=0.05)


def test_points_of_the_figures_are_those_of_the_fit(fitted, page):
    columns, held = fitted.table.columns, fitted.held.columns
    dots = trace(page, "loss_against_compute", "fitted runs")
    np.testing.assert_allclose(dots["x"], 6 * columns["N"] * columns["D"], rtol=1e-5)
    np.testing.assert_allclose(dots["y"], columns["loss"], rtol=1e-5)
    diamonds = trace(page, "loss_against_compute", "held out")
    np.testing.assert_allclose(diamonds["y"], held["loss"], rtol=1e-5)
    for shown, name in zip(dots["text"][1:], columns["run"][1:], strict=True):
        assert f"<b>{name}</b>" in shown
        assert re.search(r"N = .*D = .*C = .*loss = .*residual = [+-][\d.]+%", shown)
    panels = [t for t in figure(page, "residuals")["data"] if t["name"] == "fitted runs"]
    assert len(panels) == 4
    for panel in panels:
        np.testing.assert_allclose(panel["y"], 100 * fitted.fit.residuals, rtol=1e-5, atol=1e-9)


def test_curves_of_the_figures_are_those_of_the_fit(fitted, page):
    (line,) = [
        t for t in figure(page, "loss_against_compute")["data"]
        if t.get("line", {}).get("dash") == "dash"
    ]  # fmt: skip
    assert line["name"] == "lowest loss of the law, 95% band"
    best = scaling.frontier(fitted.fit, np.asarray(line["x"]))
    np.testing.assert_allclose(line["y"], best.loss, rtol=1e-4)
    size = trace(page, "best_size", "best size N*")
    np.testing.assert_allclose(
        size["y"], scaling.frontier(fitted.fit, np.asarray(size["x"])).N, rtol=1e-4
    )
    band = trace(page, "best_size", "95% band of N*")
    ends = scaling.frontier_interval(fitted.fit, np.asarray(band["x"]))
    np.testing.assert_allclose(band["y"], ends[1].N, rtol=1e-4)
    tokens = trace(page, "tokens_per_parameter", "20 tokens a parameter")
    assert tokens["y"] == [20.0, 20.0]
    stars = [
        t for t in figure(page, "isoflop")["data"]
        if t.get("marker", {}).get("symbol") == "star"
    ]  # fmt: skip
    columns = fitted.table.columns
    bowls = scaling.isoflop({name: columns[name] for name in ("N", "D", "loss")})
    assert len(stars) == 5 == np.sum(bowls.inside)  # the budgets of the fitted runs
    for star, N, loss in zip(stars, bowls.N, bowls.loss, strict=True):
        assert star["x"][0] == pytest.approx(N, rel=1e-5)
        assert star["y"][0] == pytest.approx(loss, rel=1e-5)
    shown = trace(page, "best_size", "IsoFLOP parabolas")["y"]
    np.testing.assert_allclose(shown, bowls.N, rtol=1e-5)
    assert f"N* grows as C to the {bowls.N_law.exponent:.2f}" in heading(page, "isoflop")


def test_the_corner_holds_log_a_against_log_b(fitted, page):
    layout = figure(page, "bootstrap")["layout"]
    titles = {k: v["title"]["text"] for k, v in layout.items() if k.startswith(("xaxis", "yaxis"))}
    assert {"E", "log₁₀ A", "log₁₀ B", "α", "β"} <= {*titles.values()}
    pairs = [t for t in figure(page, "bootstrap")["data"] if t["type"] == "scatter"]
    expected = np.log10(fitted.fit.bootstrap["A"])
    assert any(
        len(t["x"]) == REPLICATES and np.allclose(t["x"], expected, atol=1e-4) for t in pairs
    )


def test_every_figure_is_there_with_units_on_its_axes(page):
    units = re.compile(r"\(.*\)|parameters|tokens|log₁₀|^[Eαβ]$")
    for name in FIGURES:
        layout = figure(page, name)["layout"]
        assert heading(page, name)
        axes = {k: v for k, v in layout.items() if re.fullmatch(r"[xy]axis\d*", k)}
        assert axes, name
        titled = [v["title"].get("text", "") for v in axes.values()]
        assert any(titled), name
        if name not in ("bootstrap", "residuals"):  # whose inner panels share the outer titles
            assert all(titled), name
        for title in titled:
            assert not title or units.search(title), (name, title)


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
    assert parser.found == []
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert len(scripts) == 2  # plotly.js, and ours
    assert "plotly.js" in scripts[0][:200]
    rest = page.replace(scripts[0], "")
    assert "http://" not in rest
    assert "https://" not in rest
    assert "url(" not in rest
    assert "@import" not in rest
    assert "default-src 'none'" in rest  # so plotly.js cannot ask for anything either
    assert "showSendToCloud: false" in rest


def test_a_hostile_name_of_a_run_is_text(page):
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)" in page


def test_the_same_fit_gives_the_same_bytes(folder, tmp_path):
    other = tmp_path / folder.name
    other.mkdir()
    shutil.copy(folder / "fit.json", other)
    build(other)
    assert (other / "report.html").read_bytes() == (folder / "report.html").read_bytes()


def test_a_law_of_one_column(tmp_path):
    x = np.geomspace(10, 1e5, 14)
    y = (3 * x**-0.4 + 0.1) * np.exp(0.01 * np.random.default_rng(0).standard_normal(14))
    fitted = fitting.fit_table(
        Table({"x": x, "y": y}, tuple(f"{i}" for i in range(14))), form="m2",
        bootstrap=REPLICATES, hold_out=parse_hold_out("x>2e4"),
    )  # fmt: skip
    save_fit(tmp_path / "fit.json", fitted)
    page = build(tmp_path).read_text("utf-8")
    for name in ("curve", "residuals", "bootstrap"):
        assert figure(page, name)["data"]
    for name in set(FIGURES) - {"residuals", "bootstrap"}:
        assert f'id="{name}"' not in page
    law = trace(page, "curve", "law")
    np.testing.assert_allclose(law["y"], fitted.fit.predict({"x": np.asarray(law["x"])}), rtol=1e-4)
    assert trace(page, "curve", "held out")["marker"]["symbol"] == "diamond"
    assert figure(page, "curve")["layout"]["xaxis"]["title"]["text"] == "x (as logged)"
    assert "Held out: RMSLE" in heading(page, "curve")


def test_without_a_bootstrap_and_with_a_term_switched_off(tmp_path):
    N, D = (np.ravel(x) for x in np.meshgrid([1e4, 1e5, 1e6], [1e6, 1e7, 1e8]))
    table = Table({"N": N, "D": D, "loss": 30 * N**-0.3}, tuple(f"{i}" for i in range(9)))
    save_fit(tmp_path / "fit.json", fitting.fit_table(table, bootstrap=0, loss="squared"))
    page = build(tmp_path).read_text("utf-8")
    text = text_of(page)
    assert "Not drawn: isoflop. The fitted law has no minimum along C = 6 N D: no split" in text
    assert "Not drawn: bootstrap. The fit has no bootstrap replicates" in text
    assert "The fit ended at bound" in text
    assert "none: the fit has no bootstrap" in text
    assert "predicts" not in re.search(r"<h1>(.*?)</h1>", page, re.S).group(1)
    assert figure(page, "loss_against_compute")["data"]


def test_a_folder_without_a_fit(tmp_path):
    with pytest.raises(LogError, match=r"fit\.json: no such file"):
        build(tmp_path)


def test_without_plotly_it_says_how_to_install_it(folder, tmp_path):
    shutil.copy(folder / "fit.json", tmp_path)
    code = (
        "import sys; sys.modules['plotly'] = None\n"
        "from farwide.fit_report import MissingPlotly, build\n"
        "try: build(sys.argv[1])\n"
        "except MissingPlotly as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == 'report.html needs plotly: pip install "farwide[report]"'
    assert not (tmp_path / "report.html").exists()
    assert issubclass(MissingPlotly, ImportError)
