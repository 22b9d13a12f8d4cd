"""Pathfinder: labels are what the pixels say, paths are as defined, and nothing simpler tells."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from farwide.data import Geometry, pathfinder
from farwide.data.paths import BLOCKS, GEOMETRIES
from farwide.data.snakes import grow_scenes
from tests.data.orders import check_order, check_streams

# Dashes so thick that those of a path touch, while paths stay apart.
TOUCHING = Geometry(128, 6, 4, 2, 4, 20, 1.0, 4, 20)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setitem(BLOCKS, 32, 32)
    monkeypatch.setitem(BLOCKS, 128, 32)


def disc(radius: float) -> np.ndarray:
    y, x = np.mgrid[-4:5, -4:5]
    return x * x + y * y <= radius * radius


@pytest.mark.usefixtures("small_blocks")
def test_labels_are_what_connected_pixels_say():
    task = pathfinder(size=128, contour=6, geometry=TOUCHING, test_examples=64)
    for image, label in zip(task.test.inputs[..., 0] > 0, task.test.targets, strict=True):
        part, _ = ndimage.label(image, np.ones((3, 3)))
        dots, count = ndimage.label(ndimage.binary_erosion(image, disc(3)))
        assert count == 2
        ends = {int(part[dots == i].max()) for i in (1, 2)}
        assert len(ends) == 2 - label


def between(a: np.ndarray, b: np.ndarray) -> float:
    """Least distance of two dashes given by points along them."""
    return float(np.linalg.norm(a[:, None] - b[None], axis=-1).min())


@pytest.mark.parametrize("size", [32, 128])
def test_paths_are_as_defined(size):
    g, contour = GEOMETRIES[size], 6
    scenes = grow_scenes(np.random.default_rng(0), g, contour, 8)
    steps = np.linspace(-g.dash / 2, g.dash / 2, 9)[:, None]
    assert len(scenes.first) >= 4
    assert scenes.dashes.drawn.mean() > 0.9
    for centre, way, drawn, first, last in zip(
        *scenes.dashes, scenes.first, scenes.last, strict=True
    ):
        np.testing.assert_allclose(np.linalg.norm(way, axis=1)[drawn], 1)
        points = centre[:, None] + way[:, None] * steps
        assert points[drawn].min() >= g.padding
        assert points[drawn].max() <= size - 1 - g.padding
        groups = [list(range(p, 2 * contour, 2)) for p in range(2)]
        groups += [list(range(i, i + 2)) for i in range(2 * contour, len(centre), 2)]
        follows = {(a, b) for group in groups for a, b in pairwise(group)}
        for a, b in follows:
            if drawn[a]:
                gap = (points[b, 0] - way[b] * g.margin) - (points[a, -1] + way[a] * g.margin)
                np.testing.assert_allclose(gap, 0, atol=1e-9)  # they meet in a pivot
                turn = np.arccos(np.clip(way[a] @ way[b], -1, 1))
                assert turn <= np.pi / (2 * g.continuity) + 1e-6
        for path in range(2):
            np.testing.assert_allclose(first[path], points[groups[path][0], 0])
            np.testing.assert_allclose(last[path], points[groups[path][-1], -1])
        np.testing.assert_allclose(
            np.linalg.norm(first[0] - way[0] * g.margin - first[1] + way[1] * g.margin), g.seeds
        )
        for a in np.flatnonzero(drawn):
            for b in np.flatnonzero(drawn)[: np.searchsorted(np.flatnonzero(drawn), a)]:
                if (b, a) not in follows:
                    assert between(points[a], points[b]) > g.clearance - 1.2  # nearest pixels


def simple_statistics(images: np.ndarray) -> np.ndarray:
    """Of (N, 32, 32) images: light, lit pixels, and where the dots are and how far apart."""
    dots = (images > 0.99).astype(float)
    y, x = np.mgrid[:32, :32]
    total = dots.sum(axis=(1, 2))
    my, mx = ((dots * c).sum(axis=(1, 2)) / total for c in (y, x))
    vy, vx = ((dots * c**2).sum(axis=(1, 2)) / total for c in (y, x))
    spread = np.sqrt(vy - my**2 + vx - mx**2)  # half of the dots' distance, nearly
    columns = [
        images.mean(axis=(1, 2)), (images > -1).mean(axis=(1, 2)), (images > 0).mean(axis=(1, 2)),
        spread, spread**2, spread**3, np.hypot(my - 15.5, mx - 15.5), my, mx,
    ]  # fmt: skip
    return np.stack(columns, axis=1)


def accuracy_of_statistics(images: np.ndarray, labels: np.ndarray) -> float:
    """Of a linear classifier of them, fitted on one half and tested on the other."""
    x = simple_statistics(images)
    x = np.column_stack([(x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9), np.ones(len(x))])
    half = len(x) // 2
    w = np.linalg.lstsq(x[:half], 2.0 * labels[:half] - 1, rcond=None)[0]
    return float(((x[half:] @ w > 0) == labels[half:]).mean())


@pytest.mark.parametrize(
    ("contour", "count"),
    [(6, 1024), pytest.param(14, 6144, marks=pytest.mark.slow)],
)
def test_simple_statistics_do_not_tell_the_classes(contour, count):
    batch = pathfinder(contour=contour, test_examples=1).train(0, count)
    assert batch.targets.mean() == 0.5
    assert accuracy_of_statistics(batch.inputs[..., 0], batch.targets) <= 0.55


def test_the_statistics_would_find_a_distance():
    """The test above can fail: images of which class 1 has its dots nearer are told apart."""
    rng = np.random.default_rng(0)
    images, labels = np.full((400, 32, 32), -1.0), rng.integers(0, 2, 400)
    for image, label in zip(images, labels, strict=True):
        a = rng.integers(8, 16, 2)
        image[tuple(a)] = image[tuple(a + 4 + 4 * label)] = 1
    assert accuracy_of_statistics(images, labels) > 0.95


@pytest.mark.usefixtures("small_blocks")
def test_orders():
    quick = partial(pathfinder, contour=3, geometry=GEOMETRIES[32]._replace(distractors=2))
    check_order(lambda seed: quick(seed=seed, test_examples=4), batch=5, start=25)
    check_streams(quick(test_examples=64), 96)
    pixels, image = quick(sequence=True, test_examples=4), quick(test_examples=4)
    assert pixels.input_shape == (1024, 1)
    np.testing.assert_array_equal(pixels.test.inputs.reshape(4, 32, 32, 1), image.test.inputs)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 48}, "size is 48; accepted is one of 32, 64, 128, 256"),
        ({"contour": 1}, "contour is 1"),
        ({"contour": 91}, "contour is 91"),
        ({"geometry": TOUCHING}, r"geometry.size is 128; accepted is the size of the image, 32"),
        ({"geometry": GEOMETRIES[32]._replace(dash=0)}, r"geometry.dash is 0"),
        ({"geometry": GEOMETRIES[32]._replace(seeds=9)}, r"geometry.seeds is 9"),
    ],
)
def test_bad_values_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        pathfinder(**arguments)


@pytest.mark.usefixtures("small_blocks")
def test_paths_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr("farwide.data.paths.TRIALS", 1)
    with pytest.raises(ValueError, match=r"gave 0 images with contour=60 in size=32: paths that"):
        pathfinder(contour=60)
