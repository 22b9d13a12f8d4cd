"""S4D taps: a diagonal state space, as a filter and as the recurrence that it is.

    x[l] = Abar x[l-1] + Bbar u[l],    y[l] = 2 Re sum_n C_n x_n[l],
    k[l] = 2 Re sum_n C_n Bbar_n Abar_n^l

Discretisation, step dt for each channel: ZOH Abar = exp(dt A), Bbar = (exp(dt A) - 1) / A; bilinear
Abar = (1 + dt A / 2) / (1 - dt A / 2), Bbar = dt / (1 - dt A / 2). B is 1, C is complex normal.

Gu et al. (2022), "On the Parameterization and Initialization of Diagonal State Space Models".

The taps are sums over states of powers of a complex number. A table of L powers for each channel
and state would be N times the size of the result; powers of a product of two tables of sqrt(L),
Abar^(a R + b) = (Abar^R)^a Abar^b, make the sum one matrix product for each channel instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from farwide.validate import at_least, one_of
from theory import taps as tap_moments

INITS = ("lin", "inv", "legs", "real")


@dataclass(frozen=True)
class S4D:
    """Settings of the S4D filter.

    Attributes:
      states: N of the paper: real dimensions of the state, so N / 2 complex numbers (init "real":
        N real ones).
      init: of A, "lin", "inv", "legs" or "real".
      discretisation: "zoh" or "bilinear".
      dt_min, dt_max: range of the step, drawn log-uniformly for each channel.
    """

    states: int = 64
    init: Literal["lin", "inv", "legs", "real"] = "lin"
    discretisation: Literal["zoh", "bilinear"] = "zoh"
    dt_min: float = 1e-3
    dt_max: float = 1e-1

    def __post_init__(self) -> None:
        at_least(1, states=self.states)
        one_of(INITS, init=self.init)
        one_of(("zoh", "bilinear"), discretisation=self.discretisation)
        if self.init != "real" and self.states % 2:
            raise ValueError(f"states is {self.states}; accepted is an even number with conjugates")
        if not 0 < self.dt_min <= self.dt_max:
            raise ValueError(
                f"dt_min is {self.dt_min}; accepted is 0 < dt_min <= dt_max = {self.dt_max}"
            )

    def moments(self, channels: int, length: int) -> tap_moments.Moments:
        """Second moments of the taps at initialisation, over the steps of infinitely many channels.

        `theory.taps.s4d` has the formulas.

        Raises:
          ValueError: channels is no positive integer, or what `theory.taps.s4d` raises.
        """
        at_least(1, channels=channels)
        return tap_moments.s4d(
            length,
            states=self.states,
            init=self.init,
            discretisation=self.discretisation,
            dt_min=self.dt_min,
            dt_max=self.dt_max,
        )


def initial_poles(init: str, states: int) -> np.ndarray:
    """A of the paper, complex128: (states / 2,), one of each conjugate pair; (states,) for "real".

    lin: -1/2 + i pi n. inv: -1/2 + i (N / pi) (N / (2n + 1) - 1). real: -(n + 1).
    legs: the eigenvalues of the normal part of HiPPO-LegS, -1/2 I + S with S skew-symmetric,
    S_nk = -sqrt((2n + 1)(2k + 1)) / 2 for n > k.
    """
    one_of(INITS, init=init)
    if init == "real":
        return -(np.arange(states) + 1.0).astype(np.complex128)
    n = np.arange(states // 2)
    if init == "lin":
        return -0.5 + 1j * np.pi * n
    if init == "inv":
        return -0.5 + 1j * states / np.pi * (states / (2 * n + 1) - 1)
    root = np.sqrt(2 * np.arange(states) + 1.0)
    lower = np.tril(np.outer(root, root) / 2, -1)
    frequencies = np.linalg.eigvalsh(1j * (lower - lower.T))  # of -i S, in increasing order
    return -0.5 + 1j * frequencies[states // 2 :]


class Recurrence(NamedTuple):
    """A diagonal state space in discrete time, for each channel.

    Attributes:
      log_decay: log Abar, (channels, states) complex.
      weight: 2 C Bbar, the same shape.
    """

    log_decay: Complex[Array, "channels states"]
    weight: Complex[Array, "channels states"]

    def start(self, batch: int) -> Complex[Array, "batch channels states"]:
        """The state before the first input."""
        return jnp.zeros((batch, *self.weight.shape), self.weight.dtype)

    def step(
        self, state: Complex[Array, "batch channels states"], u: Float[Array, "batch channels"]
    ) -> tuple[Complex[Array, "batch channels states"], Float[Array, "batch channels"]]:
        """(next state, y): x = Abar x + u, y = Re sum_n weight_n x_n."""
        state = jnp.exp(self.log_decay) * state + u[..., None]
        return state, (self.weight * state).real.sum(-1)

    def taps(self, length: int) -> Float[Array, "channels length"]:
        """k[l] = Re sum_n weight_n Abar_n^l for l < length."""
        fine = math.isqrt(max(length - 1, 0)) + 1
        coarse = -(-length // fine)
        steps = jnp.arange(coarse, dtype=jnp.float32)[:, None] * fine
        # (channels, coarse, states) and (channels, states, fine)
        far = self.weight[:, None] * jnp.exp(self.log_decay[:, None] * steps)
        near = jnp.exp(self.log_decay[:, :, None] * jnp.arange(fine, dtype=jnp.float32))
        left = jnp.concatenate([far.real, -far.imag], axis=-1)
        right = jnp.concatenate([near.real, near.imag], axis=-2)
        product = jnp.einsum("can,cnb->cab", left, right, precision="highest")
        return product.reshape(len(self.weight), -1)[:, :length]


def discretise(
    poles: Complex[Array, "channels states"],
    c: Complex[Array, "channels states"],
    dt: Float[Array, "channels"],
    how: str,
) -> Recurrence:
    """The recurrence of x' = A x + u, y = 2 Re C x at steps of dt, "zoh" or "bilinear"."""
    scaled = poles * dt[:, None]
    if how == "zoh":
        log_decay, gain = scaled, jnp.expm1(scaled) / poles
    else:
        log_decay = jnp.log1p(scaled / 2) - jnp.log1p(-scaled / 2)
        gain = dt[:, None] / (1 - scaled / 2)
    return Recurrence(log_decay, 2 * c * gain)


class S4DFilter(nn.Module):
    """S4D taps, (channels, length), and their recurrence (`recurrence()`).

    Parameters: log_dt (channels,), log_negative_real and (but for init "real") imag of A (channels,
    states), c (channels, states, 2) real and imaginary part.
    """

    channels: int
    length: int
    config: S4D = S4D()

    def setup(self) -> None:
        config = self.config
        poles = initial_poles(config.init, config.states)
        shape = (self.channels, len(poles))

        def log_uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            low, high = math.log(config.dt_min), math.log(config.dt_max)
            return jax.random.uniform(key, shape, minval=low, maxval=high)

        def constant(values: np.ndarray):
            return lambda key: jnp.broadcast_to(jnp.asarray(values, jnp.float32), shape)

        self.log_dt = self.param("log_dt", log_uniform, (self.channels,))
        self.log_negative_real = self.param("log_negative_real", constant(np.log(-np.real(poles))))
        self.imag = None if config.init == "real" else self.param("imag", constant(np.imag(poles)))
        # C ~ CN(0, 1): real and imaginary part of variance 1/2
        self.c = self.param("c", nn.initializers.normal(0.5**0.5), (*shape, 2))

    def recurrence(self) -> Recurrence:
        """The state space in discrete time that the taps are the impulse response of."""
        real = -jnp.exp(self.log_negative_real)
        poles = jax.lax.complex(real, jnp.zeros_like(real) if self.imag is None else self.imag)
        c = jax.lax.complex(self.c[..., 0], self.c[..., 1])
        return discretise(poles, c, jnp.exp(self.log_dt), self.config.discretisation)

    def __call__(self, deterministic: bool = True) -> Float[Array, "channels length"]:
        del deterministic  # nothing here is random
        return self.recurrence().taps(self.length)
