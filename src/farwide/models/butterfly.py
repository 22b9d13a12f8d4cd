"""FlashButterfly: a long convolution whose Fourier transform is learned.

The transform of n = r_1 r_2 ... r_m points is a product of m stages, each a small matrix F_j of
r_j x r_j that acts on one axis, then fixed twiddle factors:

    y[k1, n2] = exp(-2 pi i k1 n2 / n) sum_{n1} F_1[k1, n1] x[n1 n / r_1 + n2],   and so on for n2.

The frequencies come out permuted, which a product of two spectra does not mind, and the inverse
runs the stages backward with matrices of its own. All matrices are parameters and start as the
discrete Fourier transform, so the first forward pass is the exact convolution. Once they have
learned, the operator is no convolution any more and may look anywhere: it has no causal form.

Fu et al. 2023, "Simple Hardware-Efficient Long Convolutions for Sequence Modeling", section 4
(learned Monarch matrices).
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

RADICES = (16, 8, 4, 2)


def radices(points: int) -> tuple[int, ...]:
    """The stages for at least `points` points: 16s, then one smaller power of two."""
    left = max(1, math.ceil(math.log2(points)))
    stages = [16] * (left // 4)
    return (*stages, 2 ** (left % 4)) if left % 4 else tuple(stages)


class LearnedTransform(nn.Module):
    """A transform of the last axis and its inverse, by learned stages.

    Parameters: forward_j and inverse_j, (2, r_j, r_j): real and imaginary parts.
    """

    stages: tuple[int, ...]

    def setup(self) -> None:
        if not self.stages or any(stage not in RADICES for stage in self.stages):
            raise ValueError(f"stages is {self.stages}; accepted are factors among {RADICES}")

        def exact(sign: int, radix: int):
            turns = np.outer(np.arange(radix), np.arange(radix)) / radix
            matrix = np.exp(sign * 2j * np.pi * turns) / (1 if sign < 0 else radix)
            both = np.stack([matrix.real, matrix.imag]).astype(np.float32)
            return lambda key: jnp.asarray(both)

        self.matrices = [
            self.param(f"forward_{j}", exact(-1, r)) for j, r in enumerate(self.stages)
        ]
        self.inverses = [self.param(f"inverse_{j}", exact(1, r)) for j, r in enumerate(self.stages)]

    @property
    def points(self) -> int:
        """n, the product of the stages."""
        return math.prod(self.stages)

    def _twiddles(self, j: int) -> np.ndarray:
        radix, rest = self.stages[j], math.prod(self.stages[j + 1 :])
        turns = np.outer(np.arange(radix), np.arange(rest)) / (radix * rest)
        return np.exp(-2j * np.pi * turns).astype(np.complex64)

    def __call__(self, x: Float[Array, "*rows points"]) -> Complex[Array, "*rows points"]:
        z = x.astype(jnp.complex64)
        for j, (radix, matrix) in enumerate(zip(self.stages, self.matrices, strict=True)):
            rest = math.prod(self.stages[j + 1 :])
            z = z.reshape(*x.shape[:-1], -1, radix, rest)
            z = jnp.einsum("kn,...ns->...ks", jax.lax.complex(*matrix), z, precision="highest")
            z = z * self._twiddles(j)
        return z.reshape(x.shape)

    def inverse(self, z: Complex[Array, "*rows points"]) -> Float[Array, "*rows points"]:
        """The real part of the inverse stages."""
        shape = z.shape
        for j in reversed(range(len(self.stages))):
            rest = math.prod(self.stages[j + 1 :])
            z = z.reshape(*shape[:-1], -1, self.stages[j], rest) * self._twiddles(j).conj()
            matrix = jax.lax.complex(*self.inverses[j])
            z = jnp.einsum("nk,...ks->...ns", matrix, z, precision="highest")
        return z.reshape(shape).real


class ButterflyConv(nn.Module):
    """Convolution of (batch, length, channels) with taps of both sides, by a learned transform."""

    length: int

    def setup(self) -> None:
        self.transform = LearnedTransform(radices(2 * self.length))

    def __call__(
        self,
        x: Float[Array, "batch length channels"],
        taps: Float[Array, "channels length"],
        future: Float[Array, "channels length"],
    ) -> Float[Array, "batch length channels"]:
        points = self.transform.points
        both = jnp.zeros((taps.shape[0], points)).at[:, : self.length].set(taps)
        both = both.at[:, points - self.length :].add(future[:, ::-1])  # lag -s lies at points - s
        signal = jnp.pad(jnp.swapaxes(x, 1, 2), ((0, 0), (0, 0), (0, points - self.length)))
        y = self.transform.inverse(self.transform(signal) * self.transform(both))
        return jnp.swapaxes(y[..., : self.length], 1, 2)
