"""Every figure, for several shapes of a sweep: units, places, what is said and what is shown."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from farwide import plotting
from farwide.plotting import NARROW, WIDE, Curve, HeldOut, Points
from tests.sweep_factory import REPLICATES, law
from theory import scaling

SHAPES = {
    "three by three": ((4e3, 2e4, 8e4), (1.3e5, 5.2e5, 1.05e6), None),
    "eight sizes": (tuple(np.geomspace(4e3, 5e5, 8)), (1.3e5, 5.2e5, 2.1e6), (2e6, 8.4e6)),
    "planted": ((4e3, 9e3, 2e4, 4.5e4, 8e4), (1.3e5, 2.6e5, 5.2e5, 1.05e6), (1.5e5, 2.1e6)),
}


class Sweep:
    """Synthetic runs of one shape, fitted."""

    def __init__(self, sizes, budgets, held_out, bootstrap=REPLICATES):
        rng = np.random.default_rng(3)
        grid = [(n, d) for n in sizes for d in budgets]
        N, D = np.array(grid).T
        loss = law(N, D) * np.exp(0.006 * rng.standard_normal(len(N)))
        runs = tuple(f"r{i}" for i in range(len(N)))
        self.points = Points(runs, N, D, loss)
        data = {"N": N, "D": D, "loss": loss, "run": np.array(runs)}
        self.fit = scaling.fit("chinchilla", data, bootstrap=bootstrap)
        self.curves = [curve(n, d, x) for (n, d), x in zip(grid, loss, strict=True)]
        self.held_out = None
        if held_out is not None:
            n, d = held_out
            at = {"N": n, "D": d}
            interval = self.fit.interval(at, noise=0.006, noise_df=8)
            observed = float(law(n, d))
            self.held_out = HeldOut(
                "big", n, d, observed, float(self.fit.predict(at)),
                float(interval.low), float(interval.high),
            )  # fmt: skip
            self.curves.append(curve(n, d, observed, role="held_out"))


def curve(n, d, loss, role="fit", state="finished", lines=12):
    tokens = np.arange(1, lines + 1) / lines * d
    smooth = law(n, tokens) - law(n, d) + loss
    validation = np.where(np.arange(lines) % 3 == 2, smooth, np.nan)
    return Curve(f"{n:g}-{d:g}", role, float(n), tokens, smooth, validation, state)


@pytest.fixture(scope="module", params=SHAPES)
def sweep(request):
    return Sweep(*SHAPES[request.param])


@pytest.fixture(scope="module")
def planted():
    return Sweep(*SHAPES["planted"])


def draw_all(s: Sweep, width: float) -> dict:
    return {
        "loss_curves": plotting.loss_curves(s.curves, width=width),
        "loss_vs_compute": plotting.loss_vs_compute(
            s.curves, s.points, s.fit, s.held_out, width=width
        ),
        "fit": plotting.fitted_law(s.points, s.fit, s.held_out, width=width),
        "extrapolation": plotting.extrapolation(
            s.points, s.fit, s.held_out, noise=0.006, noise_df=8, width=width
        ),
        "residuals": plotting.residuals(
            s.points, s.fit, s.held_out, seed_noise=0.005, width=width
        ),
        "corner": plotting.corner(s.fit, width=width),
        "tokens_per_parameter": plotting.tokens_per_parameter(
            s.points, s.fit, s.held_out, width=width
        ),
    }  # fmt: skip


def labels(figure) -> set[str]:
    found = {figure.get_supxlabel(), figure.get_supylabel()}
    for ax in figure.axes:
        if ax.get_visible():
            found |= {ax.get_xlabel(), ax.get_ylabel()}
    return found - {""}


UNITS = {
    "loss_curves": {"tokens D (bytes)", "loss (nats per byte)"},
    "loss_vs_compute": {"training compute C = 6ND (FLOPs)", "validation loss (nats per byte)"},
    "fit": {"training tokens D (bytes)", "validation loss (nats per byte)"},
    "extrapolation": {
        "predicted loss (nats per byte)",
        "observed loss (nats per byte)",
        "training compute C = 6ND (FLOPs)",
        "observed / predicted − 1 (%)",
    },
    "residuals": {
        "non-embedding parameters N",
        "training tokens D (bytes)",
        "training compute C = 6ND (FLOPs)",
        "tokens per parameter D/N",
        "residual: log(observed / predicted) (%)",
    },
    "tokens_per_parameter": {
        "training compute C = 6ND (FLOPs)",
        "tokens per parameter D/N (bytes)",
    },
}


def overlaps(a, b, slack: float = 1.0) -> bool:
    return (
        a.x0 + slack < b.x1 and b.x0 + slack < a.x1 and a.y0 + slack < b.y1 and b.y0 + slack < a.y1
    )


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_labels_have_units_and_nothing_is_cut_or_covered(sweep, width):
    for name, figure in draw_all(sweep, width).items():
        if name in UNITS and width == WIDE:
            assert labels(figure) == UNITS[name], name
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # lays the figure out
        renderer = canvas.get_renderer()
        edge = figure.bbox
        texts = list(figure.texts)
        for ax in figure.axes:
            if ax.get_visible():
                texts += [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
                ticks = [t.label1 for t in ax.xaxis.get_major_ticks() if t.label1.get_visible()]
                boxes = [t.get_window_extent(renderer) for t in ticks if t.get_text()]
                boxes.sort(key=lambda b: b.x0)
                for left, right in pairwise(boxes):
                    assert left.x1 <= right.x0, (name, [t.get_text() for t in ticks])
        shown = [t for t in texts if t.get_text() and t.get_visible()]
        for t in shown:
            box = t.get_window_extent(renderer)
            assert box.x0 >= edge.x0 - 1, (name, t.get_text())
            assert box.x1 <= edge.x1 + 1, (name, t.get_text())
            assert box.y0 >= edge.y0 - 1, (name, t.get_text())
            assert box.y1 <= edge.y1 + 1, (name, t.get_text())
        for i, a in enumerate(shown):
            for b in shown[i + 1 :]:
                pair = (name, a.get_text(), b.get_text())
                boxes = [t.get_window_extent(renderer) for t in (a, b)]
                assert not overlaps(*boxes), pair
        for legend in figure.legends:
            box = legend.get_window_extent(renderer)
            assert box.x0 >= edge.x0 - 1, name
            assert box.x1 <= edge.x1 + 1, name
            for ax in figure.axes:
                if ax.get_visible():
                    assert not overlaps(box, ax.get_window_extent(renderer)), name


def test_titles_state_what_the_data_say(planted):
    titles = {name: plotting.title_of(f) for name, f in draw_all(planted, WIDE).items()}
    held, residuals = planted.held_out, planted.fit.residuals
    rmsle = 100 * np.sqrt(np.mean(residuals**2))
    assert f"RMSLE of the fitted runs {rmsle:.2f}%" in titles["extrapolation"]
    side = "inside" if held.low <= held.observed <= held.high else "outside"
    assert side in titles["extrapolation"]
    assert f"{100 * np.median(np.abs(residuals)):.2f}%" in titles["fit"]
    largest = float(max(planted.points.C))
    best = scaling.frontier(planted.fit, np.array([largest]))
    ratio = float(best.D[0] / best.N[0])
    assert f"{ratio:.0f} tokens a parameter" in titles["tokens_per_parameter"]
    ends = scaling.frontier(planted.fit, np.array([largest / 10, largest])).loss
    assert f"lowers the loss by {100 * (1 - ends[1] / ends[0]):.0f}%" in titles["loss_vs_compute"]


def test_the_frontier_is_the_lowest_loss_at_each_compute(planted):
    """The dashed line against a search over N, which knows no closed form."""
    figure = plotting.loss_vs_compute(planted.curves, planted.points, planted.fit)
    (line,) = [x for x in figure.axes[0].lines if x.get_linestyle() == "--"]
    for C, drawn in list(zip(*line.get_data(), strict=True))[::20]:
        N = np.geomspace(1e2, 1e8, 20_001)
        assert drawn == pytest.approx(
            planted.fit.predict({"N": N, "D": C / (6 * N)}).min(), rel=1e-6
        )


def test_the_held_out_run_is_the_only_orange(planted):
    from matplotlib.colors import to_hex

    from farwide.plotting.style import HELD_OUT

    for name, figure in draw_all(planted, WIDE).items():
        lines = [x for ax in figure.axes for x in ax.lines]
        orange = [x for x in lines if to_hex(x.get_color()) == HELD_OUT]
        assert bool(orange) == (name != "corner"), name


def test_a_drift_of_the_residuals_is_named(planted):
    drifting = 0.03 * np.log10(planted.points.D / 5e5)
    bent = Sweep(*SHAPES["planted"][:2], None, bootstrap=0)
    object.__setattr__(bent.fit, "residuals", drifting + 0.001 * np.sin(np.arange(20)))
    trends = {t.name: t for t in plotting.trends(bent.points, bent.fit)}
    assert trends["D"].slope == pytest.approx(3.0, rel=0.05)
    assert trends["D"].p < 1e-6
    assert trends["N"].p > 0.05
    title = plotting.title_of(plotting.residuals(bent.points, bent.fit))
    assert "drift with D (3" in title
    assert "no trend" not in title


def test_without_a_bootstrap_there_are_no_bands_and_no_corner():
    bare = Sweep((4e3, 2e4, 8e4), (1.3e5, 5.2e5, 1.05e6), None, bootstrap=0)
    with pytest.raises(ValueError, match="fewer than 20 bootstrap replicates"):
        plotting.corner(bare.fit)
    assert not plotting.fitted_law(bare.points, bare.fit).axes[0].collections
    text = plotting.title_of(plotting.tokens_per_parameter(bare.points, bare.fit))
    assert "95%" not in text


def test_runs_that_diverged_or_have_no_validation_loss_yet():
    tokens = np.array([1e3, 2e3, 3e3])
    nothing = np.full(3, np.nan)
    early = Curve("early", "fit", 4e3, tokens, np.array([5.0, 4.0, 3.5]), nothing, "unfinished")
    wild = Curve("wild", "fit", 9e3, tokens, np.array([5.0, 1e6, np.nan]), nothing, "diverged")
    empty = Curve("empty", "fit", 9e3, tokens[:0], nothing[:0], nothing[:0], "unfinished")
    figure = plotting.loss_curves([early, wild, empty])
    assert figure.axes[0].get_ylim()[1] < 1.2 * np.log(256)
    assert [t.get_text() for t in figure.legends[0].get_texts()][-2:] == [
        "diverged",
        "still running or stopped",
    ]
    with pytest.raises(ValueError, match="no run with a finite loss"):
        plotting.loss_curves([empty])
    with pytest.raises(ValueError, match="no run with a validation loss"):
        plotting.loss_vs_compute([early])


def test_files_are_deterministic_and_ids_carry_their_prefix(planted):
    first, second, third = (plotting.fitted_law(planted.points, planted.fit) for _ in range(3))
    svg = plotting.to_svg(first, prefix="a")
    assert svg == plotting.to_svg(second, prefix="a")
    assert svg.startswith("<svg")
    assert "<dc:date>" not in svg
    assert 'id="a-' in svg
    assert svg.replace('"a-', '"b-').replace("#a-", "#b-") == plotting.to_svg(third, prefix="b")
    assert plotting.to_png(first) == plotting.to_png(second)


def test_the_title_can_be_left_to_the_page(planted):
    figure = plotting.fitted_law(planted.points, planted.fit)
    title = plotting.title_of(figure)
    with_title = plotting.to_svg(figure, prefix="a")
    without = plotting.to_svg(figure, prefix="a", title=False)
    assert len(without) < len(with_title)
    assert plotting.title_of(figure) == title
