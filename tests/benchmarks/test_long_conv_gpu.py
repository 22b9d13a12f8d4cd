"""The GPU benchmark and the tuner at toy size: they run, record failures, and refuse a CPU."""

from __future__ import annotations

import json
import sys

import jax
import numpy as np
import pytest

from benchmarks import long_conv_gpu, tune_long_conv
from benchmarks.long_conv_peers import Problem, exact, host_arrays
from kernels_pallas.long_conv import tiles
from kernels_pallas.long_conv.cases import Case
from tests.kernels_pallas.long_conv.problems import direct_gradients, direct_sum
from tests.numerics import assert_accurate

ON_CPU = pytest.mark.skipif(jax.default_backend() != "cpu", reason="a GPU or TPU is at hand")


def test_what_it_checks_against_is_the_direct_sum():
    case = Case(2, 3, 40, 40, pre_gate=True, post_gate=True)
    made = host_arrays(Problem(2, 3, 40))
    names = {"u": "u", "k": "k", "pre": "pre_gate", "post": "post_gate"}
    arrays = {names[n]: made[n] for n in names}
    found = exact(made)
    assert_accurate(found["y"], direct_sum(case, arrays), "float64")
    for name, slope in direct_gradients(case, arrays, made["g"]).items():
        short = {long: n for n, long in names.items()}[name]
        assert_accurate(found[short], slope, "float64")


def test_floors_are_the_published_ones():
    for length, milliseconds in ((1024, 0.134), (4096, 0.537), (32768, 4.29)):
        floor = long_conv_gpu.floor_ms(long_conv_gpu.FULL._replace(length=length), 3.0e12)
        assert floor["forward"] == pytest.approx(milliseconds, rel=1e-2)
        # 8 bytes a point forward and 14 backward; float32 taps are 1 % of that
        assert floor["forward+backward"] == pytest.approx(milliseconds * 22 / 8, rel=2e-2)


def test_too_large_a_problem_is_halved_to_nothing_in_the_end():
    sizes = []
    problem = Problem(4, 64, 8)
    while problem is not None:
        sizes.append((problem.batch, problem.channels))
        problem = long_conv_gpu.halved(problem)
    assert sizes == [(4, 64), (4, 32), (4, 16), (2, 16), (1, 16)]


def test_one_length_of_a_kernel():
    result = long_conv_gpu.one_length("triton", 256, rounds=1, smoke=True)
    for dtype, limit in long_conv_gpu.LIMITS.items():
        assert set(result["errors"][dtype]) == {"y", "u", "pre", "post", "k"}
        assert max(result["errors"][dtype].values()) <= limit
    for label in ("forward", "forward+backward"):
        assert result[label]["median_ms"] > 0
        assert result[label]["scaled_ms"] == result[label]["median_ms"]


def test_a_failure_is_written_down(monkeypatch, capsys):
    def refuse(*_, **__):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(long_conv_gpu, "jax_timer", refuse)
    monkeypatch.setattr(long_conv_gpu, "errors", refuse)
    result = long_conv_gpu.one_length("xla", 256, rounds=1, smoke=True)
    assert "RESOURCE_EXHAUSTED" in result["errors"]["bfloat16"]
    assert "RESOURCE_EXHAUSTED" in result["forward"]["error"]
    assert result["forward"]["problem"]["batch"] == 1  # it tried smaller ones
    long_conv_gpu.show("xla", 256, result, {})
    assert "RESOURCE_EXHAUSTED" in capsys.readouterr().out


def test_a_worker_that_dies_costs_one_length():
    program = """
import json, os, sys
for n in map(int, sys.argv[2:]):
    if n == 2:
        os.abort()
    with open(sys.argv[1], "a") as file:
        file.write(json.dumps({"length": n, "result": {"ok": n}}) + "\\n")
"""

    def command(lengths, path):
        return [sys.executable, "-c", program, str(path), *map(str, lengths)]

    done = long_conv_gpu.collect(command, [1, 2, 3], {})
    assert done[1] == {"ok": 1}
    assert done[3] == {"ok": 3}
    assert "status" in done[2]["error"]


def test_the_whole_command(tmp_path, capsys):
    argv = ["--smoke", "--out", str(tmp_path), "--only", "jnp", "--lengths", "256"]
    assert long_conv_gpu.main(argv) == 0
    (path,) = tmp_path.glob("*/long_conv_gpu.json")
    result = json.loads(path.read_text())
    assert result["provenance"]["command"].startswith("python -m benchmarks.long_conv_gpu --smoke")
    entry = result["lengths"]["256"]
    assert entry["problem"]["length"] == 256
    jnp = entry["implementations"]["jnp"]
    assert max(jnp["errors"]["float32"].values()) < 1e-6
    assert np.isfinite(jnp["forward+backward"]["scaled_ms"])
    assert "x floor" in capsys.readouterr().out


@ON_CPU
def test_without_a_gpu_they_refuse(tmp_path, capsys):
    assert long_conv_gpu.main(["--out", str(tmp_path)]) == 2
    assert "no GPU" in capsys.readouterr().err
    assert tune_long_conv.main(["--tables", str(tmp_path)]) == 2
    assert "only a CPU" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@ON_CPU
@pytest.mark.slow
def test_the_tuner_writes_a_table_that_is_found(tmp_path, capsys):
    smoke = ["--smoke", "--sizes", "256", "--dtypes", "float32"]
    assert tune_long_conv.main(smoke) == 2  # never into the package
    assert tune_long_conv.main([*smoke, "--tables", str(tmp_path)]) == 0
    assert "wrote" in capsys.readouterr().out
    kind = jax.devices()[0].device_kind
    for backward in (False, True):
        found = tiles.tile("triton", kind, 256, "float32", backward, tables=tmp_path)
        assert found is not None
        assert found.factors == (16, 16)


def test_factorings():
    assert tune_long_conv.factorings(256) == [(16, 16)]
    assert (16, 16, 16) in tune_long_conv.factorings(4096)
    assert (64, 64) in tune_long_conv.factorings(4096)
    for size in tune_long_conv.SIZES:
        assert all(np.prod(f) == size for f in tune_long_conv.factorings(size))
        assert len(set(tune_long_conv.factorings(size))) == len(tune_long_conv.factorings(size))
