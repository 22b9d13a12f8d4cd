"""Does learning a representation pay, where everything else is an infinitely wide network's?

Question: a convolutional deep kernel machine and its own NNGP differ in one number, the price nu of
moving a Gram matrix from where its inputs put it. On images, how much test accuracy is that worth?

Command: `python -m experiments.conv_dkm --preset demo`
    `python -m experiments.conv_dkm --preset demo --data cifar-10 --folder FOLDER`
Time: preset demo (3 seeds, 6 prices) 28 minutes of fits on 2 CPU cores, of which other jobs took a
    part, and 25 of exact kernels; wide (512 inducing patches, 3 prices) 80 in all, 4 to 8 a fit;
    smoke 1 minute; cpu (all images, 512 inducing points a layer) not measured.
Expected result: runs/conv_dkm-demo with a table (results.json) and nu_sweep.png. Test accuracy on
    Fashion-MNIST 75.2% by the NNGP, 80.9% at nu = 100, 86.1% at nu = 1, each to 0.3; wide the same.

Every arm has the same network, steps, starts (inducing patches, readout by least squares) and
learned inducing patches and mixtures; nu = inf is the NNGP. The learning rate is chosen for nu =
inf and, apart, for all finite nu, on training images held back; test images choose nothing. Beside
them stands the exact NNGP of `theory.stax`. A second call skips what is finished. Where other jobs
share the machine OPENBLAS_NUM_THREADS=1 keeps its idle threads from slowing small factorisations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from rich.console import Console
from rich.table import Table

from experiments import conv_nngp
from farwide.data import DataError, LabelledImages, balanced, cifar10, fashion_mnist
from farwide.endings import plain_endings
from farwide.plotting import save_png
from farwide.plotting.nu_sweep import Panel, Series, nu_sweep
from farwide.progress import counting_progress
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json
from theory import dkm

EVALUATED = 250  # images at a time
INF = float("inf")


@dataclass(frozen=True)
class Job:
    """All that decides a result.

    Attributes:
      train, test: images.
      counts: inducing points of each stage; the first are the inducing patches.
      size: side and stride of the patches.
      batch, steps: of Adam.
      tuning_steps: of each fit that chooses a learning rate.
      rates: learning rates to choose from, largest first.
      prices: nu.
      seeds: of images, starts and noise.
      exact: readouts of the exact NNGP, with its training and test images.
    """

    train: int
    test: int
    counts: tuple[int, ...]
    size: int
    batch: int
    steps: int
    tuning_steps: int
    rates: tuple[float, ...]
    prices: tuple[float, ...]
    seeds: int
    exact: tuple[tuple[conv_nngp.Readout, int, int], ...]


DEMO = Job(
    train=10_000,
    test=10_000,
    counts=(128, 128),
    size=4,
    batch=100,
    steps=1000,
    tuning_steps=300,
    rates=(2e-2, 5e-3, 1.25e-3),
    prices=(INF, 1e3, 100.0, 10.0, 1.0, 0.0),
    seeds=3,
    exact=(("pooled", 2000, 2000), ("flattened", 10_000, 5000)),
)
PRESETS = {
    "smoke": replace(
        DEMO, train=200, test=200, counts=(16, 16), steps=30, rates=(2e-2,), prices=(INF, 1.0),
        seeds=1, exact=(("pooled", 60, 60),),
    ),
    "demo": DEMO,
    "wide": replace(DEMO, counts=(512, 128), prices=(INF, 100.0, 1.0), exact=DEMO.exact[1:]),
    "cpu": replace(DEMO, train=60_000, counts=(512, 512), steps=6000),
}  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """Convolutional deep kernel machines against their NNGP."""

    preset: Literal["smoke", "demo", "wide", "cpu"] = "demo"
    data: Literal["fashion-mnist", "cifar-10"] = "fashion-mnist"
    folder: Path | None = None
    """Where CIFAR-10 lies (binary version)."""
    name: str | None = None
    """Folder below --out; conv_dkm-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""


def images(arguments: Arguments) -> LabelledImages:
    """The data set that was asked for.

    Raises:
      DataError: it cannot be read, or CIFAR-10 without a folder.
    """
    if (arguments.data == "cifar-10") != (arguments.folder is not None):
        raise DataError("--data cifar-10 and --folder, where its binary version lies, go together")
    return cifar10(arguments.folder) if arguments.folder else fashion_mnist()


def arrays(data: LabelledImages, job: Job, seed: int) -> tuple[np.ndarray, ...]:
    """(x_train, y_train, x_test, y_test), of mean 0 and variance 1 over the training images."""
    which = balanced(data.y_train, job.train, seed)
    x_train = data.x_train[which]
    mean, deviation = x_train.mean(), x_train.std()
    x_train, x_test = ((x - mean) / deviation for x in (x_train, data.x_test[: job.test]))
    return x_train, data.y_train[which], x_test, data.y_test[: job.test]


def model_of(job: Job, nu: float, classes: int) -> dkm.Model:
    """Patches, a Gram layer, a strided convolution, another, pooling, another, classes."""
    network = dkm.resnet(
        classes,
        counts=job.counts,
        blocks=0,
        nu=nu,
        kernel="relu",
        first_size=job.size,
        first_stride=job.size,
        kl="exact",
        skr=None,
        parametrisation="relative",
    )
    return dkm.Model(network, dkm.categorical(100))


@lru_cache(maxsize=32)
def compiled(job: Job, nu: float, rate: float, steps: int, examples: int, classes: int):
    """(model, init, step, optimizer), compiled once for all seeds."""
    model = model_of(job, nu, classes)
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps, 0.02), 0.8, 0.9)
    init = jax.jit(lambda key, x: dkm.init(model, key, x))
    return model, init, jax.jit(dkm.make_step(model, optimizer, examples)), optimizer


def batches(x, y, job: Job, steps: int, seed: int) -> Iterator[tuple[Any, Any]]:
    """Random batches, epoch by epoch, the same for every nu."""
    rng = np.random.default_rng([seed, 1])
    order = np.zeros(0, int)
    for _ in range(steps):
        if len(order) < job.batch:
            order = rng.permutation(len(x))
        now, order = order[: job.batch], order[job.batch :]
        yield jnp.asarray(x[now]), jnp.asarray(y[now])


def fit(
    job: Job,
    nu: float,
    rate: float,
    steps: int,
    seed: int,
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    moved: Callable[[int, int], None],
) -> tuple[dkm.Model, Any, dkm.Terms]:
    """A trained machine: the model, its parameters, and the mean terms of the last 50 steps.

    Raises:
      Diverged: it did, with the layer, its condition number, and the last good state.
    """
    model, init, step, optimizer = compiled(job, nu, rate, steps, len(x), classes)
    begin, key = jax.random.split(jax.random.key(seed))
    few = jnp.asarray(x[:1000])
    params = init(begin, few[:256])
    targets = 5 * (jax.nn.one_hot(y[: len(few)], classes) - 1 / classes)
    params["network"] = dkm.fit_readout(model.network, params["network"], few, targets, 0.1)
    last: list[dkm.Terms] = []

    def on_step(done, terms):
        moved(done, steps)
        last[:] = [*last[-49:], terms]

    state = dkm.train(
        model, step, dkm.start(params, optimizer, key), batches(x, y, job, steps, seed),
        on_step=on_step,
    )  # fmt: skip
    return model, state.params, jax.tree.map(lambda *terms: float(np.mean(terms)), *last)


def scores(model: dkm.Model, params: Any, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Accuracy and mean log likelihood with their standard errors over images."""
    predict = jax.jit(lambda params, x, key: dkm.predict(model, params, x, key))
    log_p = np.concatenate(
        [
            np.asarray(predict(params, jnp.asarray(x[i : i + EVALUATED]), jax.random.key(i)))
            for i in range(0, len(x), EVALUATED)
        ]
    )
    each = {"accuracy": log_p.argmax(-1) == y, "log_likelihood": log_p[np.arange(len(y)), y]}
    means = {name: float(values.mean()) for name, values in each.items()}
    errors = {f"{name}_error": float(v.std() / len(y) ** 0.5) for name, v in each.items()}
    return means | errors


def choose_rate(job: Job, nu: float, data: LabelledImages, moved) -> dict[str, Any]:
    """The rate whose machine gives a tenth of the training images, held back, most likelihood."""
    if len(job.rates) == 1:
        return {"held_back_log_likelihood": {}, "rate": job.rates[0]}
    x, y, _, _ = arrays(data, job, seed=job.seeds)  # a seed of its own
    kept = len(x) - len(x) // 10
    found = {}
    for rate in job.rates:
        inner = x[:kept], y[:kept]
        try:
            model, params, _ = fit(
                job, nu, rate, job.tuning_steps, job.seeds, *inner, len(data.classes), moved
            )
            found[f"{rate:g}"] = scores(model, params, x[kept:], y[kept:])["log_likelihood"]
        except dkm.Diverged:
            found[f"{rate:g}"] = None
    good = {rate: value for rate, value in found.items() if value is not None}
    if not good:
        raise dkm.Diverged("every learning rate", float("nan"), 0, what=f"nu = {nu:g}")
    return {"held_back_log_likelihood": found, "rate": float(max(good, key=lambda r: good[r]))}


def sweep(job: Job, data: LabelledImages, folder: Path, console: Console) -> list[dict[str, Any]]:
    """Every fit, one file each; those there already are read."""
    rates = {}
    for kind, nu in (("nngp", INF), ("dkm", 1.0)):
        path = folder / f"rate_{kind}.json"
        if not path.is_file():
            with counting_progress(console, f"learning rate, {kind}", "step") as moved:
                write_json(path, choose_rate(job, nu, data, moved))
        rates[kind] = read_json(path)["rate"]
        console.print(f"learning rate of {kind}: {rates[kind]:g}")
    found = []
    for seed in range(job.seeds):
        x, y, x_test, y_test = arrays(data, job, seed)
        for nu in job.prices:
            path = folder / f"nu_{nu:g}_seed_{seed}.json"
            if not path.is_file():
                begun = time.perf_counter()
                rate = rates["nngp" if nu == INF else "dkm"]
                with counting_progress(console, f"nu = {nu:g}, seed {seed}", "step") as moved:
                    model, params, terms = fit(
                        job, nu, rate, job.steps, seed, x, y, len(data.classes), moved
                    )
                seconds = time.perf_counter() - begun
                conditions = dkm.conditions(
                    model.network, params["network"], jnp.asarray(x[:4]), train=False
                )
                result = {
                    "nu": f"{nu:g}",
                    "seed": seed,
                    "rate": rate,
                    "seconds": seconds,
                    "train": terms._asdict(),
                    "test": scores(model, params, x_test, y_test),
                    "worst_condition_number": max(c.condition_number for c in conditions),
                }
                write_json(path, result)
            found.append(read_json(path))
            test = found[-1]["test"]
            console.print(
                f"nu {nu:g}, seed {seed}: accuracy {100 * test['accuracy']:.2f}%, log likelihood "
                f"{test['log_likelihood']:.3f} ({found[-1]['seconds']:.0f} s)"
            )
    return found


def exact(job: Job, data: LabelledImages, folder: Path, console: Console) -> list[dict[str, Any]]:
    """The exact NNGP of the same network, by readout."""
    found = []
    for readout, train, test in job.exact:
        path = folder / f"exact_{readout}.json"
        if not path.is_file():
            part = replace(job, train=train, test=test)
            x, y, x_test, y_test = arrays(data, part, seed=0)
            parts = x, y, x_test, y_test
            write_json(path, conv_nngp.classify(readout, job.size, *parts, len(data.classes)))
        found.append(read_json(path))
        reached = found[-1]["scores"]
        console.print(
            f"exact NNGP, {readout}, {train} images: accuracy {100 * reached['accuracy']:.2f}%"
        )
    return found


def summary(found: list[dict[str, Any]], prices: tuple[float, ...]) -> list[dict[str, Any]]:
    """Means over seeds; the error is the standard error over seeds, or over images for one seed."""
    rows = []
    for nu in prices:
        own = [each for each in found if each["nu"] == f"{nu:g}"]
        row: dict[str, Any] = {"nu": f"{nu:g}", "seeds": len(own)}
        for name in ("accuracy", "log_likelihood"):
            values = np.array([each["test"][name] for each in own])
            one = own[0]["test"][f"{name}_error"]
            error = values.std(ddof=1) / len(own) ** 0.5 if len(own) > 1 else one
            row |= {name: float(values.mean()), f"{name}_error": float(error)}
        row["seconds"] = float(np.mean([each["seconds"] for each in own]))
        rows.append(row)
    return rows


def draw(folder: Path, rows: list[dict[str, Any]], others: list[dict[str, Any]], data: str) -> None:
    """nu_sweep.png: accuracy and log likelihood against nu."""
    nus = [float(row["nu"]) for row in rows]
    panels = {}
    for name, title, metric, factor in (
        ("accuracy", "Test accuracy", "accuracy (%)", 100.0),
        ("log_likelihood", "Test log likelihood", "nats an image", 1.0),
    ):
        means, errors = ([factor * row[key] for row in rows] for key in (name, f"{name}_error"))
        lines = []
        for other in others:
            value = other["scores"]["accuracy" if factor > 1 else "nll"]
            label = f"exact NNGP, {other['readout']}, {other['train']} images"
            lines.append((label, factor * value if factor > 1 else -value))
        series = Series("convolutional deep kernel machine", nus, means, errors)
        panels[title] = Panel([series], metric, lines)
    title = f"Learning a representation pays: {data}"
    save_png(nu_sweep(panels, title), folder / "nu_sweep.png")


def table(rows: list[dict[str, Any]]) -> Table:
    """One line for each nu."""
    shown = Table(title="Test images; one standard error", box=None, pad_edge=False)
    for column in ("nu", "accuracy (%)", "log likelihood (nats)", "seconds a fit"):
        shown.add_column(column, justify="right")
    for row in rows:
        shown.add_row(
            "inf (NNGP)" if row["nu"] == "inf" else row["nu"],
            f"{100 * row['accuracy']:.2f} ± {100 * row['accuracy_error']:.2f}",
            f"{row['log_likelihood']:.3f} ± {row['log_likelihood_error']:.3f}",
            f"{row['seconds']:.0f}",
        )
    return shown


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"conv_dkm-{arguments.preset}")
    job = PRESETS[arguments.preset]
    data = images(arguments)
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "data": data.name,
            "job": asdict(job) | {"prices": [f"{nu:g}" for nu in job.prices]},
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        found = sweep(job, data, folder, console)
        others = exact(job, data, folder, console)
        rows = summary(found, job.prices)
        write_json(
            folder / "results.json",
            description
            | {"environment": environment_record(), "rows": rows, "fits": found, "exact": others},
        )
        draw(folder, rows, others, data.name)
    console.print(table(rows))
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(DataError, LogError, OSError, dkm.Diverged):
        run(arguments, Console())


if __name__ == "__main__":
    main()
