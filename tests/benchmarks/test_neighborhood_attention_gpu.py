"""The GPU benchmark at toy size: it counts, checks, runs, records failures, and refuses a CPU."""

from __future__ import annotations

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import neighborhood_attention_gpu as gpu
from benchmarks import neighborhood_attention_gpu_peers as peers
from kernels_pallas.neighborhood_attention import cases
from kernels_pallas.neighborhood_attention.reference import forward, neighbours

ON_CPU = pytest.mark.skipif(jax.default_backend() != "cpu", reason="a GPU or TPU is at hand")


def test_useful_flops():
    """Every query of 256 x 256 attends 80 x 80 keys, at 2 products of 128 a pair, 24 heads."""
    call = gpu.CASES["2d 256 w80"].call
    one = 2 * 24 * 128 * 256**2
    assert gpu.flops(call, "forward") == 2 * one * 80**2
    assert gpu.flops(call, "forward+backward") == 7 * one * 80**2
    assert gpu.flops(call, "forward", dense=True) == 2 * one * 256**2
    strided = gpu.CASES["2d 256 w80 s16"].call
    assert gpu.flops(strided, "forward") == gpu.flops(call, "forward")


def test_the_cases_are_those_that_flex_attention_can_take():
    for case in [*gpu.CASES.values(), *gpu.SMOKE.values()]:
        assert math.prod(case.tile) == 128
        peers.neighbour_rule(case.call, case.tile)
        assert case.call.scale == case.call.head_dim**-0.5
    with pytest.raises(ValueError, match="tile is"):
        peers.neighbour_rule(cases.case((10,), (3,)), (4,))
    with pytest.raises(ValueError, match="dilation is"):
        peers.neighbour_rule(cases.case((10,), (3,), dilation=(2,)), (5,))


def test_the_rule_for_flex_attention_is_the_neighbourhood():
    """In permuted order it allows the pairs that the definition does in order of places."""
    for call, tile in (
        (cases.case((8, 12), (3, 5), stride=(2, 4)), (4, 3)),
        (cases.case((20,), (7,)), (5,)),
        (cases.case((4, 6, 4), (2, 3, 4), stride=(2, 1, 3)), (2, 3, 2)),
    ):
        tokens = np.arange(math.prod(call.space))
        order = np.ravel_multi_index(peers.place_of(tokens, call.space, tile), call.space)
        assert sorted(order) == tokens.tolist()
        box = np.array(peers.place_of(tokens[: math.prod(tile)], call.space, tile))
        assert (box.max(1) + 1).tolist() == list(tile)
        allowed = peers.neighbour_rule(call, tile)(None, None, tokens[:, None], tokens)
        np.testing.assert_array_equal(allowed, neighbours(call)[0][order][:, order])


def test_sampled_error_sees_a_wrong_query():
    call = cases.case((9, 7), (4, 3), stride=(2, 1), dilation=(2, 1), head_dim=8, dtype="float32")
    rng = np.random.default_rng(0)
    arrays = {n: jnp.asarray(rng.standard_normal(peers.shapes(call)[n]), "float32") for n in "qkv"}
    out = forward(call, *arrays.values(), None, None, None, None)[0]
    assert peers.sampled_error(call, arrays, out) < 1e-6
    assert peers.sampled_error(call, arrays, out.at[0, 0, 0].add(1.0)) > 0.1


def test_errors_are_those_of_the_implementation(monkeypatch):
    call = gpu.SMOKE_CHECKS["2d"]
    found = peers.errors("reference", call._replace(additional=2))
    assert set(found) == {"out", "lse", "q", "k", "v", "additional_keys", "additional_values"}
    assert max(found.values()) <= gpu.LIMITS["bfloat16"]
    right = peers.ours

    def wrong(*given):
        attend = right(*given)
        return lambda *operands: (1.1 * attend(*operands)[0], attend(*operands)[1])

    monkeypatch.setattr(peers, "ours", wrong)
    assert peers.errors("reference", call)["out"] > gpu.LIMITS["bfloat16"]


def test_a_call_that_is_not_supported_says_why():
    call = gpu.SMOKE_CHECKS["1d"]._replace(has_bias=True)
    with pytest.raises(ValueError, match=r"triton does not support the call: .*bias"):
        peers.ours("triton", call)


def test_a_failure_is_written_down(monkeypatch, capsys):
    def refuse(*_, **__):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(gpu, "jax_timer", refuse)
    monkeypatch.setattr(gpu, "errors", refuse)
    checks = gpu.check_all("xla", smoke=True)
    assert all("RESOURCE_EXHAUSTED" in row["bfloat16"] for row in checks.values())
    case = gpu.SMOKE["2d 16 w5"]
    found = gpu.one_case("xla", case, rounds=1, smoke=True)
    assert "RESOURCE_EXHAUSTED" in found["forward"]["error"]
    assert gpu.compare(case, {"xla": found}) == {}
    gpu.show_case("2d 16 w5", "xla", found)
    gpu.show_checks("xla", checks)
    assert capsys.readouterr().out.count("RESOURCE_EXHAUSTED") == 4


def test_comparisons():
    case = gpu.CASES["2d 256 w80"]
    rows = {
        name: {"forward": {"median_ms": ms, "useful_tflop_per_s": rate}}
        for name, ms, rate in (
            ("triton", 2.0, 150.0),
            ("dense", 9.0, 500.0),
            ("torch flex", 2.5, 1),
        )
    }
    found = gpu.compare(case, rows)["triton"]["forward"]
    assert found["fraction_of_dense"] == {"found": 0.3, "aim": 0.25, "met": True}
    assert found["flex_over_ours"] == {"found": 1.25, "aim": 1.5, "met": False}


def test_one_case():
    found = gpu.one_case("xla", gpu.SMOKE["1d 128 w16"], rounds=1, smoke=True)
    for label in peers.PASSES:
        assert found[label]["median_ms"] > 0
        assert found[label]["useful_tflop_per_s"] > 0
        assert found[label]["sampled_relative_l2"] < 1e-2


@pytest.mark.slow
def test_the_whole_command(tmp_path, capsys):
    argv = ["--smoke", "--out", str(tmp_path), "--only", "xla", "dense", "--cases", "2d 16 w5"]
    assert gpu.main(argv) == 0
    (path,) = tmp_path.glob("*/neighborhood_attention_gpu.json")
    result = json.loads(path.read_text())
    start = "python -m benchmarks.neighborhood_attention_gpu --smoke"
    assert result["provenance"]["command"].startswith(start)
    for row in result["checks"]["xla"].values():
        assert max(row["bfloat16"].values()) <= gpu.LIMITS["bfloat16"]
    (entry,) = result["cases"].values()
    found = entry["implementations"]["xla"]["forward+backward"]
    assert found["median_ms"] > 0
    assert found["sampled_relative_l2"] < 1e-2
    assert entry["compared"]["xla"]["forward"]["fraction_of_dense"]["found"] > 0
    assert "ABOVE" not in capsys.readouterr().out


@ON_CPU
def test_without_a_gpu_it_refuses(tmp_path, capsys, monkeypatch):
    facts = {"platform": jax.default_backend(), "provenance": {"device": "cpu-2"}}
    monkeypatch.setattr(gpu, "collect", lambda *_: {0: facts})
    assert gpu.main(["--out", str(tmp_path)]) == 2
    assert "no GPU" in capsys.readouterr().err
    monkeypatch.setattr(gpu, "collect", lambda *_: {0: {"error": "no backend"}})
    assert gpu.main(["--out", str(tmp_path)]) == 2
    assert "no backend" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
