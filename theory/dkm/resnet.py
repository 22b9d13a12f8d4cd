"""A convolutional deep kernel machine in the shape of a ResNet, at any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from theory import stax
from theory.dkm.gram_layer import Skr, gram
from theory.dkm.jitter import DEFAULT, Jitter
from theory.dkm.kernel_layer import kernel as kernel_layer
from theory.dkm.layer import Layer, identity, residual, serial
from theory.dkm.mixup import mixup
from theory.dkm.norm import norm
from theory.dkm.output import output
from theory.dkm.patches import patches
from theory.dkm.pooling import global_pool

REGULARISED = Skr()


def resnet(
    outputs: int,
    *,
    counts: Sequence[int] = (64, 128, 256),
    blocks: int | Sequence[int] = 1,
    nu: float = 1.0,
    kernel: str | stax.Layer = "normalized_gaussian",
    first_size: int = 3,
    first_stride: int = 1,
    inducing: Any = None,
    kl: Any = "taylor",
    skr: Skr | None = REGULARISED,
    jitter: float | tuple[float, float] | Jitter = DEFAULT,
    norms: tuple[Any, Any] = ("global", "global"),
    parametrisation: Any = "absolute",
) -> Layer:
    """Patches, stages of residual blocks, global pooling and an output layer.

    A block is two times (kernel, mixup, Gram layer, norm) beside a skip; each stage but the first
    begins by halving both sides, with a kernel, a strided mixup, a Gram layer and a norm for its
    skip. The convolution mixup's features are Gaussian, so a Gram layer follows each.

    Args:
      outputs: C.
      counts: inducing points of each stage.
      blocks: residual blocks of each stage, a number or one per stage.
      nu: of every Gram layer; inf is the NNGP.
      kernel: of every block.
      first_size, first_stride: side and stride of the patches.
      inducing: where the inducing patches start, as `dkm.patches`.
      kl: "taylor" or "exact".
      skr: stochastic kernel regularisation, or None.
      jitter: of every layer that solves.
      norms: arguments of `dkm.norm`.
      parametrisation: of the Gram layers.

    Raises:
      ValueError: no stages, or another number of blocks than of stages.

    Reference: Milsom, Anson, Aitchison 2024, Convolutional deep kernel machines.
    """
    each = [blocks] * len(counts) if isinstance(blocks, int) else list(blocks)
    if not counts or len(each) != len(counts) or min(each) < 0:
        raise ValueError(
            f"counts must name at least one stage and blocks one number >= 0 per stage, "
            f"got counts={tuple(counts)} and blocks={tuple(each)}"
        )

    def settle() -> tuple[Layer, Layer]:
        made = gram(nu, kl=kl, skr=skr, jitter=jitter, parametrisation=parametrisation)
        return made, norm(*norms)

    def convolution(count: int, stride: int = 1) -> tuple[Layer, ...]:
        return kernel_layer(kernel), mixup(count, stride=stride), *settle()

    first = patches(counts[0], first_size, stride=first_stride, inducing=inducing)
    layers = [first, norm(*norms), kernel_layer(kernel), *settle()]
    for stage, (count, n) in enumerate(zip(counts, each, strict=True)):
        if stage:
            down = serial(*convolution(count, 2))
            if n == 0:
                layers.append(down)
        for i in range(n):
            halve = stage > 0 and i == 0
            body = serial(*convolution(count, 2 if halve else 1), *convolution(count))
            layers.append(residual(down if halve else identity(), body))
    layers += [kernel_layer(kernel), global_pool(jitter=jitter), *settle()]
    return serial(*layers, kernel_layer(kernel), output(outputs, jitter=jitter))
