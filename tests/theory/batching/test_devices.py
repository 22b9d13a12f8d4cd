"""batch and stream_kernel over several devices."""

from __future__ import annotations

import subprocess
import sys

# The number of devices is fixed once a backend starts, so this runs in a process of its own.
PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 3)
import numpy as np
from tests.numerics import assert_close
from tests.theory.batching.networks import dense, matrix, vectors
from theory import batch, stream_kernel

kernel_fn = dense()
x1, x2 = vectors(11), vectors(7, 1)
for other, batch_size, count, on_device in [(None, 0, -1, True), (x2, 4, 2, False)]:
    expected = kernel_fn(x1, other, ("nngp", "ntk"))
    got = batch(kernel_fn, batch_size, count, on_device)(x1, other, ("nngp", "ntk"))
    for a, b in zip(got, expected, strict=True):
        assert_close(a, b)
        assert isinstance(a, jax.Array) == on_device
assert_close(stream_kernel(matrix, sys.argv[1], x1, batch_size=3), matrix(x1))
slope = jax.grad(lambda x: (batch(matrix, 4, 3)(x, x2) ** 2).sum())(x1)
assert_close(slope, jax.grad(lambda x: (matrix(x, x2) ** 2).sum())(x1))
# Every device has its part: three tiles at a time hold one each.
from theory.batching import arguments, program
run = program.program_of(matrix, program.devices_of(-1))
arrays, static = arguments.split(x1, x2, (), {})
out, _ = run.run(arrays, np.zeros((3, 4), np.int32), static, program.Form((2, 2), False))
assert len(out["0."].sharding.device_set) == 3
print("devices: ok")
"""


def test_over_three_devices(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert "devices: ok" in done.stdout, done.stderr
