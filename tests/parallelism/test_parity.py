"""Every way of running a step gives the parameters of a single device."""

from __future__ import annotations

import numpy as np
import pytest

from tests.parallelism.launching import finish, free_port, start
from tests.training.problems import MODELS

PROGRAM = "tests.parallelism.parity"
WAYS = ("jit", "jit+cut", "pmap", "shard_map", "shard_map+vma+cut")
KINDS = ",".join(MODELS)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """All ways in one process with 4 devices, and in 2 processes with 2 devices each."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    finish(start(PROGRAM, one, KINDS, ",".join(("single", *WAYS))))
    port = free_port()
    finish(*(start(PROGRAM, two, KINDS, ",".join(WAYS), port, rank, 2) for rank in range(2)))
    return one, two


def read(path):
    with np.load(path) as file:
        return dict(file)


def same(found, expected):
    """Compare leaf by leaf, sums by their size."""
    assert found.keys() == expected.keys()
    assert sum(name.startswith("params") for name in found) >= 4
    for name, value in expected.items():
        if name.endswith(".small"):  # speaks of the pieces, which differ
            continue
        scale = 1.0 if name.startswith(("params", "ema")) else np.abs(value).max()
        np.testing.assert_allclose(found[name], value, atol=1e-5 * scale, rtol=0, err_msg=name)


def test_four_devices_and_micro_batches_are_one_device(tmp_path):
    finish(start(PROGRAM, tmp_path, "mlp", "single,shard_map+vma+cut"))
    same(read(tmp_path / "mlp-shard_map+vma+cut.npz"), read(tmp_path / "mlp-single.npz"))


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", MODELS)
def test_twenty_steps_on_four_devices_are_those_of_one(outcomes, kind, way, processes):
    found = read(outcomes[processes - 1] / f"{kind}-{way}.npz")
    same(found, read(outcomes[0] / f"{kind}-single.npz"))
