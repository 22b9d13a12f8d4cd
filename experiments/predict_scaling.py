"""Does the limit of an architecture predict how its networks scale, before anything is trained?

Question: an operator's infinite-width NTK on real data has a spectrum, which gives a learning curve
and its exponent. Are they those of kernel regression on other examples, how far are trained
networks of finite width from them, and by how much does muP move the exponent?

Command: `python -m experiments.predict_scaling --preset demo`, or for one pair
`python -m experiments.predict_scaling --preset cpu --operator cnn --data digits`
Time: smoke seconds; demo (long convolution on digits) 2.5 minutes on 2 CPU cores; cpu 2 hours of
a core. Every piece records its seconds and processor seconds.
Expected result: runs/predict_scaling-PRESET with a folder for each pair (prediction.json, written
before anything is measured; equations.json, what draws of the same points say; regression.json;
networks-*.json; results.json; prediction.png), and results.json, summary.png and a table of all
pairs that are finished. In the demo the predicted exponent, 0.525, is inside the measured interval,
0.51 to 0.57, and networks come nearer to their limit with width.

Examples are short sequences (positions, features) that all operators share. Three disjoint parts:
points of the spectrum, a pool of five disjoint training sets, test. Targets are one-hot minus 1/10,
errors squared and summed over classes. Exponents are slopes of the least-squares line of log error
against log n over the same n, predicted and measured. Networks subtract their initial outputs and
are trained by full-batch gradient descent with momentum until the loss is 5% of the first, at most
a stated number of steps. What is finished is skipped by a second call.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console

from experiments.predicting import networks, shown
from experiments.predicting.kernels import KERNELS, Tiles
from experiments.predicting.regression import Draw, drawn, measured, trained_limit
from experiments.predicting.sets import CLASSES, SETS, Sequences, sequences
from experiments.predicting.sizes import PRESETS, Part, Size
from experiments.predicting.verdicts import compared, network_row
from farwide.data import DataError
from farwide.endings import plain_endings
from farwide.models import OPERATORS, WideAttention, WideConfig, wide_model
from farwide.plotting import save_png
from farwide.progress import counting_progress
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json
from theory import spectra

# One head: the limit of linear scaling is that of any number, and four take four times as long.
SETTINGS = {"neighborhood": WideAttention(window=5, heads=1), "attention": WideAttention(heads=1)}
WIDTH0 = 4  # where muP and NTK parametrisation are one model


@dataclass(frozen=True)
class Arguments:
    """Predict learning curves from the limits of operators, and measure them."""

    preset: Literal["smoke", "demo", "cpu"] = "demo"
    operator: str | None = None
    """mlp, cnn, long_conv, s4d, neighborhood, attention, or another of farwide.models with a limit;
    those of the preset where not given."""
    data: str | None = None
    """digits, fashion-mnist, mnist-1d or line-digits; those of the preset where not given."""
    name: str | None = None
    """Folder below --out; predict_scaling-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """Of the choice of examples, and of initial weights."""
    networks: bool = True
    """Train networks, too; without them a pair takes seconds to minutes."""


class Job(NamedTuple):
    """One pair."""

    operator: str
    data: str
    size: Size
    seed: int
    folder: Path

    @property
    def part(self) -> Part:
        return self.size.parts[self.data]

    @property
    def title(self) -> str:
        return f"{self.operator} on {self.data}"

    def config(self, x: np.ndarray, width: int = 1) -> WideConfig:
        """The architecture for examples like x."""
        operator = SETTINGS.get(self.operator, self.operator)
        return WideConfig(
            operator, x.shape[1], x.shape[2], CLASSES, width=width, depth=self.size.depth
        )

    def split(self, k: int) -> Job:
        """The same with another choice of examples; 0 is this one."""
        if k == 0:
            return self
        return self._replace(seed=self.seed + k, folder=self.folder / f"split-{k}")

    def examples(self) -> Sequences:
        pool = self.size.draws * self.part.n[-1]
        return sequences(self.data, self.part.points, pool, self.part.test, self.seed)


@lru_cache(1)
def tiles_of(config: WideConfig) -> Tiles:
    """Of the limit, so that prediction and regression share compilations."""
    return Tiles(config.limit())


class Clock:
    """Seconds, and processor seconds of all threads, since it was made."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def finish(self, path: Path, found: dict[str, Any]) -> None:
        """Writes a piece with its times."""
        spent = {
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self.wall, 2),
            "cpu_seconds": round(time.process_time() - self.processor, 2),
        }
        write_json(path, found | spent)


def predict(job: Job, console: Console, check: bool) -> None:
    """Writes prediction.json, from the spectrum's points alone.

    With `check`, then writes equations.json, too: regression on draws of the same points, beside
    the curve of that population (its bias kept), so that they differ by the equations' own error.
    """
    path, beside = job.folder / "prediction.json", job.folder / "equations.json"
    if path.is_file() and (beside.is_file() or not check):
        return
    clock, examples = Clock(), job.examples()
    tiles, y, n = tiles_of(job.config(examples.points)), examples.y_points, list(job.part.n)
    K = with_bar(console, f"{job.title}: spectrum", tiles.entries(job.part.points), lambda moved: (
        tiles.own(examples.points, moved)
    ))  # fmt: skip
    scales = {name: float(np.trace(K[name]) / len(K[name])) for name in KERNELS}
    if not path.is_file():
        found = {
            name: predicted(job, K[name] / scale, y) | {"scale": scale}
            for name, scale in scales.items()
        }
        clock.finish(path, found)
    if check:
        clock, ridge, found = Clock(), job.size.ridge, {}
        for name, scale in scales.items():
            own = spectra.predicted_curve(K[name] / scale, y, n, ridge=ridge, bias="kept")
            sampled = drawn(K[name] / scale, y, n, ridge, job.seed)
            found[name] = {
                "test": own.test.tolist(),
                "exponent": own.exponent.value,
                "drawn": sampled,
                "ratio": (own.test / np.array(sampled["error"])).tolist(),
            }
        clock.finish(beside, found)


def predicted(job: Job, K: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The curve of one kernel, of mean variance 1, and its eigenvalues."""
    curve = spectra.predicted_curve(K, y, job.part.n, ridge=job.size.ridge, seed=job.seed)
    trained = np.isin(curve.n, job.size.trained_on)
    over = float(spectra.log_log_exponent(curve.n[trained], curve.test[trained]))
    values = np.linalg.eigvalsh(K)[::-1] / len(K)
    return plain(curve) | {
        "exponent_of_trained": over,
        "eigenvalues": [float(f"{v:.6g}") for v in values],
    }


def plain(curve: spectra.PredictedCurve) -> dict[str, Any]:
    """Without replicates and spectra, as JSON has it."""
    found = curve._asdict() | {"exponent": curve.exponent._asdict()}
    del found["replicates"]
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in found.items()}


def with_bar(console: Console, label: str, total: int, work) -> Any:
    """work(moved) with a bar that `moved(count)` moves; prints the label where there is no bar."""
    if not console.is_terminal:
        console.print(label)
    with counting_progress(console, label, "") as show:
        done = 0

        def moved(count: int) -> None:
            nonlocal done
            done += count
            show(done, total)

        show(0, total)
        return work(moved)


def regression(job: Job, console: Console) -> None:
    """Writes regression.json: kernel regression and the limit of training on the draws."""
    path = job.folder / "regression.json"
    if path.is_file():
        return
    clock, examples = Clock(), job.examples()
    prediction = read_json(job.folder / "prediction.json")
    tiles = tiles_of(job.config(examples.points))
    sets = draws(job, examples)
    each = job.part.n[-1]
    total = len(sets) * (tiles.entries(each) + tiles.entries(job.part.test, each))

    def work(moved):
        return [(tiles.own(x, moved), tiles.cross(examples.test, x, moved), y) for x, y in sets]

    K = with_bar(console, f"{job.title}: regression", total, work)
    found: dict[str, Any] = {}
    for name in KERNELS:
        scale = prediction[name]["scale"]
        mine = [Draw(own[name] / scale, cross[name] / scale, y) for own, cross, y in K]
        found[name] = measured(mine, examples.y_test, list(job.part.n), job.size.ridge)
        if name == "ntk":
            few = mine[: job.size.seeds]
            limit = trained_limit(few, examples.y_test, list(job.size.trained_on), job.size.descent)
            found["limit"] = limit | {"scale": scale}
    clock.finish(path, found)


def draws(job: Job, examples: Sequences) -> list[tuple[np.ndarray, np.ndarray]]:
    """Disjoint training sets of the largest n."""
    x = np.split(examples.pool, job.size.draws)
    return list(zip(x, np.split(examples.y_pool, job.size.draws), strict=True))


def train(job: Job, width: int, console: Console) -> None:
    """Writes a file for each parametrisation and n of a width."""
    size = job.size
    wanted = [(p, n) for n in size.trained_on for p in networks.PARAMETRISATIONS]
    left = [(p, n) for p, n in wanted if not network_path(job, p, width, n).is_file()]
    if not left:
        return
    examples = job.examples()
    limit = read_json(job.folder / "regression.json")["limit"]
    model = wide_model(job.config(examples.points, width))
    keys = jax.random.split(jax.random.fold_in(jax.random.key(job.seed), width), size.seeds)
    sets = draws(job, examples)[: size.seeds]
    run = networks.trainer(model, size.descent)

    def work(moved):
        for parametrisation, n in left:
            clock = Clock()
            tops = [limit["scale"] * top for top in limit["top"][limit["n"].index(n)]]
            gamma = networks.gamma_of(parametrisation, width, WIDTH0)
            found = networks.train_all(
                model, size.descent, gamma, [(x[:n], y[:n]) for x, y in sets], tops,
                (examples.test, examples.y_test), keys, run,
            )  # fmt: skip
            clock.finish(network_path(job, parametrisation, width, n), networks.record(found))
            moved(n)

    with_bar(console, f"{job.title}: width {width}", sum(n for _, n in left), work)


def network_path(job: Job, parametrisation: str, width: int, n: int) -> Path:
    return job.folder / f"networks-{parametrisation}-{width}-{n}.json"


def summarise(job: Job) -> dict[str, Any]:
    """Everything of a finished pair, with its verdict."""
    prediction, found, equations = (
        read_json(job.folder / f"{each}.json") for each in ("prediction", "regression", "equations")
    )
    limit, size = found["limit"], job.size
    every, rows = [prediction, found, equations], []
    for parametrisation in networks.PARAMETRISATIONS:
        for width in size.widths:
            pieces = [
                read_json(network_path(job, parametrisation, width, n)) for n in size.trained_on
            ]
            every += pieces
            rows.append(
                {"parametrisation": parametrisation, "width": width}
                | network_row(pieces, limit, list(size.trained_on))
            )
    splits = []
    for k in range(size.splits):
        folder = job.split(k).folder
        both = [read_json(folder / f"{each}.json") for each in ("prediction", "regression")]
        every += both if k else []
        splits.append({name: compared(*(each[name] for each in both)) for name in KERNELS})
    return {
        "operator": job.operator,
        "data": job.data,
        "predicted": {name: prediction[name] for name in KERNELS},
        "predicted_at": prediction["written"],
        "measured": {name: found[name] for name in KERNELS},
        "measured_at": found["written"],
        "equations": {name: equations[name] for name in KERNELS},
        "limit": limit,
        "networks": rows,
        "splits": splits,
        **{key: round(sum(p[key] for p in every), 1) for key in ("seconds", "cpu_seconds")},
    }


def pairs_of(arguments: Arguments, folder: Path) -> list[Job]:
    """What is to be done.

    Raises:
      ValueError: no such operator, or data set.
    """
    size = PRESETS[arguments.preset]
    if not arguments.networks:
        size = replace(size, widths=())
    operators = size.operators if arguments.operator is None else (arguments.operator,)
    data = size.data if arguments.data is None else (arguments.data,)
    for what, asked, known in (("operator", operators, OPERATORS), ("data", data, SETS)):
        for name in asked:
            if name not in known:
                raise ValueError(f"{what} {name!r}; accepted are {', '.join(known)}")
    return [Job(o, d, size, arguments.seed, folder / f"{d}-{o}") for d in data for o in operators]


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"predict_scaling-{arguments.preset}")
    jobs = pairs_of(arguments, folder)
    size = jobs[0].size
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "seed": arguments.seed,
            "width0": WIDTH0,
            "size": {k: v for k, v in asdict(size).items() if k not in ("operators", "data")},
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        for job in jobs:
            done = job.folder / "results.json"
            if not done.is_file():
                for k in range(size.splits):
                    one = job.split(k)
                    one.folder.mkdir(exist_ok=True)
                    predict(one, console, check=k == 0)
                    regression(one, console)
                for width in size.widths:
                    train(job, width, console)
                write_json(done, summarise(job) | {"environment": environment_record()})
            found = read_json(done)
            save_png(shown.pair_figure(found), job.folder / "prediction.png")
            console.print(shown.pair_table(found))
        pairs = [read_json(path) for path in sorted(folder.glob("*/results.json"))]
        results = {"environment": environment_record(), "pairs": [shown.brief(p) for p in pairs]}
        write_json(folder / "results.json", description | results)
        save_png(shown.summary_figure(pairs), folder / "summary.png")
    console.print(shown.summary_table(pairs))
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(DataError, LogError, OSError, ValueError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
