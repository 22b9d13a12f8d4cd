"""How often do the intervals of a scaling-law fit hold the true parameters?

Question: over random laws of every form, with 1% noise, how often does the 95% profile-likelihood
    interval of each parameter hold its true value, and how often does the bootstrap's?
Command: `python -m benchmarks.scaling_recovery [--forms chinchilla m4 ...] [--laws 200]
    [--bootstrap 200] [--name scaling_recovery] [--out DIR]`
Time: about 2 hours on 2 CPU cores; without the bootstrap (`--bootstrap 0`) about 40 minutes.
Expected result: OUT/<device>/scaling_recovery.json, form by form (those that are in the file from
    an earlier call stay); each parameter of each form covered in 88 to
    99.5% of the laws that their design identifies.

A law and a design count as identified when the fit's status is "converged" and every profile
interval has two ends inside the ranges. The others are counted, by what the fit said of them. Laws,
designs and noise are drawn from a generator seeded with the form's name and the law's number. Noise
is normal in log y and the loss is "squared", its likelihood.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from theory import scaling

NOISE = 0.01
POINTS = 120
LEVEL = 0.95
Draw = tuple[dict[str, float], dict[str, np.ndarray]]  # parameters, columns


def _log_uniform(rng: np.random.Generator, low: float, high: float, size: Any = None) -> Any:
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def _runs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"N": _log_uniform(rng, 1e7, 1e10, POINTS), "D": _log_uniform(rng, 1e8, 1e12, POINTS)}


def _chinchilla_like(rng: np.random.Generator) -> dict[str, float]:
    """Terms that matter: at the middle of the design A and B make 0.2 to 1 each, E 1 to 2.5."""
    alpha, beta = rng.uniform(0.25, 0.6, 2)
    A, B = rng.uniform(0.2, 1.0, 2) * np.array([3e8**alpha, 1e10**beta])
    return {"E": rng.uniform(1.0, 2.5), "A": A, "B": B, "alpha": alpha, "beta": beta}


def _chinchilla(rng: np.random.Generator) -> Draw:
    return _chinchilla_like(rng), _runs(rng)


def _x(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": _log_uniform(rng, 1e2, 1e8, POINTS)}


def _m1(rng: np.random.Generator) -> Draw:
    return {"b": _log_uniform(rng, 0.1, 100), "c": rng.uniform(-1, -0.05)}, _x(rng)


def _m2(rng: np.random.Generator) -> Draw:
    c = rng.uniform(-0.8, -0.15)
    b = rng.uniform(0.5, 2.0) * 1e2**-c
    return {"b": b, "c": c, "e_inf": rng.uniform(0.05, 0.3)}, _x(rng)


def _m3(rng: np.random.Generator) -> Draw:
    g, c = 1 / _log_uniform(rng, 1e4, 3e6), rng.uniform(0.15, 0.8)
    return {"b": _log_uniform(rng, 0.5, 50), "g": g, "c": c}, _x(rng)


def _m4(rng: np.random.Generator) -> Draw:
    e0, c, a = rng.uniform(0.6, 1.0), rng.uniform(-0.7, -0.35), rng.uniform(0.4, 1.2)
    knee = _log_uniform(rng, 3e3, 3e4)
    b = e0 ** (1 - a) * knee**-c
    return {"b": b, "c": c, "e_inf": e0 * rng.uniform(0.05, 0.2), "e0": e0, "a": a}, _x(rng)


def _henighan(rng: np.random.Generator) -> Draw:
    params = {
        "L_inf": rng.uniform(0.5, 2.0),
        "x0": _log_uniform(rng, 1e3, 1e5),
        "a": rng.uniform(0.2, 0.6),
    }
    return params, _x(rng)


def _kaplan(rng: np.random.Generator) -> Draw:
    params = {
        "N_c": _log_uniform(rng, 1e13, 1e14),
        "D_c": _log_uniform(rng, 1e13, 1e14),
        "alpha_N": rng.uniform(0.06, 0.1),
        "alpha_D": rng.uniform(0.08, 0.13),
    }
    return params, _runs(rng)


def _kaplan_steps(rng: np.random.Generator) -> Draw:
    params = {
        "N_c": _log_uniform(rng, 1e13, 1e14),
        "S_c": _log_uniform(rng, 1e3, 1e4),
        "alpha_N": rng.uniform(0.06, 0.1),
        "alpha_S": rng.uniform(0.5, 0.8),
    }
    S = _log_uniform(rng, 1e3, 3e5, POINTS)
    return params, {"N": _runs(rng)["N"], "S": S}


def _gadre(rng: np.random.Generator) -> Draw:
    eta, middle = rng.uniform(0.1, 0.25), (6 * 3e8 * 1e10)
    a, b = rng.uniform(0.2, 1.0, 2) * middle**eta * np.array([33**-eta, 33**eta])
    runs = _runs(rng)
    columns = {"M": runs["D"] / runs["N"], "C": 6 * runs["N"] * runs["D"]}
    return {"E": rng.uniform(1.0, 2.5), "a": a, "b": b, "eta": eta}, columns


def _muennighoff(rng: np.random.Generator) -> Draw:
    runs = _runs(rng)
    unique = runs["D"] / _log_uniform(rng, 0.7, 100, POINTS)
    return {**_chinchilla_like(rng), "R_star": _log_uniform(rng, 4, 20)}, {**runs, "U": unique}


def _shape(rng: np.random.Generator) -> Draw:
    p, q, c = rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.8), rng.uniform(0.25, 0.5)
    a = rng.uniform(0.3, 0.8) * 1e2**p
    b, xi = rng.uniform(0.3, 0.8, 2) * np.array([1e3**-q * 1e3**c, 1e3**c])
    x, t = _log_uniform(rng, 10, 1e4, POINTS), _log_uniform(rng, 30, 3e5, POINTS)
    return (
        {"a": a, "b": b, "xi": xi, "e": rng.uniform(0.1, 0.3), "p": p, "q": q, "c": c},
        {"x": x, "t": t},
    )


def _critical_batch(rng: np.random.Generator) -> Draw:
    S_min = _log_uniform(rng, 1e3, 1e5)
    E_min = S_min * _log_uniform(rng, 100, 3000)
    return {"S_min": S_min, "E_min": E_min}, {"B": _log_uniform(rng, 16, 16384, POINTS)}


def _bnsl(breaks: int) -> Callable[[np.random.Generator], Draw]:
    def draw(rng: np.random.Generator) -> Draw:
        params = {"a": rng.uniform(0.05, 0.1), "b": rng.uniform(1, 4), "c0": rng.uniform(0, 0.1)}
        edges = np.linspace(np.log(3e2), np.log(3e7), breaks + 1)
        sign = 1.0
        for i in range(1, breaks + 1):
            low, high = edges[i - 1 : i + 1]
            place = rng.uniform(low + 0.3 * (high - low), high - 0.3 * (high - low))
            params |= {f"c{i}": sign * rng.uniform(0.3, 0.5), f"d{i}": float(np.exp(place))}
            params |= {f"f{i}": rng.uniform(0.15, 0.45)}
            sign = -sign
        return params, _x(rng)

    return draw


DRAWS: dict[str, Callable[[np.random.Generator], Draw]] = {
    "chinchilla": _chinchilla,
    "m1": _m1,
    "m2": _m2,
    "m3": _m3,
    "m4": _m4,
    "henighan": _henighan,
    "kaplan": _kaplan,
    "kaplan_steps": _kaplan_steps,
    "gadre": _gadre,
    "muennighoff": _muennighoff,
    "shape": _shape,
    "critical_batch": _critical_batch,
    "bnsl": _bnsl(1),
    "bnsl2": _bnsl(2),
    "bnsl3": _bnsl(3),
}


def planted(form: str, number: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """A random law of a form, and noisy data of it."""
    rng = np.random.default_rng([zlib.crc32(form.encode()), number])
    params, columns = DRAWS[form](rng)
    law = scaling.forms[form]
    clean = law.predict(params, columns)
    noise = NOISE * rng.standard_normal(len(clean))
    return params, {**columns, law.target: clean * np.exp(noise)}


def recover(form: str, laws: int, bootstrap: int = 0) -> dict[str, Any]:
    """Coverage of each parameter over the laws that their design identifies."""
    law = scaling.forms[form]
    inside = dict.fromkeys(law.params, 0)
    by_bootstrap = dict.fromkeys(law.params, 0)
    identified, worse, said = 0, 0, {}
    for number in range(laws):
        params, data = planted(form, number)
        fit = scaling.fit(form, data, loss="squared", bootstrap=bootstrap, seed=number)
        at_truth = np.log(data[law.target] / law.predict(params, data_columns(law, data)))
        worse += fit.objective > 0.5 * float(np.sum(at_truth**2)) * (1 + 1e-9)
        reason = str(fit.status)
        intervals = fit.profile(level=LEVEL) if reason == "converged" else {}
        open_ends = [n for n, ends in intervals.items() if not _bounded(law, n, ends)]
        if reason != "converged" or open_ends:
            reason = f"no end: {', '.join(open_ends)}" if open_ends else reason
            said[reason] = said.get(reason, 0) + 1
            continue
        identified += 1
        replicates = fit.interval(level=LEVEL) if bootstrap else {}
        for name in law.params:
            low, high = intervals[name]
            inside[name] += low <= params[name] <= high
            if bootstrap:
                low, high = replicates[name]
                by_bootstrap[name] += low <= params[name] <= high
    share = max(identified, 1)
    out = {
        "laws": laws,
        "identified": identified,
        "not_identified": said,
        "fits_above_the_truth": int(worse),  # a minimum that is not global shows here
        "profile": {name: count / share for name, count in inside.items()},
    }
    if bootstrap:
        out["bootstrap"] = {name: count / share for name, count in by_bootstrap.items()}
        out["replicates"] = bootstrap
    return out


def data_columns(law: scaling.Form, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns that a law reads."""
    return {name: data[name] for name in law.columns}


def _bounded(law: scaling.Form, name: str, ends: tuple[float, float]) -> bool:
    low, high = ends
    if law.positive(name):
        return low > 0 and np.isfinite(high)
    span = law.domain.get(name)
    inside = type(span) is not tuple or (low > span[0] and high < span[1])
    return bool(inside and np.isfinite(low) and np.isfinite(high))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--forms", nargs="+", choices=[*DRAWS], default=[*DRAWS])
    parser.add_argument("--laws", type=int, default=200)
    parser.add_argument("--bootstrap", type=int, default=200, help="replicates a law; 0 for none")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the results")
    parser.add_argument("--name", default="scaling_recovery", help="of the JSON, without its end")
    parser.add_argument("--quick", action="store_true", help="few laws of two forms, to see it run")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.forms, arguments.laws, arguments.bootstrap = ["m1", "chinchilla"], 4, 20
    command = (
        f"python -m benchmarks.scaling_recovery --forms {' '.join(arguments.forms)} "
        f"--laws {arguments.laws} --bootstrap {arguments.bootstrap} --name {arguments.name}"
    )
    path = arguments.out / timing.device_name() / f"{arguments.name}.json"
    for form in arguments.forms:
        found = recover(form, arguments.laws, arguments.bootstrap)
        print(form, json.dumps(found), flush=True)
        found["provenance"] = timing.provenance(command)
        kept = json.loads(path.read_text("utf-8"))["forms"] if path.is_file() else {}
        forms = {name: kept[name] for name in DRAWS if name in kept and name != form}
        out = {
            "benchmark": "scaling_recovery",
            "noise": NOISE,
            "points": POINTS,
            "level": LEVEL,
            "forms": {**forms, form: found},
        }
        timing.write(arguments.name, out, arguments.out)
    print(path)


if __name__ == "__main__":
    main()
