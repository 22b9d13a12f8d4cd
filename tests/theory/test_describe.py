"""describe: what a kernel holds and costs, without computing it."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from theory import describe, stax
from theory.describe import bytes_text


def conv(*end):
    return stax.serial(
        stax.Conv(4, (3, 3), padding="SAME"), stax.Relu(), stax.AvgPool((2, 2), (2, 2)), *end
    ).kernel_fn


def flat():
    return stax.serial(
        stax.Conv(4, (3, 3), padding="SAME"), stax.Relu(), stax.Flatten(), stax.Dense(3)
    ).kernel_fn


def test_pooling_holds_all_pairs_of_places():
    cost = describe(conv(stax.GlobalAvgPool(), stax.Dense(3)), (6, 8, 8, 2), (5, 8, 8, 2))
    assert [layer.name.split("(")[0] for layer in cost.layers] == [
        "input", "Conv", "Relu", "AvgPool", "GlobalAvgPool", "Dense",
    ]  # fmt: skip
    assert [layer.entries for layer in cost.layers] == [8**4] * 3 + [4**4, 1, 1]
    assert [layer.bytes for layer in cost.layers] == [8 * layer.entries for layer in cost.layers]
    assert [layer.shape for layer in cost.layers][-1] == "(3)"
    assert [layer.held for layer in cost.layers] == ["all pairs"] * 4 + ["-"] * 2
    assert cost.output_bytes == 6 * 5 * 2 * 4


def test_flattening_holds_equal_places():
    cost = describe(flat(), (6, 8, 8, 2), get="nngp")
    assert [layer.entries for layer in cost.layers] == [64, 64, 64, 1, 1]
    assert cost.layers[1].bytes == 64 * 4
    assert cost.layers[1].held == "equal places"
    assert cost.output_bytes == 6 * 6 * 4
    assert cost.symmetric


def test_flattening_at_once_holds_no_places():
    network = stax.serial(stax.Flatten(), stax.Dense(4), stax.Relu())[2]
    cost = describe(network, (1000, 8, 8, 2))
    assert [layer.entries for layer in cost.layers] == [1] * 4
    assert [layer.shape for layer in cost.layers] == ["(128)", "(128)", "(4)", "(4)"]
    x = np.ones((1000, 8, 8, 2), np.float32)
    assert cost.output_bytes == sum(k.nbytes for k in network(x, None, ("nngp", "ntk")))


def test_outputs_at_places():
    full = describe(conv(), (2, 8, 8, 2), get="ntk")
    equal = describe(conv(), (2, 8, 8, 2), get="ntk", diagonal_spatial=True)
    assert full.output_bytes == 2 * 2 * 4**4 * 4
    assert equal.output_bytes == 2 * 2 * 4**2 * 4


def test_operations_count_pairs_once_where_x1_is_x2():
    both = describe(flat(), (40, 8, 8, 2), (40, 8, 8, 2), tile=4)
    one = describe(flat(), (40, 8, 8, 2), tile=4)
    assert (both.tiles, one.tiles) == (100, 55)
    assert one.operations == pytest.approx(0.55 * both.operations)
    half = describe(flat(), (40, 8, 8, 2), (20, 8, 8, 2), tile=4)
    assert half.operations == pytest.approx(both.operations / 2)


def test_memory_follows_the_tile():
    small, large = (describe(flat(), (64, 16, 16, 1), tile=tile) for tile in (16, 32))
    assert large.tile_bytes == 4 * small.tile_bytes == 4 * 32**2 * 16**2 * 8
    assert small.output_bytes == large.output_bytes


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_estimate_is_near_what_xla_accounts_for(symmetric):
    shape = (24, 8, 8, 2)
    kernel_fn = conv(stax.GlobalAvgPool())
    other = None if symmetric else shape
    cost = describe(kernel_fn, shape, other, tile=8, compiled=True)
    assert cost.compiled_bytes is not None
    work, output = cost.compiled_bytes
    assert cost.output_bytes <= output <= cost.output_bytes + 1024
    assert cost.tile_bytes / 4 <= work <= 2 * cost.tile_bytes
    assert cost.peak_bytes == work + output


def test_branches_in_the_order_they_run():
    layer = stax.serial(
        stax.FanOut(2),
        stax.parallel(stax.Dense(3), stax.serial(stax.Dense(3), stax.Relu(), stax.Dense(3))),
        stax.FanInSum(),
    )
    cost = describe(layer.kernel_fn, (3, 4))
    names = [line.name.split("(")[0] for line in cost.layers]
    assert names == ["input", "FanOut", "Dense", "Dense", "Relu", "Dense", "FanInSum"]
    assert cost.layers[1].shape == "(4) + (4)"
    assert cost.layers[1].entries == 2
    several = stax.serial(stax.parallel(stax.Dense(3), stax.Dense(3)), stax.FanInSum())
    cost = describe(several.kernel_fn, ((3, 4), (3, 5)))
    assert cost.layers[0].shape == "(4) + (5)"


def test_the_table():
    text = str(describe(conv(stax.GlobalAvgPool()), (256, 32, 32, 3)))
    lines = text.splitlines()
    assert lines[0].split() == [
        "layer",
        "output",
        "held",
        "entries/pair",
        "bytes/pair",
        "operations",
    ]
    conv_line = next(line for line in lines if line.startswith("Conv"))
    assert "(32, 32, 4)" in conv_line
    assert "1,048,576" in conv_line
    assert "8 MiB" in conv_line
    assert "nngp and ntk of 256 x 256 examples, x1 is x2, float32: 512 KiB" in lines
    assert len({len(line) for line in lines[:2]}) == 1


def test_nothing_is_computed_and_no_array_is_made():
    """Half a petabyte, described."""
    cost = describe(conv(), (10**5, 64, 64, 3))
    assert cost.output_bytes > 2**49
    assert "TiB" in str(cost)


def test_float64_takes_twice_the_bytes():
    with jax.enable_x64(True):
        double = describe(flat(), (6, 8, 8, 2), dtype=np.float64)
    assert double.dtype == "float64"
    assert double.output_bytes == 2 * describe(flat(), (6, 8, 8, 2)).output_bytes


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (((6, 8),), ValueError, "Conv"),
        ((6,), ValueError, "a shape must be"),
        (((0, 8, 8, 2),), ValueError, "positive ints"),
        (((6, 8, 8, 2), (6, 8, 8, 3)), ValueError, "same shape but for the number of examples"),
        (((6, 8, 8, 2), None, "cov1"), ValueError, "get must be"),
    ],
)
def test_what_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        describe(flat(), *arguments)
    with pytest.raises(TypeError, match=r"kernel_fn must be one of theory.stax"):
        describe(lambda x1, x2: x1, (2, 3))


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "0.977 KiB"), (1536, "1.5 KiB"), (3 << 30, "3 GiB"),
     (2**60, "1.049e+06 TiB")],
)  # fmt: skip
def test_bytes_in_words(count, text):
    assert bytes_text(count) == text
