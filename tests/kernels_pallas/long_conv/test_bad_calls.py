"""Every wrong call raises ValueError or TypeError with a message that names the argument."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import long_conv, long_conv_spectrum

F32 = jnp.float32


def zeros(*shape, dtype=F32):
    return jnp.zeros(shape, dtype)


U, K = zeros(2, 3, 8), zeros(3, 8)
SPECTRUM = long_conv_spectrum(K, 8)
CIRCULAR = long_conv_spectrum(K, 8, mode="circular")

# name of the argument the message must start with, exception, arguments over the good call
BAD = [
    ("u", TypeError, {"u": [[1.0]]}),
    ("u", TypeError, {"u": 1.0}),
    ("u", TypeError, {"u": None}),
    ("u", TypeError, {"u": zeros(2, 3, 8, dtype=jnp.int32)}),
    ("u", TypeError, {"u": zeros(2, 3, 8, dtype=bool)}),
    ("u", TypeError, {"u": zeros(2, 3, 8, dtype=jnp.complex64)}),
    ("u", TypeError, {"u": zeros(2, 3, 8, dtype=jnp.float8_e4m3fn)}),
    ("u", TypeError, {"u": np.zeros((2, 3, 8), np.int64)}),
    ("u", TypeError, {"u": SPECTRUM}),
    ("u", ValueError, {"u": zeros(8)}),
    ("u", ValueError, {"u": zeros(3, 8)}),
    ("u", ValueError, {"u": zeros(1, 2, 3, 8)}),
    ("u", ValueError, {"u": zeros(2, 3, 0)}),
    ("u", ValueError, {"u": zeros(2, 0, 3), "layout": "BLC"}),
    ("k", TypeError, {"k": [1.0, 2.0]}),
    ("k", TypeError, {"k": None}),
    ("k", TypeError, {"k": zeros(3, 8, dtype=jnp.int32)}),
    ("k", TypeError, {"k": zeros(3, 8, dtype=jnp.complex64)}),
    ("k", ValueError, {"k": zeros(8)}),
    ("k", ValueError, {"k": zeros(1, 3, 8)}),
    ("k", ValueError, {"k": zeros(3, 0)}),
    ("k", ValueError, {"k": zeros(3, 9)}),
    ("k", ValueError, {"k": zeros(3, 9), "mode": "circular"}),
    ("k", ValueError, {"k": zeros(4, 8)}),
    ("k", ValueError, {"k": zeros(1, 8)}),
    ("k", ValueError, {"k": zeros(8, 3)}),
    ("k", ValueError, {"layout": "BLC"}),
    ("k_future", TypeError, {"k_future": 0.5}),
    ("k_future", TypeError, {"k_future": zeros(3, 2, dtype=jnp.int8)}),
    ("k_future", ValueError, {"k_future": zeros(3)}),
    ("k_future", ValueError, {"k_future": zeros(3, 0)}),
    ("k_future", ValueError, {"k_future": zeros(3, 9)}),
    ("k_future", ValueError, {"k_future": zeros(2, 8)}),
    ("k_future", ValueError, {"k_future": K, "mode": "circular"}),
    ("k_future", ValueError, {"k": SPECTRUM, "k_future": K}),
    ("skip", TypeError, {"skip": 1.0}),
    ("skip", TypeError, {"skip": zeros(3, dtype=jnp.int32)}),
    ("skip", ValueError, {"skip": zeros(2)}),
    ("skip", ValueError, {"skip": zeros(3, 1)}),
    ("skip", ValueError, {"skip": zeros()}),
    ("pre_gate", TypeError, {"pre_gate": 2.0}),
    ("pre_gate", TypeError, {"pre_gate": zeros(2, 3, 8, dtype=bool)}),
    ("pre_gate", ValueError, {"pre_gate": zeros(3, 8)}),
    ("pre_gate", ValueError, {"pre_gate": zeros(1, 3, 8)}),
    ("pre_gate", ValueError, {"pre_gate": zeros(2, 8, 3)}),
    ("post_gate", TypeError, {"post_gate": "gate"}),
    ("post_gate", TypeError, {"post_gate": zeros(2, 3, 8, dtype=jnp.uint8)}),
    ("post_gate", ValueError, {"post_gate": zeros(2, 3, 7)}),
    ("post_gate", ValueError, {"post_gate": zeros(2, 3, 1)}),
    ("mode", ValueError, {"mode": "same"}),
    ("mode", ValueError, {"mode": "CAUSAL"}),
    ("mode", ValueError, {"mode": None}),
    ("mode", ValueError, {"mode": True}),
    ("layout", ValueError, {"layout": "NCL"}),
    ("layout", ValueError, {"layout": "bcl"}),
    ("layout", ValueError, {"layout": 3}),
    ("implementation", ValueError, {"implementation": "cudnn"}),
    ("implementation", ValueError, {"implementation": ""}),
    ("implementation", ValueError, {"implementation": 1}),
    ("precision", ValueError, {"precision": "exact"}),
    ("precision", ValueError, {"precision": 32}),
    ("k", ValueError, {"k": CIRCULAR}),
    ("k", ValueError, {"k": SPECTRUM, "mode": "circular"}),
    ("k", ValueError, {"k": SPECTRUM, "u": zeros(2, 3, 7)}),
    ("k", ValueError, {"k": SPECTRUM, "u": zeros(2, 4, 8)}),
    ("k", ValueError, {"k": dataclasses.replace(SPECTRUM, values=SPECTRUM.values[:, :2])}),
]


@pytest.mark.parametrize(("name", "error", "wrong"), BAD)
def test_long_conv(name, error, wrong):
    with pytest.raises(error, match=rf"^{name}\b") as raised:
        long_conv(**{"u": U, "k": K, **wrong})
    assert len(str(raised.value)) > len(name) + 10


@pytest.mark.parametrize(
    ("name", "error", "wrong"),
    [
        ("length", TypeError, {"length": 8.0}),
        ("length", TypeError, {"length": True}),
        ("length", ValueError, {"length": 0}),
        ("length", ValueError, {"length": -1}),
        ("k", ValueError, {"length": 7}),
        ("k", TypeError, {"k": SPECTRUM}),
        ("k", TypeError, {"k": zeros(3, 8, dtype=jnp.int32)}),
        ("k", ValueError, {"k": zeros(3)}),
        ("mode", ValueError, {"mode": "valid"}),
        ("k_future", ValueError, {"k_future": K, "mode": "circular"}),
        ("k_future", ValueError, {"k_future": zeros(2, 8)}),
    ],
)
def test_long_conv_spectrum(name, error, wrong):
    with pytest.raises(error, match=rf"^{name}\b"):
        long_conv_spectrum(**{"k": K, "length": 8, **wrong})


@pytest.mark.parametrize("name", ["k", "k_future", "skip", "pre_gate", "post_gate"])
def test_a_wider_operand_would_lose_bits(name):
    good = {"u": U, "k": K, "k_future": K, "skip": zeros(3), "pre_gate": U, "post_gate": U}
    with jax.enable_x64(True):
        wide = jnp.asarray(np.zeros(good[name].shape), jnp.float64)
        with pytest.raises(TypeError, match=rf"^{name}\b.*float64"):
            long_conv(**{**good, name: wide})
        with pytest.raises(TypeError, match=r"^k\b.*float64"):
            long_conv(U, long_conv_spectrum(jnp.zeros((3, 8), jnp.float64), 8))


@pytest.mark.parametrize(
    "precision", [None, "default", "high", "highest", jax.lax.Precision.HIGHEST]
)
def test_accepted_precisions(precision):
    assert long_conv(U, K, precision=precision).shape == U.shape
