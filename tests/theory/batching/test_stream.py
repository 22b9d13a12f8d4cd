"""stream_kernel: to disk, resumed, refused where the folder holds something else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import assert_close
from tests.theory.batching.networks import conv, dense, matrix, sequences, vectors
from theory import stream_kernel
from theory.batching import ledger as ledgers

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_files_hold_the_kernel(tmp_path, symmetric):
    x1, x2 = vectors(7), None if symmetric else vectors(5, 1)
    seen = []
    kernel = stream_kernel(
        dense(), tmp_path / "k", x1, x2, ("nngp", "ntk"), batch_size=3,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert isinstance(kernel.ntk, np.memmap)
    assert not kernel.ntk.flags.writeable
    expected = dense()(x1, x2, ("nngp", "ntk"))
    for name in ("nngp", "ntk"):
        assert_close(getattr(kernel, name), getattr(expected, name))
        assert_close(np.load(tmp_path / "k" / f"{name}.npy"), getattr(expected, name))
    total = 7 * (7 if symmetric else 5)
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)


def test_full_places_and_a_single_name(tmp_path):
    x = sequences(5)
    kernel = stream_kernel(conv(), tmp_path, x, None, "ntk", batch_size=2)
    assert_close(kernel, conv()(x, None, "ntk"))


class Killed(BaseException):
    """Stands for a kill between two tiles."""


def test_what_was_done_is_kept(tmp_path):
    x, runs = vectors(8), []

    def counted(x1, x2=None):
        jax.debug.callback(lambda: runs.append(1))
        return matrix(x1, x2)

    def stop(done, total):
        if done > total / 2:
            raise Killed

    with pytest.raises(Killed):
        stream_kernel(counted, tmp_path, x, batch_size=2, progress=stop, sync_seconds=0)
    jax.effects_barrier()
    first = len(runs)
    assert 4 <= first < 10
    kernel = stream_kernel(counted, tmp_path, x, batch_size=2)
    jax.effects_barrier()
    # 10 tiles in all; one more to compare, and those that were under way when it stopped
    assert 11 <= len(runs) <= 13
    assert_close(kernel, matrix(x))
    again = stream_kernel(counted, tmp_path, x, batch_size=2)
    np.testing.assert_array_equal(again, kernel)


def test_a_tile_is_marked_after_its_entries_are_synced(tmp_path, monkeypatch):
    order = []
    flush = np.memmap.flush

    def recorded(self):
        order.append("marks" if self.dtype == np.uint8 else "entries")
        flush(self)

    monkeypatch.setattr(np.memmap, "flush", recorded)
    opened = ledgers.open_ledger(tmp_path, {}, {"k": ((2, 2), np.float32)}, 1)
    order.clear()
    ledgers.commit(opened, [0])
    assert order == ["entries", "marks"]


def test_two_processes_share_the_work(tmp_path):
    x = vectors(7)
    stream_kernel(matrix, tmp_path, x, batch_size=2, share=(0, 2))
    done = np.fromfile(tmp_path / "tiles.done", np.uint8)
    np.testing.assert_array_equal(done, [1, 0] * 5)
    assert_close(stream_kernel(matrix, tmp_path, x, batch_size=2, share=(1, 2)), matrix(x))


def test_another_problem_is_refused(tmp_path):
    kernel_fn, x = dense(), vectors(5)
    stream_kernel(kernel_fn, tmp_path, x, None, "ntk", batch_size=2)
    for change, match in [
        ({"x1": x + 1}, "inputs_sha256"),
        ({"batch_size": 3}, r"tile \[2, 2\] -> \[3, 3\]"),
        ({"get": "nngp"}, "get 'ntk' -> 'nngp'"),
        ({"diagonal_spatial": True}, "static"),
    ]:
        call = {"x1": x, "get": "ntk", "batch_size": 2} | change
        with pytest.raises(ValueError, match=f"holds another problem .*{match}"):
            stream_kernel(kernel_fn, tmp_path, **call)
    before = (tmp_path / "ntk.npy").read_bytes()
    stream_kernel(kernel_fn, tmp_path, x, None, "ntk", batch_size=2)
    assert (tmp_path / "ntk.npy").read_bytes() == before


def test_another_function_with_the_same_description_is_refused(tmp_path):
    def scaled(scale):
        def kernel_fn(x1, x2=None):
            return scale * matrix(x1, x2)

        return kernel_fn

    stream_kernel(scaled(1.0), tmp_path, vectors(5), batch_size=2)
    with pytest.raises(ValueError, match=r"computed again differ"):
        stream_kernel(scaled(1.1), tmp_path, vectors(5), batch_size=2)


def test_numbers_that_are_not_finite_do_not_stand_in_the_way(tmp_path):
    x = vectors(5).at[0].set(jnp.nan)
    stream_kernel(matrix, tmp_path, x, batch_size=2)
    np.testing.assert_array_equal(stream_kernel(matrix, tmp_path, x, batch_size=2), matrix(x))


def test_a_half_made_folder_is_made_anew(tmp_path):
    """problem.json is written last: without it nothing of a folder counts."""
    (tmp_path / "kernel.npy").write_bytes(b"torn")
    (tmp_path / "tiles.done").write_bytes(b"\x01" * 9)
    assert_close(stream_kernel(matrix, tmp_path, vectors(5), batch_size=2), matrix(vectors(5)))


def test_damage_is_named(tmp_path):
    stream_kernel(matrix, tmp_path, vectors(5), batch_size=2)
    (tmp_path / "tiles.done").write_bytes(b"\x01")
    with pytest.raises(ValueError, match=r"tiles.done has 1 bytes, expected 6"):
        stream_kernel(matrix, tmp_path, vectors(5), batch_size=2)
    (tmp_path / "problem.json").write_text("{")
    with pytest.raises(ValueError, match=r"problem.json is no JSON"):
        stream_kernel(matrix, tmp_path, vectors(5), batch_size=2)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"get": "cov1"}, 'get must be "nngp", "ntk", both in a tuple, or None'),
        ({"batch_size": 0}, "batch_size must be a positive int, got 0"),
        ({"share": (2, 2)}, r"share must be \(i, n\)"),
    ],
)
def test_what_is_refused(tmp_path, options, match):
    with pytest.raises(ValueError, match=match):
        stream_kernel(dense(), tmp_path / "k", vectors(3), **options)
    assert not (tmp_path / "k").exists()


PROGRAM = """
import sys, time
from tests.theory.batching.networks import dense, vectors
from theory import stream_kernel
def progress(done, total):
    print(done, flush=True)
    time.sleep(0.02)
options = {"batch_size": 4, "progress": progress, "sync_seconds": 0}
stream_kernel(dense(), sys.argv[1], vectors(40), None, ("nngp", "ntk"), **options)
"""


@pytest.mark.slow
def test_killed_for_real_again_and_again(tmp_path):
    folder = tmp_path / "k"
    reached, kills = 0, 0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)], cwd=ROOT, stdout=subprocess.PIPE,
            text=True, env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        )  # fmt: skip
        assert process.stdout is not None
        first = int(process.stdout.readline())
        assert first >= reached  # nothing that was reported is lost
        for line in process.stdout:
            reached = int(line)
            if reached >= first + 400 and reached < 1600:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
        if process.wait(timeout=60) == 0:
            break
    assert kills >= 2
    expected = dense()(vectors(40), None, ("nngp", "ntk"))
    assert_close(np.load(folder / "nngp.npy"), expected.nngp)
    assert_close(np.load(folder / "ntk.npy"), expected.ntk)
    assert json.loads((folder / "problem.json").read_text())["tile"] == [4, 4]
