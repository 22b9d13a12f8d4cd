"""Train small models for some steps in one way; writes what came out. Run as a program by tests.

    python -m tests.parallelism.parity OUT KIND,KIND WAY,WAY [PORT RANK PROCESSES]

A way is single, jit, pmap or shard_map; the last three take all devices of all processes. With
+vma shard_map checks what varies, with +cut a device cuts its rows into two micro-batches.
"""

from __future__ import annotations

import sys

import jax
import numpy as np

from farwide.parallelism import data_mesh
from farwide.training import AdamW, StepOptions, make_trainer
from tests.training.problems import MODELS, toy_task

STEPS, BATCH, RATE = 20, 16, 0.02


def trained(kind: str, way: str, *, check_vma: bool = False, accumulate: int = 1):
    """The state after STEPS updates, and the evaluation on the task's test examples."""
    options = StepOptions(
        run="jit" if way == "single" else way,  # pyright: ignore[reportArgumentType]
        check_vma=check_vma,
        accumulate=accumulate,
        clip_norm=1.0,
        ema_decay=0.9,
        evaluation_size=24,  # the last chunk of 50 is not full
    )
    mesh = None if way == "single" else data_mesh()
    trainer = make_trainer(MODELS[kind](), AdamW(epsilon=1e-3).transformation(), options, mesh=mesh)
    task = toy_task(kind)
    state = trainer.init(0)
    share = BATCH // jax.process_count()
    for index in range(STEPS):
        batch = task.train(index * BATCH + share * jax.process_index(), share)
        state = trainer.step(state, batch, RATE)
    return state, trainer.evaluate(state.params, task.test)


def main() -> None:
    """Train in every way that is asked for; write OUT/KIND-WAY.npz, an array for each leaf."""
    out, kinds, ways, *where = sys.argv[1:]
    jax.config.update("jax_num_cpu_devices", 4 if not where else 2)
    rank = 0
    if where:
        port, rank, processes = map(int, where)
        jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=processes, process_id=rank)
    assert jax.device_count() == 4
    for kind in kinds.split(","):
        for way in ways.split(","):
            name, *flags = way.split("+")
            state, found = trained(
                kind, name, check_vma="vma" in flags, accumulate=2 if "cut" in flags else 1
            )
            state = jax.device_get((state.params, state.ema, state.totals))
            arrays = {
                f"{part}{jax.tree_util.keystr(path)}": leaf
                for part, tree in zip(("params", "ema", "totals"), state, strict=True)
                for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
            }
            if rank == 0:
                np.savez(f"{out}/{kind}-{way}.npz", evaluation=np.asarray(found), **arrays)


if __name__ == "__main__":
    main()
