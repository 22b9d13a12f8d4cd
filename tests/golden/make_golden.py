"""Makes the golden values with neural_tangents, in an environment of its own.

Command, with the interpreter of that environment (Python 3.11 and requirements.txt):

    cd tests && PYTHON -m golden.make_golden [--out FOLDER] [--only kernels usages names]
        [--again NAME ..]

Time: about 6 minutes on one core; `--again` makes the named architectures and programs alone and
keeps the others' values. Writes

    kernels.npz   inputs; NNGP, NTK and variances of every architecture, for x2 given and not;
                  shapes of its parameters, and what the finite network gives with them
    usages.npz    what the programs of usages/ give
    names.json    public names of neural_tangents, with their parameters and defaults

Nothing of this project is imported here, and nothing of the project imports this.
"""

from __future__ import annotations

import argparse
import enum
import inspect
import json
import platform
import sys
import time
import types
import warnings
from collections.abc import Container
from pathlib import Path
from typing import Any

# neural_tangents imports TensorFlow for this module alone
sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")

import jax  # noqa: E402
import neural_tangents  # noqa: E402  # pyright: ignore[reportMissingImports]
import numpy as np  # noqa: E402

from .architectures import ARCHITECTURES  # noqa: E402
from .draws import Problem, draw, fill, flattened  # noqa: E402
from .programs import PEER, programs, run  # noqa: E402

HERE = Path(__file__).parent
stax = neural_tangents.stax


def kernels(chosen: Container[str]) -> dict[str, np.ndarray]:
    """Inputs, and the values of every chosen architecture, by 'inputs/..' and 'architecture/..'."""
    problems = draw()
    values = {}
    for name, problem in problems.items():
        values |= {f"inputs/{name}/{part}": array for part, array in flattened(problem).items()}
    for name, architecture in ARCHITECTURES.items():
        if name not in chosen:
            continue
        start = time.perf_counter()
        problem = problems[architecture.inputs]
        init_fn, apply_fn, kernel_fn = architecture.build(stax)
        for mode, x2 in (("same", None), ("cross", problem.x2)):
            kernel = kernel_fn(problem.x1, x2, None, **problem.options(x2 is None))
            if kernel.is_reversed:  # spatial axes in reverse order, after an odd number of Convs
                kernel = kernel.reverse()
            for part in ("nngp", "ntk", "cov1"):
                values[f"{name}/{mode}/{part}"] = np.asarray(getattr(kernel, part))
            values[f"{name}/shape"] = np.asarray(kernel.shape1)
            values[f"{name}/gaussian"] = np.asarray(kernel.is_gaussian)
        if architecture.finite:
            values |= {
                f"{name}/finite/{k}": v for k, v in finite(init_fn, apply_fn, problem).items()
            }
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
    return values


def finite(init_fn: Any, apply_fn: Any, problem: Problem) -> dict[str, np.ndarray]:
    """Shapes of the parameters, and the outputs with parameters that `fill` draws."""
    shapes = jax.tree_util.tree_map(lambda x: x.shape, problem.x1)
    out_shape, params = init_fn(jax.random.PRNGKey(0), shapes)
    params = fill(params)
    out = stax.unmask_fn(apply_fn)(params, problem.x1, **problem.finite_options())
    assert tuple(out_shape) == out.shape
    leaves = jax.tree_util.tree_leaves(params)
    return {
        "outputs": np.asarray(out),
        **{f"parameter {i}": np.asarray(leaf.shape, int) for i, leaf in enumerate(leaves)},
    }


def usages(chosen: Container[str]) -> dict[str, np.ndarray]:
    """What each chosen program gives, by 'program/name'."""
    values = {}
    for name, text in programs().items():
        if name not in chosen:
            continue
        start = time.perf_counter()
        for part, value in run(text, name, PEER).items():
            values[f"{name}/{part}"] = np.asarray(value)
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
    return values


def names() -> dict[str, Any]:
    """Public names, and for each the parameters of a function or the members of an enumeration."""
    listed = {}
    modules = (neural_tangents, stax, neural_tangents.predict)
    for prefix, module in zip(("", "stax.", "predict."), modules, strict=True):
        for name in sorted(dir(module)):
            value = getattr(module, name)
            if not name.startswith("_") and not isinstance(value, types.ModuleType):
                listed[prefix + name] = described(value)
    listed["experimental"] = {"kind": "module"}
    return listed


def described(value: Any) -> dict[str, Any]:
    """The kind of a public object, with its members or parameters."""
    if isinstance(value, type) and issubclass(value, enum.Enum):
        return {"kind": "enumeration", "members": [member.name for member in value]}
    if not callable(value):
        return {"kind": "object"}
    parameters = [
        [p.name, "" if p.default is p.empty else written(p.default), p.kind.name]
        for p in inspect.signature(value).parameters.values()
        if not p.name.startswith("_")
    ]
    return {"kind": "class" if isinstance(value, type) else "function", "parameters": parameters}


def written(default: Any) -> str:
    """A default as text that does not depend on the run."""
    if isinstance(default, enum.Enum):
        return default.name
    return "a function" if callable(default) else repr(default)


def provenance() -> dict[str, str]:
    """Versions, date and command."""
    versions = {m.__name__: m.__version__ for m in (neural_tangents, jax, np)}
    command = "python -m golden.make_golden"
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return {**versions, "python": platform.python_version(), "date": date, "command": command}


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE)
    choices = ("kernels", "usages", "names")
    parser.add_argument("--only", nargs="+", choices=choices, default=choices)
    parser.add_argument("--again", nargs="+", choices=(*ARCHITECTURES, *programs()))
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")  # the peer's own
    record = np.asarray(json.dumps(provenance()))
    for name, make, every in (("kernels", kernels, ARCHITECTURES), ("usages", usages, programs())):
        if name not in arguments.only:
            continue
        path, chosen = arguments.out / f"{name}.npz", arguments.again or list(every)
        values: dict[str, Any] = make(chosen)
        if arguments.again:
            with np.load(path) as stored:
                kept = [
                    k for k in stored if k.split("/")[0] not in (*chosen, "provenance", "inputs")
                ]
                values |= {k: stored[k] for k in kept}
        values["provenance"] = record
        np.savez_compressed(path, **values)
    if "names" in arguments.only:
        listed = {"provenance": provenance(), "names": names()}
        (arguments.out / "names.json").write_text(json.dumps(listed, indent=1) + "\n")


if __name__ == "__main__":
    main()
