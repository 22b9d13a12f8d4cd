"""Pathfinder: are the two dots the ends of one dashed path?"""

from __future__ import annotations

import numpy as np

from farwide.data.batching import generated
from farwide.data.snakes import Geometry, Scenes, grow_scenes, near
from farwide.data.task import Batch, Task
from farwide.validate import at_least

BLOCKS = {32: 512}  # examples made at once, half of each class; of other sizes, 128
TRIALS = 20  # scenes begun for an image after which paths are taken to be too long

# Of the Long Range Arena's images, by their size.
GEOMETRIES = {
    32: Geometry(32, 2, 0.5, 1, 1.5, 7, 1.0, 1, 20),
    64: Geometry(64, 5, 1, 1, 2.5, 12, 1.8, 1, 22),
    128: Geometry(128, 5, 1.5, 2.5, 3, 20, 1.8, 1, 35),
    256: Geometry(256, 5, 2, 3, 5, 27, 1.8, 22, 30),
}


def pathfinder(
    *,
    size: int = 32,
    contour: int = 14,
    sequence: bool = False,
    geometry: Geometry | None = None,
    seed: int = 0,
    test_examples: int = 1000,
) -> Task:
    """Pathfinder: two dots lie at the ends of one dashed path (1) or of two (0).

    Every image has two paths of `contour` dashes and shorter ones as distractors; a dot lies where
    one of the long paths begins, another where the same or the other ends. Images of both classes
    come from one distribution, and within a block each image has a partner of the other class whose
    dots are as far apart, to a pixel in 32, so that their distance says nothing.

    Args:
      size: of the square image, in pixels: 32, 64, 128 or 256, or that of the geometry.
      contour: dashes of a long path: 6, 9 and 14 are the easy, intermediate and hard sets.
      sequence: pixels row by row, (size^2, 1), instead of an image (size, size, 1).
      geometry: lengths of dashes, margins and so on; None takes the published ones of the size.
      seed: of training and test examples.
      test_examples: how many.

    Returns:
      A Task with inputs in [-1, 1], -1 the background, and targets (batch,), 2 classes.

    Raises:
      ValueError: an argument is out of range; paths of such a length hardly fit into the image.

    References:
      Linsley et al. 2018, Learning long-range spatial dependencies with horizontal gated recurrent
      units, section 3; Tay et al. 2020, Long Range Arena, section 2.2.5.
    """
    at_least(2, contour=contour)
    at_least(1, test_examples=test_examples)
    if contour > 90:
        raise ValueError(f"contour is {contour}; accepted is at most 90")
    if geometry is None and size not in GEOMETRIES:
        raise ValueError(
            f"size is {size}; accepted is one of {', '.join(map(str, GEOMETRIES))}, "
            "or give a geometry"
        )
    g = GEOMETRIES[size] if geometry is None else geometry
    _check(g, size)

    def make(rng: np.random.Generator, count: int) -> Batch:
        images, labels = _matched(rng, g, contour, count)
        inputs = 2 * images[..., None] - 1
        if sequence:
            inputs = inputs.reshape(count, -1, 1)
        return Batch(inputs, labels, np.ones(count, np.float32))

    block = BLOCKS.get(size, 128)
    train, test = generated(make, seed, block)
    shape = (size * size, 1) if sequence else (size, size, 1)
    facts = {
        "task": "pathfinder", "contour": contour, "sequence": sequence, **g._asdict(),
        "seed": seed, "block": block,
    }  # fmt: skip
    return Task(f"pathfinder-{size}", shape, None, 2, train, test(test_examples), facts)


def _check(g: Geometry, size: int) -> None:
    if g.size != size:
        raise ValueError(f"geometry.size is {g.size}; accepted is the size of the image, {size}")
    for name in ("dash", "thickness", "margin", "radius", "seeds", "continuity"):
        if not getattr(g, name) > 0:
            raise ValueError(f"geometry.{name} is {getattr(g, name)}; accepted is a number > 0")
    if 4 * g.seeds > size - 1:
        raise ValueError(
            f"geometry.seeds is {g.seeds}; accepted is at most a quarter of size - 1, "
            f"{(size - 1) / 4}"
        )


def _matched(
    rng: np.random.Generator, g: Geometry, contour: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """(count, size, size) images in [0, 1] and (count,) labels, paired by the dots' distance.

    Scenes get a label at random. In each interval of the distance as many of either class are kept
    as the rarer has; what is left over waits for partners in the next round.
    """
    kept: list[tuple[np.ndarray, int]] = []
    waiting: dict[tuple[int, int], list[np.ndarray]] = {}  # by class and distance
    begun = 0
    while len(kept) < count:
        attempts = count // 2 if begun else 3 * count // 2  # few are left out, or without partner
        scenes = grow_scenes(rng, g, contour, attempts)
        begun += attempts
        if begun >= TRIALS * count and len(kept) < count / 8:
            raise ValueError(
                f"{begun} attempts gave {len(kept)} images with contour={contour} in size={g.size}:"
                " paths that long do not fit; give a shorter contour, or another geometry"
            )
        total = len(scenes.first)
        rows, path = np.arange(total), rng.integers(0, 2, total)
        label = rng.integers(0, 2, total)
        dots = np.stack([scenes.first[rows, path], scenes.last[rows, path ^ (1 - label)]], axis=1)
        distance = np.linalg.norm(dots[:, 0] - dots[:, 1], axis=1) * 32 / g.size
        images = _draw(g, scenes, dots)
        for image, mine, d in zip(images, label.tolist(), distance.astype(int), strict=True):
            partners = waiting.setdefault((1 - mine, int(d)), [])
            if partners:
                kept += [(image, mine), (partners.pop(0), 1 - mine)]
            else:
                waiting.setdefault((mine, int(d)), []).append(image)
    order = rng.permutation(count)
    return (
        np.stack([image for image, _ in kept[:count]])[order],
        np.array([label for _, label in kept[:count]], np.int32)[order],
    )


def _draw(g: Geometry, scenes: Scenes, dots: np.ndarray) -> np.ndarray:
    """(images, size, size) float32: dashes and dots, brightest where they cross, smooth at edges.

    A pixel is lit by how far its centre lies inside of the line: half the thickness, plus one
    half, minus its distance from the centre line, between 0 and 1.
    """
    reach = int(np.ceil(g.dash / 2 + g.thickness / 2)) + 2
    frame = max(reach, int(np.ceil(g.radius)) + 2)
    total = len(dots)
    canvas = np.zeros((total, g.size + 2 * frame, g.size + 2 * frame), np.float32)

    def stamp(index: np.ndarray, centre: np.ndarray, way: np.ndarray, dash: float, half: float):
        side = reach if dash else frame
        image, row, column, distance = near(centre, way, dash, side)
        light = np.clip(half + 0.5 - distance, 0, 1).astype(np.float32)
        place = index[image], row + frame, column + frame
        canvas[place] = np.maximum(canvas[place], light)

    for i in range(scenes.dashes.centre.shape[1]):
        there = np.flatnonzero(scenes.dashes.drawn[:, i])
        centre, way = scenes.dashes.centre[there, i], scenes.dashes.direction[there, i]
        stamp(there, centre, way, g.dash, g.thickness / 2)
    everywhere = np.arange(total)
    for i in range(2):
        stamp(everywhere, dots[:, i], np.zeros((total, 2)), 0, g.radius)
    return canvas[:, frame:-frame, frame:-frame]
