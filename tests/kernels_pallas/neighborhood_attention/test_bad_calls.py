"""Every wrong call raises, with a message that names argument, value and what is accepted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.neighborhood_attention import merge_attentions, neighborhood_attention

F32 = jnp.float32


def zeros(*shape, dtype=F32):
    return jnp.zeros(shape, dtype)


Q, K, V = zeros(2, 6, 10, 4, 8), zeros(2, 6, 10, 2, 8), zeros(2, 6, 10, 2, 5)
EXTRA_K, EXTRA_V = zeros(2, 3, 2, 8), zeros(2, 3, 2, 5)

# what the message starts with, the value it shows, what it says is accepted, arguments over the
# good call; all ValueErrors
BAD = [
    ("window", "1", "2 to", {"window": 1}),
    ("window", "0", "2 to", {"window": 0}),
    ("window", "-3", "2 to", {"window": -3}),
    ("window", "7", "6", {"window": 7}),
    ("window", "11", "10", {"window": (3, 11)}),
    ("window", "1", "2 to", {"window": (3, 1)}),
    ("window", "4", "3", {"window": (4, 3), "dilation": (2, 1)}),
    ("window", "6", "5", {"window": (3, 6), "dilation": (1, 2)}),
    ("window", "3", "length // dilation = 2", {"dilation": (3, 1)}),
    ("window", "(3,)", "each of the 2 axes", {"window": (3,)}),
    ("window", "(3, 3, 3)", "each of the 2 axes", {"window": (3, 3, 3)}),
    ("window", "()", "each of the 2 axes", {"window": ()}),
    ("window", "3.0", "int", {"window": 3.0}),
    ("window", "(3, 3.5)", "int", {"window": (3, 3.5)}),
    ("window", "True", "int", {"window": True}),
    ("window", "(3, True)", "int", {"window": (3, True)}),
    ("window", "None", "int", {"window": None}),
    ("window", "'3'", "int", {"window": "3"}),
    ("window", "3", "int", {"window": np.array([3, 3])}),
    ("window", "None", "int", {"window": (3, None)}),
    ("dilation", "0", "1 or more", {"dilation": 0}),
    ("dilation", "-1", "1 or more", {"dilation": (1, -1)}),
    ("dilation", "True", "int", {"dilation": True}),
    ("dilation", "1.0", "int", {"dilation": 1.0}),
    ("dilation", "None", "int", {"dilation": None}),
    ("dilation", "(1, 1, 1)", "each of the 2 axes", {"dilation": (1, 1, 1)}),
    ("dilation", "[2]", "each of the 2 axes", {"dilation": [2]}),
    ("stride", "0", "1 to the window, 3", {"stride": 0}),
    ("stride", "-2", "1 to the window, 3", {"stride": -2}),
    ("stride", "4", "1 to the window, 3", {"stride": 4}),
    ("stride", "4", "1 to the window, 3", {"window": (4, 3), "stride": 4}),
    ("stride", "False", "int", {"stride": False}),
    ("stride", "2.0", "int", {"stride": 2.0}),
    ("stride", "(1,)", "each of the 2 axes", {"stride": (1,)}),
    ("causal", "1", "bool", {"causal": 1}),
    ("causal", "0", "bool", {"causal": (False, 0)}),
    ("causal", "None", "bool", {"causal": None}),
    ("causal", "'yes'", "bool", {"causal": "yes"}),
    ("causal", "True", "bool", {"causal": np.True_}),
    ("causal", "(True,)", "each of the 2 axes", {"causal": (True,)}),
    ("causal", "[True, False, True]", "each of the 2 axes", {"causal": [True, False, True]}),
    ("scale", "nan", "finite", {"scale": float("nan")}),
    ("scale", "inf", "finite", {"scale": float("inf")}),
    ("scale", "True", "finite", {"scale": True}),
    ("scale", "'auto'", "finite", {"scale": "auto"}),
    ("scale", "1j", "finite", {"scale": 1j}),
    ("scale", "(0.5, 0.5)", "finite", {"scale": (0.5, 0.5)}),
    ("q", "(6, 4, 8)", "one to three", {"q": zeros(6, 4, 8)}),
    ("q", "(1, 2, 2, 2, 2, 4, 8)", "one to three", {"q": zeros(1, 2, 2, 2, 2, 4, 8)}),
    ("q", "(2, 6, 10, 4, 0)", ">= 1", {"q": zeros(2, 6, 10, 4, 0)}),
    ("q", "(2, 6, 0, 4, 8)", ">= 1", {"q": zeros(2, 6, 0, 4, 8)}),
    ("q", "(2, 6, 10, 0, 8)", ">= 1", {"q": zeros(2, 6, 10, 0, 8)}),
    ("k", "(2, 6, 2, 8)", "(batch,", {"k": zeros(2, 6, 2, 8)}),
    ("k", "(2, 6, 9, 2, 8)", "(2, 6, 10, 2, 8)", {"k": zeros(2, 6, 9, 2, 8)}),
    ("k", "(1, 6, 10, 2, 8)", "(2, 6, 10, 2, 8)", {"k": zeros(1, 6, 10, 2, 8)}),
    ("k", "(2, 6, 10, 2, 5)", "(2, 6, 10, 2, 8)", {"k": V}),
    ("k", "3", "4 heads", {"k": zeros(2, 6, 10, 3, 8), "v": zeros(2, 6, 10, 3, 5)}),
    ("k", "8", "4 heads", {"k": zeros(2, 6, 10, 8, 8), "v": zeros(2, 6, 10, 8, 5)}),
    ("k", "0", "4 heads", {"k": zeros(2, 6, 10, 0, 8), "v": zeros(2, 6, 10, 0, 5)}),
    ("v", "(2, 6, 10, 4, 5)", "(2, 6, 10, 2, 5)", {"v": zeros(2, 6, 10, 4, 5)}),
    ("v", "(2, 10, 6, 2, 5)", "(2, 6, 10, 2, 5)", {"v": zeros(2, 10, 6, 2, 5)}),
    ("v", "(2, 6, 10, 2, 0)", ">= 1", {"v": zeros(2, 6, 10, 2, 0)}),
    ("additional_values", "None", "both or neither", {"additional_keys": EXTRA_K}),
    ("additional_keys", "None", "both or neither", {"additional_values": EXTRA_V}),
    (
        "additional_keys", "(2, 0, 2, 8)", "at least 1",
        {"additional_keys": zeros(2, 0, 2, 8), "additional_values": zeros(2, 0, 2, 5)},
    ),
    (
        "additional_keys", "(1, 3, 2, 8)", "(2, 3, 2, 8)",
        {"additional_keys": EXTRA_K[:1], "additional_values": EXTRA_V},
    ),
    (
        "additional_keys", "(2, 3, 4, 8)", "(2, 3, 2, 8)",
        {"additional_keys": zeros(2, 3, 4, 8), "additional_values": EXTRA_V},
    ),
    (
        "additional_values", "(2, 2, 2, 5)", "(2, 3, 2, 5)",
        {"additional_keys": EXTRA_K, "additional_values": EXTRA_V[:, :2]},
    ),
    (
        "additional_values", "(2, 3, 2, 8)", "(2, 3, 2, 5)",
        {"additional_keys": EXTRA_K, "additional_values": EXTRA_K},
    ),
    ("mask", "(2, 60)", "(2, 6, 10)", {"mask": zeros(2, 60, dtype=bool)}),
    ("mask", "(6, 10)", "(2, 6, 10)", {"mask": zeros(6, 10, dtype=bool)}),
    ("mask", "(2, 6, 10, 4)", "(2, 6, 10)", {"mask": zeros(2, 6, 10, 4, dtype=bool)}),
    ("bias", "(4, 3, 3)", "(4, 5, 5)", {"bias": zeros(4, 3, 3)}),
    ("bias", "(2, 5, 5)", "(4, 5, 5)", {"bias": zeros(2, 5, 5)}),
    ("bias", "(4, 5)", "(heads,", {"bias": zeros(4, 5)}),
    ("bias", "(4, 5, 9)", "(4, 5, 5)", {"bias": zeros(4, 5, 9)}),
    ("implementation", "'natten'", "'xla'", {"implementation": "natten"}),
    ("implementation", "''", "'xla'", {"implementation": ""}),
    ("implementation", "1", "'xla'", {"implementation": 1}),
]  # fmt: skip

WRONG_KIND = [
    ("q", {"q": [[1.0]]}),
    ("q", {"q": None}),
    ("q", {"q": zeros(2, 6, 10, 4, 8, dtype=jnp.int32)}),
    ("q", {"q": zeros(2, 6, 10, 4, 8, dtype=jnp.complex64)}),
    ("q", {"q": zeros(2, 6, 10, 4, 8, dtype=jnp.float8_e4m3fn)}),
    ("k", {"k": 1.0}),
    ("k", {"k": K.astype(jnp.bfloat16)}),
    ("v", {"v": V.astype(jnp.float16)}),
    ("v", {"v": V.astype(bool)}),
    (
        "additional_keys",
        {"additional_keys": EXTRA_K.astype(jnp.bfloat16), "additional_values": EXTRA_V},
    ),
    ("additional_values", {"additional_keys": EXTRA_K, "additional_values": "none"}),
    ("mask", {"mask": zeros(2, 6, 10)}),
    ("mask", {"mask": zeros(2, 6, 10, dtype=jnp.int8)}),
    ("mask", {"mask": True}),
    ("bias", {"bias": 0.0}),
    ("bias", {"bias": zeros(4, 5, 5, dtype=jnp.int32)}),
    ("return_lse", {"return_lse": 1}),
    ("return_lse", {"return_lse": None}),
]


@pytest.mark.parametrize(("name", "value", "accepted", "wrong"), BAD)
def test_neighborhood_attention(name, value, accepted, wrong):
    with pytest.raises(ValueError, match=rf"^{name}\b") as raised:
        neighborhood_attention(**{"q": Q, "k": K, "v": V, "window": 3, **wrong})
    message = str(raised.value)
    assert value in message, message
    assert accepted in message, message


@pytest.mark.parametrize(("name", "wrong"), WRONG_KIND)
def test_what_is_no_array_or_of_another_dtype(name, wrong):
    with pytest.raises(TypeError, match=rf"^{name}\b") as raised:
        neighborhood_attention(**{"q": Q, "k": K, "v": V, "window": 3, **wrong})
    assert len(str(raised.value)) > len(name) + 10


def test_there_are_enough_and_the_good_call_is_good():
    assert len(BAD) >= 50
    out = jax.eval_shape(lambda: neighborhood_attention(Q, K, V, window=3))
    assert out.shape == (2, 6, 10, 4, 5)


def test_named_constraints_of_one_and_three_axes():
    """The message says which axis it speaks of."""
    line, cube = zeros(1, 7, 2, 4), zeros(1, 7, 5, 6, 2, 4)
    for array, options, axis in (
        (line, {"window": 8}, 0),
        (line, {"window": 3, "dilation": 3}, 0),
        (cube, {"window": (3, 6, 3)}, 1),
        (cube, {"window": (3, 3, 4), "dilation": (1, 1, 2)}, 2),
        (cube, {"window": 3, "stride": (1, 2, 4)}, 2),
    ):
        with pytest.raises(ValueError, match=rf"axis {axis}\b"):
            neighborhood_attention(array, array, array, **options)


def test_a_bias_wider_than_what_is_computed_in():
    with jax.enable_x64(True):
        bias = jnp.zeros((4, 5, 5), jnp.float64)
        with pytest.raises(TypeError, match=r"^bias has dtype float64; accepted: .*float32"):
            neighborhood_attention(Q, K, V, window=3, bias=bias)


OUT, LSE = zeros(2, 7, 3), zeros(2, 7)


@pytest.mark.parametrize(
    ("error", "start", "outputs", "lses"),
    [
        (ValueError, "outputs has 0", [], []),
        (ValueError, "outputs has 2 .* 1", [OUT, OUT], [LSE]),
        (ValueError, r"outputs\[1\] has shape", [OUT, OUT[:, :6]], [LSE, LSE[:, :6]]),
        (ValueError, r"outputs\[1\] has shape", [OUT, OUT[..., :2]], [LSE, LSE]),
        (ValueError, r"lses\[0\] has shape", [OUT], [OUT]),
        (ValueError, r"lses\[1\] has shape", [OUT, OUT], [LSE, LSE[0]]),
        (ValueError, r"outputs\[0\] has shape", [zeros()], [zeros()]),
        (TypeError, "outputs must be", OUT, [LSE]),
        (TypeError, "lses must be", [OUT], LSE),
        (TypeError, r"outputs\[0\] has dtype", [OUT.astype(jnp.int32)], [LSE]),
        (TypeError, r"lses\[0\]", [OUT], [1.0]),
    ],
)
def test_merge_attentions(error, start, outputs, lses):
    with pytest.raises(error, match=rf"^{start}"):
        merge_attentions(outputs, lses)
