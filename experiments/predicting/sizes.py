"""How much `experiments.predict_scaling` computes: its presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from experiments.predicting.regression import Descent
from experiments.predicting.sets import SETS

EVERY_OPERATOR = ("mlp", "cnn", "long_conv", "s4d", "neighborhood", "attention")


class Part(NamedTuple):
    """Sizes of a data set's parts.

    Attributes:
      points: M of the spectrum.
      test: test examples.
      n: training examples, ascending; the pool is `draws` times the last.
    """

    points: int
    test: int
    n: tuple[int, ...]


@dataclass(frozen=True)
class Size:
    """How much is computed.

    Attributes:
      operators, data: the pairs, where no others are asked for.
      parts: data set -> sizes.
      draws: disjoint training sets of kernel regression.
      splits: choices of points, pool and test that are predicted and measured; networks are
        trained on the first.
      seeds: of networks; trained on the first of the draws.
      widths, trained_on: of networks, and their training examples.
      depth: blocks.
      descent: how networks are trained.
      ridge: times the mean variance, of the prediction and the regression.
    """

    operators: tuple[str, ...]
    data: tuple[str, ...]
    parts: dict[str, Part]
    seeds: int
    widths: tuple[int, ...]
    trained_on: tuple[int, ...]
    descent: Descent
    draws: int = 5
    splits: int = 1
    depth: int = 2
    ridge: float = 0.0


CPU = {
    "digits": Part(700, 457, (16, 32, 64, 128)),
    "fashion-mnist": Part(1536, 512, (16, 32, 64, 128, 256)),
    "mnist-1d": Part(1536, 512, (16, 32, 64, 128, 256)),
    "line-digits": Part(1536, 512, (16, 32, 64, 128, 256)),
}
TESTED = ("digits", "fashion-mnist", "mnist-1d")
SMALL = {name: Part(80, 64, (8, 16, 32)) for name in SETS}
PRESETS = {
    "smoke": Size(("cnn",), ("digits",), SMALL, 2, (4, 8), (8, 16), Descent(40), draws=3, depth=1),
    "demo": Size(("long_conv",), ("digits",), CPU, 3, (16, 32, 64), (32, 64, 128), Descent(800)),
    "cpu": Size(
        EVERY_OPERATOR, TESTED, CPU, 5, (16, 32, 64), (32, 64, 128), Descent(800), splits=3
    ),
}
