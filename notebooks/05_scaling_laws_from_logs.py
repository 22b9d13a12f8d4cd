# %% [markdown]
# # Scaling laws from logs
#
# Train several small models, note size N, tokens D and final loss L of each, and fit
#
# $$ L(N, D) = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}. $$
#
# The fitted law predicts runs that nobody has trained yet, and says how to split a budget between
# size and data. This notebook plants a law, hides it behind noisy runs, and looks at what comes
# back: the parameters, how sure the fit is, when it *cannot* know, a prediction with its
# interval, and the frontier. At the end it does the same to your own logs.

# %%
import csv
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from farwide.fitting import estimate_noise, fit_runs, load_prediction
from farwide.plotting.style import ACCENT, BAND, HELD_OUT, MUTED, STYLE
from farwide.runlog import read_runs
from farwide.tables import read_table
from theory import scaling

plt.rcParams.update(STYLE)
TOY = bool(os.environ.get("FARWIDE_TOY"))  # small sizes, for a quick check that all of it runs
BOOTSTRAP = 200 if TOY else 1000

# %% [markdown]
# ## A law, planted
#
# Five sizes at four budgets, a loss that scatters by one percent around the law, and two more
# seeds at one point, so that the scatter itself can be measured.

# %%
PLANTED = {"E": 1.2, "A": 18.0, "B": 90.0, "alpha": 0.35, "beta": 0.42}
NOISE = 0.01  # standard deviation of one run's log loss


def law(N, D, *, E, A, B, alpha, beta):
    return E + A / N**alpha + B / D**beta


rng = np.random.default_rng(3)
sizes = np.array([6e3, 12e3, 25e3, 50e3, 100e3])
budgets = np.array([128, 256, 512, 1024]) * 1024.0
N, D = (axis.ravel() for axis in np.meshgrid(sizes, budgets, indexing="ij"))
N, D = np.append(N, [25e3, 25e3]), np.append(D, [budgets[2]] * 2)
loss = law(N, D, **PLANTED) * np.exp(NOISE * rng.standard_normal(N.size))

fit = scaling.fit("chinchilla", {"N": N, "D": D, "loss": loss}, bootstrap=BOOTSTRAP)
print(f"{fit.status}; Huber({fit.delta:g}) of {fit.n_points} log residuals: {fit.objective:.3e}")
for name, (low, high) in fit.interval().items():
    print(f"{name:6s} {fit.params[name]:9.4g}   95%: {low:9.4g} to {high:9.4g}", end="   ")
    print(f"planted {PLANTED[name]:g}")

# %% [markdown]
# The parameters are known much less well than the law itself. A and alpha trade against one
# another along a narrow ridge, and so do B and beta: the picture on the left is a cloud of
# bootstrap replicates, each a fit to runs drawn again with replacement. On the right, the law at
# the same replicates hardly moves where there are runs, and opens where there are none.

# %%
draws = fit.replicates()
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
usable = draws["A"] > 0
left.plot(np.log10(draws["A"][usable]), draws["alpha"][usable], ".", ms=2, color=MUTED, alpha=0.5)
left.plot(np.log10(fit.params["A"]), fit.params["alpha"], "o", color=ACCENT, label="fit")
left.plot(
    np.log10(PLANTED["A"]), PLANTED["alpha"], "D", ms=9, mfc="none", color=HELD_OUT, label="planted"
)
left.set(title="A and alpha trade", xlabel="log10 A", ylabel="alpha")
left.legend()

tokens = np.geomspace(6e4, 8e6, 60)
for n, colour in zip(sizes[::2], plt.get_cmap("viridis")([0.15, 0.5, 0.8]), strict=True):
    band = fit.interval({"N": n, "D": tokens})
    right.fill_between(tokens, band.low, band.high, color=colour, alpha=0.2, lw=0)
    right.plot(tokens, fit.predict({"N": n, "D": tokens}), color=colour, label=f"N = {n:,.0f}")
    own = n == N
    right.plot(D[own], loss[own], "o", color=colour, ms=4)
right.set(
    xscale="log",
    title="The law, with its 95% band",
    xlabel="tokens D",
    ylabel="loss (nats per byte)",
)
right.legend()
plt.show()

# %% [markdown]
# ## Predicting a run that was not trained
#
# The interval of one *run* is wider than the band of the law, since the run scatters too. The
# scatter is estimated from the residuals, and from the seeds where a point was repeated: the
# larger counts. Below, a run of ten times the largest compute, and how often the interval covers
# the outcome of many such runs. An interval allows for laws that these runs leave possible too,
# so next to one that came out well, more than 95% of the runs fall inside it, and next to one
# that came out badly, fewer.

# %%
noise = estimate_noise(
    fit.residuals, np.log(loss), list(zip(N, D, strict=True)), [str(i) for i in range(N.size)], 5
)
print(noise.sentence)
next_run = {"N": 3e5, "D": 3.4e6}
compute = 6 * next_run["N"] * next_run["D"]
interval = fit.interval(next_run, level=0.95, noise=noise.sd, noise_df=noise.df)
low, high, predicted = float(interval.low), float(interval.high), float(fit.predict(next_run))
print(f"predicted {predicted:.3f}, 95%: {low:.3f} to {high:.3f} nats per byte,", end=" ")
print(f"at {compute / (6 * N * D).max():.1f} times the largest fitted compute")
outcomes = law(**next_run, **PLANTED) * np.exp(NOISE * rng.standard_normal(10_000))
covered = np.mean((outcomes >= low) & (outcomes <= high))
print(f"of 10,000 such runs the interval covers {covered:.1%}; the planted law says", end=" ")
print(f"{law(**next_run, **PLANTED):.3f}")

# %%
fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
C = 6 * N * D
ax.plot(C, loss, "o", color=MUTED, label="fitted runs")
ax.errorbar(
    compute,
    predicted,
    yerr=[[predicted - low], [high - predicted]],
    fmt="_",
    ms=12,
    color=HELD_OUT,
    capsize=4,
    label="prediction, 95%",
)
ax.plot(compute, outcomes[0], "D", color=HELD_OUT, label="one such run")
ax.set(
    xscale="log",
    title=f"{compute / C.max():.0f} times the compute of any fitted run",
    xlabel="compute C = 6ND (FLOPs)",
    ylabel="loss (nats per byte)",
)
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## When the runs cannot say
#
# If every run sees the same number of tokens, E and B / D^beta are one number, and no method can
# part them, however many sizes there are and however little noise. A fit returns something all the
# same; the status and the notes say that it means nothing.

# %%
many_sizes = np.geomspace(3e3, 1e6, 12)
one_budget = np.full_like(many_sizes, budgets[1])
same_tokens = law(many_sizes, one_budget, **PLANTED) * np.exp(0.002 * rng.standard_normal(12))
blind = scaling.fit("chinchilla", {"N": many_sizes, "D": one_budget, "loss": same_tokens})
print(blind.status)
for note in blind.notes:
    print("-", note)
assert str(blind.status) == "unidentifiable"

# %% [markdown]
# ## The best split of a budget
#
# At C = 6ND the law has one best N; it grows as C^a with a = beta / (alpha + beta). The band is
# that of the bootstrap.

# %%
C_grid = np.geomspace(1e9, 1e14, 40)
best = scaling.frontier(fit, C_grid)
lower, upper = scaling.frontier_interval(fit, C_grid)
true = scaling.frontier(PLANTED, C_grid)
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for ax, name, label in ((left, "N", "best size N*"), (right, "loss", "best loss (nats per byte)")):
    ax.fill_between(
        C_grid, getattr(lower, name), getattr(upper, name), color=BAND, lw=0, label="95%"
    )
    ax.plot(C_grid, getattr(best, name), color=ACCENT, label="fit")
    ax.plot(C_grid, getattr(true, name), color=HELD_OUT, ls="--", label="planted")
    ax.axvspan(C.min(), C.max(), color=MUTED, alpha=0.12, lw=0)
    ax.set(xscale="log", xlabel="compute C = 6ND (FLOPs)", ylabel=label)
left.set_yscale("log")
left.legend(title="grey: compute of the runs", title_fontsize=8)
plt.show()
a = fit.params["beta"] / (fit.params["alpha"] + fit.params["beta"])
print(f"N* grows as C^{a:.2f}; planted {0.42 / (0.35 + 0.42):.2f}")

# %% [markdown]
# ## From a file of anyone's
#
# `read_table` reads CSV and JSON lines, with columns by any name. A bad row stops it, with file
# and line; with `skip_bad=True` it is removed and listed. Nothing is dropped in silence.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "results.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["params", "tokens", "val_loss"])
        writer.writerows(zip(N, D, loss, strict=True))
        writer.writerow([1e5, 1e6, "nan"])
    names = {"N": "params", "D": "tokens", "loss": "val_loss"}
    table = read_table(path, columns=names, skip_bad=True)
    for removal in table.removed:
        print(f"removed {Path(removal.where).name}: {removal.reason}")
again = scaling.fit("chinchilla", {name: table.columns[name] for name in ("N", "D", "loss")})
assert np.isclose(again.objective, fit.objective, rtol=1e-9)

# %% [markdown]
# ## From your own runs
#
# `make demo` trains a family of small models on real text and leaves its logs in `runs/demo`.
# With those logs the next cell fits their law. The held-out run is not fitted: its prediction was
# written before it was trained.

# %%
demo = Path("../runs/demo")
if (demo / "train").is_dir():
    runs = read_runs(demo / "train")
    from_logs = fit_runs(runs, bootstrap=BOOTSTRAP)
    print(f"{from_logs.fit.n_points} runs, {from_logs.fit.status}; {from_logs.noise.sentence}")
    for name, (low, high) in from_logs.fit.interval().items():
        print(f"{name:6s} {from_logs.fit.params[name]:9.4g}   95%: {low:9.4g} to {high:9.4g}")
    for left in from_logs.left_out:
        print("left out:", left)
    if (demo / "prediction.json").is_file():
        told = load_prediction(demo / "prediction.json")
        print(
            f"predicted for {told.run}: {told.loss:.4f}, 95%: {told.low:.4f} to {told.high:.4f}",
            end="",
        )
        measured = [r.final.validation_loss for r in runs if r.run == told.run and r.finished]
        print(f"; measured {measured[0]:.4f}" if measured else "; not measured yet")
else:
    print("no runs/demo here: `make demo` makes it in some minutes")

# %% [markdown]
# The same from the command line: `farwide fit runs/demo`, or `farwide fit results.csv --columns
# N=params D=tokens loss=val_loss`. The method, what each status means and how to add a law in ten
# lines: `docs/scaling_fits.md`.
