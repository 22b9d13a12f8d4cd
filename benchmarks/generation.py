"""Time of a generated token against the length of the sequence.

Question: what does a token cost, one position at a time, with the states of farwide.models, and
    does it grow less than linearly in the length N? Beside it: the parallel form over all N
    positions, which a generator without a state would run for every token.
Command: `python -m benchmarks.generation [--quick] [--rounds N] [--out DIR]`
Time: about 7 minutes on 2 CPU cores (3 with `--rounds 2`), `--quick` 40 seconds.
Expected result: OUT/<device>/generation.json (generation_quick.json) and generation.png beside it:
    microseconds a token for each mixer and N. S4D and H3 stay flat, the long convolutions grow like
    the square root of N or less, full attention like N.

Batch 1, width 64, 2 blocks, float32; a token's time is that of all N steps in one compiled scan,
divided by N. Lengths take turns within a round.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from farwide.models import SequenceConfig, mixer, sequence_generator, sequence_model
from farwide.plotting import save_png
from farwide.plotting.token_time import TokenTimes, token_times

MIXERS = ("s4d", "h3", "long_conv", "hyena", "neighborhood", "attention")
LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)
QUICK = (256, 1024)
ATTENTION_LENGTH = 4096  # above this all steps take minutes, and the parallel form gigabytes
WIDTH, DEPTH, VOCABULARY = 64, 2, 64


def functions(name: str, length: int) -> dict[str, Callable[[], Any]]:
    """All steps of one sequence, and one pass of the parallel form where it fits."""
    config = SequenceConfig(
        mixer(name), WIDTH, DEPTH, length, VOCABULARY, vocabulary=VOCABULARY, mlp_ratio=2
    )
    model, generator = sequence_model(config), sequence_generator(config)
    params = jax.jit(model.init)(jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (1, length), 0, VOCABULARY)

    @jax.jit
    def steps(params: Any, tokens: jax.Array) -> jax.Array:
        def step(state: Any, token: jax.Array):
            logits, state = generator.step(params, token, state)
            return state, logits.max()

        return jax.lax.scan(step, generator.start(params, 1), tokens.T)[1]

    parallel = jax.jit(lambda params, tokens: model.apply(params, tokens).max(-1))
    apart = jnp.abs(steps(params, tokens) - parallel(params, tokens)[0]).max()
    if not float(apart) < 1e-4:
        raise RuntimeError(f"{name} at N = {length}: steps and parallel differ by {apart:.1e}")
    return {
        "steps": lambda: steps(params, tokens),
        "parallel": lambda: parallel(params, tokens),
    }


def slope(lengths: list[int], times: list[float]) -> float:
    """Exponent of N between the shortest and the longest length."""
    return float(np.log(times[-1] / times[0]) / np.log(lengths[-1] / lengths[0]))


def main() -> None:
    """Measure, print a line a mixer, draw, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two lengths, few rounds")
    parser.add_argument("--rounds", type=int, help="measured rounds (5)")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the results")
    options = parser.parse_args()
    every: list[int] = list(QUICK if options.quick else LENGTHS)
    rounds = options.rounds or (2 if options.quick else 5)
    rows, drawn = {}, []
    for name in MIXERS:
        lengths = [n for n in every if name != "attention" or n <= ATTENTION_LENGTH]
        jobs = {
            (kind, length): job
            for length in lengths
            for kind, job in functions(name, length).items()
        }
        named = {f"{kind} {length}": job for (kind, length), job in jobs.items()}
        summary = timing.summarise(
            timing.alternate(named, rounds=rounds, warmup=1), f"steps {lengths[0]}"
        )
        token = [1e3 * summary[f"steps {n}"]["median_ms"] / n for n in lengths]
        whole = {n: 1e3 * summary[f"parallel {n}"]["median_ms"] for n in lengths}
        rows[name] = {
            "token_us": dict(zip(map(str, lengths), token, strict=True)),
            "parallel_us": {str(n): us for n, us in whole.items()},
            "exponent": slope(lengths, token),
        }
        drawn.append(TokenTimes(name, lengths, token, list(whole), list(whole.values())))
        listed = ", ".join(f"{n}: {us:.0f}" for n, us in zip(lengths, token, strict=True))
        print(f"{name:14s} N^{rows[name]['exponent']:.2f}; us a token at {listed}", flush=True)
    command = "python -m benchmarks.generation" + " --quick" * options.quick
    command += f" --rounds {options.rounds}" if options.rounds else ""
    result = {
        "benchmark": "generation",
        "model": {"batch": 1, "width": WIDTH, "depth": DEPTH, "vocabulary": VOCABULARY},
        "rounds": rounds,
        "mixers": rows,
        "provenance": timing.provenance(command),
    }
    path = timing.write("generation" + "_quick" * options.quick, result, options.out)
    save_png(token_times(drawn, "Time of a generated token"), path.with_suffix(".png"))
    print(path)


if __name__ == "__main__":
    main()
