"""Train with a state spread over 4 devices and with a whole one. Run as a program by tests.

    python -m tests.parallelism.spread OUT KIND

Writes OUT/KIND.json: the largest difference, bytes a device, what a restored state differs by.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
import numpy as np

from farwide.parallelism import Fsdp, data_mesh, sharding_report
from farwide.training import AdamW, Checkpoints, StepOptions, make_trainer
from farwide.training.trainer import Trainer
from tests.training.problems import MODELS, toy_task

STEPS, BATCH, RATE = 10, 16, 0.02


def updated(trainer: Trainer, kind: str, state, first: int, last: int):
    """The state after the updates from `first` to `last`."""
    task = toy_task(kind)
    for index in range(first, last):
        state = trainer.step(state, task.train(index * BATCH, BATCH), RATE)
    return state


def difference(one, other) -> float:
    """The largest over parameters, optimiser state and moving average."""
    pairs = zip(
        *(jax.tree.leaves((s.params, s.opt_state, s.ema)) for s in (one, other)), strict=True
    )
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)), initial=0)) for a, b in pairs)


def main() -> None:
    """Train both, save in the middle, restore."""
    out, kind = Path(sys.argv[1]), sys.argv[2]
    jax.config.update("jax_num_cpu_devices", 4)
    options = StepOptions(clip_norm=1.0, ema_decay=0.9, evaluation_size=24)
    optimizer = AdamW(epsilon=1e-3).transformation()
    whole = make_trainer(MODELS[kind](), optimizer, options)
    spread = make_trainer(MODELS[kind](), optimizer, options, mesh=data_mesh(), fsdp=Fsdp(least=16))
    expected = updated(whole, kind, whole.init(0), 0, STEPS)
    state = updated(spread, kind, spread.init(0), 0, STEPS // 2)
    before = sharding_report(state)
    with Checkpoints(out / kind) as checkpoints:
        checkpoints.save(STEPS // 2, state, {})
    state = updated(spread, kind, state, STEPS // 2, STEPS)
    with Checkpoints(out / kind) as checkpoints:
        restored = checkpoints.restore(spread.init(1))
        unspread = checkpoints.restore(whole.init(1))
    assert restored is not None
    assert unspread is not None
    places_kept = sharding_report(restored.state) == before
    again = updated(spread, kind, restored.state, STEPS // 2, STEPS)
    alone = updated(whole, kind, unspread.state, STEPS // 2, STEPS)
    moments = [row for row in sharding_report(state) if row.path.startswith("opt_state")]
    losses = [
        trainer.evaluate(end.params, toy_task(kind).test).loss
        for trainer, end in ((whole, expected), (spread, state))
    ]
    found = {
        "difference": difference(state, expected),
        "difference_restored": difference(again, state),
        "difference_restored_whole": difference(alone, expected),
        "places_kept": places_kept and sharding_report(state) == before,
        "bytes": sum(row.bytes for row in moments),
        "bytes_per_device": sum(row.bytes_per_device for row in moments),
        "held": sum(
            shard.data.nbytes
            for leaf in jax.tree.leaves(state.opt_state)
            for shard in leaf.addressable_shards
            if shard.device == jax.devices()[3]
        ),
        "losses": losses,
    }
    (out / f"{kind}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
