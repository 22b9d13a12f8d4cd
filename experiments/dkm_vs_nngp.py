"""Does a learned representation beat the NNGP that it starts from, and what does nu do?

Question: deep kernel machines on scikit-learn's digits, their price nu of representation learning
from inf (the NNGP) to 0: test error and log likelihood of the sparse machine (classification, 300
and 1000 images) and of the full one (one-hot regression, 100 images). And where does it go wrong:
one output, y = sin(2 x) + noise, with the noise variance known or learned?

Command: `python -m experiments.dkm_vs_nngp --preset demo`
Time: preset demo 7 minutes of one core's time on a busy machine, smoke 1.
Expected result: runs/dkm_vs_nngp-demo with a table (results.json) and dkm_vs_nngp.png. Sparse
machines: 5.9% test error and 0.35 nats an image by the NNGP, 4.5% and 0.19 at nu = 1 (300 images);
2.3% and 0.18, 2.0% and 0.08 (1000 images). The full machine on 100 images gains nothing: 7.1% and
7.3%. One output: with known noise 0.32 nats a point, and 0.39 at nu = 0; with learned noise it goes
to the smallest that was tried at nu = 0.1 and below, and test points cost more than 100 nats.

Every price is trained exactly alike: same splits, start, batches, steps and step sizes. Means and
standard errors are over splits of the data; test examples choose nothing. What is finished is
skipped by a second call.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from rich.console import Console
from rich.table import Table

from farwide.calibration import log_probabilities, scores
from farwide.data import DataError, balanced, digits
from farwide.endings import plain_endings
from farwide.plotting import Panel, Series, nu_sweep, save_png
from farwide.progress import counting_progress
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json
from theory import dkm

NUS = (np.inf, 1e3, 100.0, 10.0, 1.0, 0.1, 0.01, 0.0)
KERNEL = "relu"
BATCH, RATE = 256, 3e-2
FULL_NOISE, FULL_STEPS = 0.1, 300  # variance of standardised one-hot targets; steps of L-BFGS
TRUE_NOISE = 0.09  # of the one-output task
NOISES = tuple(float(v) for v in np.geomspace(1e-4, 0.5, 12))  # where a learned one may end
JITTER = 1e-4


@dataclass(frozen=True)
class Size:
    """How much is trained.

    Attributes:
      nus: prices.
      sparse: training images of the sparse machines.
      layers: Gram layers of each.
      inducing: points of each layer.
      steps: of their training.
      full: training images of the full machine.
      points: of the one-output task.
      splits: of the data.
    """

    nus: tuple[float, ...]
    sparse: tuple[int, ...]
    layers: int
    inducing: int
    steps: int
    full: int
    points: int
    splits: int


PRESETS = {
    "smoke": Size((np.inf, 1.0, 0.0), (200,), 1, 20, 30, 20, 20, 2),
    "demo": Size(NUS, (300, 1000), 3, 100, 250, 100, 40, 3),
}


@dataclass(frozen=True)
class Arguments:
    """Sweep the price of representation learning from the NNGP to none."""

    preset: Literal["smoke", "demo"] = "demo"
    name: str | None = None
    """Folder below --out; dkm_vs_nngp-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """Of splits, starts and batches."""


class Task(NamedTuple):
    """One line of the figure.

    Attributes:
      name: of its files.
      label: in words.
      kind: which machine.
      train: training examples.
    """

    name: str
    label: str
    kind: Literal["sparse", "full", "known noise", "learned noise"]
    train: int


class Split(NamedTuple):
    """Standardised inputs with one axis, and targets: classes, or numbers."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def tasks(size: Size) -> list[Task]:
    """In the order in which they run."""
    sparse = [Task(f"sparse-{n}", f"sparse, {n} images", "sparse", n) for n in size.sparse]
    return [
        *sparse,
        Task("full", f"full, {size.full} images", "full", size.full),
        Task("known_noise", "noise known", "known noise", size.points),
        Task("learned_noise", "noise learned", "learned noise", size.points),
    ]


def images(count: int, seed: int) -> Split:
    """Digits: another split into 1000 and 797 for each seed, of the 1000 a balanced part."""
    data = digits(seed)
    chosen = balanced(data.y_train, count, seed)
    x, x_test = (part.reshape(len(part), -1) for part in (data.x_train[chosen], data.x_test))
    mean, deviation = x.mean(), x.std()
    x, x_test = (x - mean) / deviation, (x_test - mean) / deviation
    return Split(x, data.y_train[chosen], x_test, data.y_test)


def sines(count: int, seed: int, test: int = 500) -> Split:
    """y = sin(2 x) + noise at x uniform in [-2, 2]; the input is 1.5 x."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (count + test, 1))
    y = np.sin(2 * x[:, 0]) + TRUE_NOISE**0.5 * rng.standard_normal(count + test)
    return Split(1.5 * x[:count], y[:count], 1.5 * x[count:], y[count:])


def machine(nu: float, size: Size) -> dkm.Model:
    """The sparse classifier: Gram layers between kernels."""
    hidden = [
        layer
        for _ in range(size.layers)
        for layer in (dkm.kernel(KERNEL), dkm.gram(nu, parametrisation="relative"))
    ]
    network = dkm.serial(dkm.inputs(size.inducing), *hidden, dkm.kernel(KERNEL), dkm.output(10))
    return dkm.Model(network, dkm.categorical(20))


def sparse(task: Task, nu: float, size: Size, seed: int) -> list[dict[str, float]]:
    """Train and test one price on every split, all by one program."""
    model = machine(nu, size)
    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, size.steps), 0.8, 0.9)
    step = dkm.make_step(model, optimiser, task.train)

    @jax.jit
    def fit(key, x, y, batches, x_test):
        start, run, draw = jax.random.split(key, 3)
        state = dkm.start(dkm.init(model, start, x), optimiser, run)
        state, _ = jax.lax.scan(lambda s, batch: step(s, x[batch], y[batch]), state, batches)
        return state, dkm.predict(model, state.params, x_test, draw)

    found = []
    for split in range(seed, seed + size.splits):
        data, rng = images(task.train, split), np.random.default_rng(split)
        batches = [rng.permutation(task.train)[:BATCH] for _ in range(size.steps)]
        key = jax.random.key(split, impl="threefry2x32")
        state, log_p = fit(key, data.x, data.y, np.stack(batches), data.x_test)
        tested = scores(np.asarray(log_p, np.float64), data.y_test)
        found.append(
            {"error": 1 - tested.accuracy, "nll": tested.nll, "good_steps": int(state.step)}
        )
    return found


def full(task: Task, nu: float, size: Size, seed: int) -> list[dict[str, float]]:
    """One-hot regression by the full machine, one hidden layer."""
    found = []
    for split in range(seed, seed + size.splits):
        data = images(task.train, split)
        Y = np.eye(10)[data.y] - 0.1
        mean, variance, fitted = regression(data, Y / Y.std(), nu, FULL_NOISE)
        tested = scores(log_probabilities(mean, variance), data.y_test)
        found.append(
            {"error": 1 - tested.accuracy, "nll": tested.nll, "converged": float(fitted.converged)}
        )
    return found


def one_output(task: Task, nu: float, size: Size, seed: int) -> list[dict[str, float]]:
    """The sine by the full machine; a learned noise variance is that of the highest objective."""
    found = []
    for split in range(seed, seed + size.splits):
        data = sines(task.train, split)
        noises = (TRUE_NOISE,) if task.kind == "known noise" else NOISES
        best = None
        for noise in noises:
            try:
                tried = *regression(data, data.y, nu, noise, "squared_exponential"), noise
            except dkm.Diverged:
                continue  # no price: such a noise variance is not chosen
            if best is None or tried[2].objective.value > best[2].objective.value:
                best = tried
        if best is None:
            raise RuntimeError(f"no noise variance could be fitted at nu={nu:g}")
        mean, variance, fitted, noise = best
        variance = variance + noise
        nll = (np.log(2 * np.pi * variance) + (data.y_test - mean) ** 2 / variance).mean() / 2
        found.append(
            {
                "nll": float(nll),
                "rmse": float(np.sqrt(((data.y_test - mean) ** 2).mean())),
                "noise_variance": noise,
                "converged": float(fitted.converged),
            }
        )
    return found


def regression(
    data: Split, Y: np.ndarray, nu: float, noise: float, kernel: str = KERNEL
) -> tuple[np.ndarray, np.ndarray, dkm.Fitted]:
    """Mean and variance of the outputs at test inputs, and the fit; float64."""
    both = np.concatenate([data.x, data.x_test]).astype(np.float64)
    G, n = both @ both.T / both.shape[1], len(data.x)
    settings = {"kernel": kernel, "noise_variance": noise, "jitter": JITTER}
    with jax.enable_x64(True):
        fitted = dkm.fit_grams(G[:n, :n], Y, depth=1, nu=nu, steps=FULL_STEPS, **settings)
        found = dkm.posterior(G[:n, :n], G[n:, :n], G[n:, n:], fitted.grams, Y, **settings)
        return np.asarray(found.mean), np.asarray(jnp.diagonal(found.covariance)), fitted


DO = {"sparse": sparse, "full": full, "known noise": one_output, "learned noise": one_output}


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"dkm_vs_nngp-{arguments.preset}")
    size = PRESETS[arguments.preset]
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "seed": arguments.seed,
            "size": asdict(size) | {"nus": [f"{nu:g}" for nu in size.nus]},
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        cells = [(task, nu) for task in tasks(size) for nu in size.nus]
        found: dict[str, list[dict[str, Any]]] = {}
        with cell_progress(console, len(cells)) as done:
            for task, nu in cells:
                path = folder / f"{task.name}-nu-{nu:g}.json"
                if not path.is_file():
                    start = time.perf_counter()
                    splits = DO[task.kind](task, nu, size, arguments.seed)
                    seconds = time.perf_counter() - start
                    write_json(path, {"nu": f"{nu:g}", "splits": splits, "seconds": seconds})
                found.setdefault(task.name, []).append(read_json(path))
                done()
        results = {"environment": environment_record(), "tasks": found}
        write_json(folder / "results.json", description | results)
        draw(folder, size, found)
    console.print(table(size, found))
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


@contextmanager
def cell_progress(console: Console, total: int) -> Iterator[Any]:
    """A bar that moves by one a call; none where the output is no terminal."""
    with counting_progress(console, "machines", " machines") as moved:
        finished = 0

        def done() -> None:
            nonlocal finished
            finished += 1
            moved(finished, total)

        yield done


def mean_and_error(cells: list[dict[str, Any]], metric: str) -> tuple[list[float], list[float]]:
    """Over splits, of every price."""
    values = np.array([[split[metric] for split in cell["splits"]] for cell in cells])
    error = values.std(1, ddof=1) / values.shape[1] ** 0.5
    return values.mean(1).tolist(), error.tolist()


def draw(folder: Path, size: Size, found: dict[str, list[dict[str, Any]]]) -> None:
    """The figure."""

    def lines(metric: str, kinds: tuple[str, ...]) -> list[Series]:
        return [
            Series(
                task.label,
                [float(cell["nu"]) for cell in found[task.name]],
                *mean_and_error(found[task.name], metric),
            )
            for task in tasks(size)
            if task.kind in kinds
        ]

    machines, toys = ("sparse", "full"), ("known noise", "learned noise")
    panels = {
        "digits: test error": Panel(
            lines("error", machines), "test error", log=True, text=lambda v: f"{100 * v:.3g}%"
        ),
        "digits: negative log likelihood": Panel(lines("nll", machines), "nats an image", log=True),
        "one output: negative log likelihood": Panel(lines("nll", toys), "nats a point", log=True),
        "one output: noise variance": Panel(
            lines("noise_variance", toys), "s²", log=True, text=lambda v: f"{v:.1g}"
        ),
    }
    title = "What a learned representation is worth, and what one output with learned noise does"
    save_png(nu_sweep(panels, title), folder / "dkm_vs_nngp.png")


def table(size: Size, found: dict[str, list[dict[str, Any]]]) -> Table:
    """One line for each machine and price."""
    shown = Table(
        title="Test error in percent, negative log likelihood in nats a test example",
        box=None,
        pad_edge=False,
    )
    shown.add_column("machine")
    for column in ("nu", "error", "NLL", "s²", "seconds"):
        shown.add_column(column, justify="right")
    for task in tasks(size):
        cells = found[task.name]
        nll = list(zip(*mean_and_error(cells, "nll"), strict=True))
        for i, cell in enumerate(cells):
            error = noise = ""
            if "error" in cell["splits"][0]:
                mean, spread = (100 * part[i] for part in mean_and_error(cells, "error"))
                error = f"{mean:.2f} ± {spread:.2f}"
            if "noise_variance" in cell["splits"][0]:
                noise = f"{mean_and_error(cells, 'noise_variance')[0][i]:.2g}"
            written = f"{nll[i][0]:.3g} ± {nll[i][1]:.2g}"
            shown.add_row(task.label, cell["nu"], error, written, noise, f"{cell['seconds']:.1f}")
    return shown


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(DataError, LogError, OSError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
