"""Dashed paths that keep their distance from each other, grown in many images at once.

A path ("snake") is a row of dashes. From a pivot, a dash of the length L begins a margin m further
on and ends at m + L; the next pivot lies at 2 m + L. The next direction turns by delta with
density cos^2(c delta), |delta| < pi / (2 c): the larger the continuity c, the straighter the path.
Dashes keep 2 m + thickness - 1 from all others, their own path's included, save the one before;
of a few turns the first that does, and leaves a way on, is taken. Two paths of equal length are
grown in turns from seeds a fixed distance apart, then shorter ones as distractors where there is
room.

Coordinates are (row, column) in pixels, pixel centres at whole numbers.

References:
  Linsley et al. 2018, Learning long-range spatial dependencies with horizontal gated recurrent
  units, section 3; the numbers below are those of the released generator.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TURNS = 16  # directions tried for a dash
BEND = 0.7  # of the widest turn, on the ways that are looked at
BACK = 6  # dashes that two paths go back at most where one finds no way
PATIENCE = 8  # steps for each dash, going back included, after which an image is left out
RETRIES = 10  # times a distractor is begun anew before it is left out
DISTRACTOR = 200  # numbers from here on are dashes of the distractor that grows


class Geometry(NamedTuple):
    """Lengths in pixels.

    Attributes:
      size: of the square image.
      dash: length of a dash.
      thickness: of a dash.
      margin: half of the gap between dashes of a path.
      radius: of the dots.
      seeds: distance between the seeds of the two long paths; they keep twice that from the border.
      continuity: c in the density of turns.
      padding: pixels at the border that stay free.
      distractors: dashes of all distractors together.
    """

    size: int
    dash: float
    thickness: float
    margin: float
    radius: float
    seeds: float
    continuity: float
    padding: float
    distractors: int

    @property
    def clearance(self) -> float:
        """Distance that centre lines of dashes keep: margins do not overlap, to a pixel."""
        return 2 * self.margin + self.thickness - 1

    @property
    def ahead(self) -> int:
        """Dashes for which a way on is looked for: more, the longer a turn takes."""
        return int(np.ceil(2 * self.continuity)) - 1

    @property
    def pitch(self) -> float:
        """From a pivot to the next."""
        return 2 * self.margin + self.dash


class Dashes(NamedTuple):
    """Dashes of a number of images, each image with the same number of them.

    Attributes:
      centre: (images, dashes, 2) row and column.
      direction: (images, dashes, 2) unit vectors.
      drawn: (images, dashes) whether it is there.
    """

    centre: np.ndarray
    direction: np.ndarray
    drawn: np.ndarray


class Scenes(NamedTuple):
    """Images without their dots.

    Attributes:
      dashes: first the two long paths, then the distractors.
      first, last: (images, 2, 2) where the long paths begin and end: image, path, row and column.
    """

    dashes: Dashes
    first: np.ndarray
    last: np.ndarray


class _Field:
    """Which dash each pixel is kept free for, in every image: 0 where there is none."""

    def __init__(self, geometry: Geometry, images: int) -> None:
        self.geometry = geometry
        self.frame = int(np.ceil(geometry.dash / 2 + geometry.clearance)) + 1
        side = geometry.size + 2 * self.frame
        self.owner = np.zeros((images, side, side), np.uint8)

    def choose(
        self,
        image: np.ndarray,
        pivot: np.ndarray,
        angles: np.ndarray,
        before: np.ndarray | int,
        ahead: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whether a dash from the pivot is free in any of the directions, and the first that is.

        Free is a dash that has its clearance, `before` being the number of the dash that it
        follows, and from whose end a way on is free too for `ahead` dashes, at most the
        geometry's: all straight on, or all turning left, or all turning right.
        """
        g = self.geometry
        free = self._free(image, pivot[:, None], angles, before)
        first = pivot[:, None] + g.pitch * unit(angles)
        widest = min(np.pi, np.pi / (2 * g.continuity))
        way_on = np.zeros(free.shape, bool)
        for bend in (0.0, -BEND * widest, BEND * widest):
            way, place = free.copy(), first
            for k in range(g.ahead):
                turned = angles + (k + 1) * bend
                way &= self._free(image, place, turned, before) | (ahead <= k)[:, None]
                place = place + g.pitch * unit(turned)
            way_on |= way
        chosen, rows = way_on.argmax(axis=1), np.arange(len(image))
        return way_on[rows, chosen], angles[rows, chosen]

    def _free(
        self, image: np.ndarray, pivot: np.ndarray, angles: np.ndarray, before: np.ndarray | int
    ) -> np.ndarray:
        """(images, tries), looking at points of the centre line at most a pixel apart."""
        g, side = self.geometry, self.owner.shape[1]
        steps = np.linspace(g.margin, g.margin + g.dash, int(np.ceil(g.dash)) + 1)[:, None, None]
        row = pivot[..., 0] + np.sin(angles) * steps  # points first: (points, images, tries)
        column = pivot[..., 1] + np.cos(angles) * steps
        ends = np.stack([row[0], row[-1], column[0], column[-1]])
        free = (ends.min(axis=0) >= g.padding) & (ends.max(axis=0) <= g.size - 1 - g.padding)
        near_row, near_column = np.rint(row).astype(np.int32), np.rint(column).astype(np.int32)
        place = (near_row + self.frame) * side + near_column + self.frame
        place += (image * side**2).astype(np.int64)[:, None]
        owner = self.owner.reshape(-1).take(place, mode="clip")  # those outside are not free anyway
        apart = (owner == 0) | (owner == np.reshape(before, (-1, 1)))
        return free & apart.all(axis=0)

    def claim(
        self, image: np.ndarray, centre: np.ndarray, angle: np.ndarray, number: np.ndarray | int
    ) -> None:
        """Keep the pixels within the clearance of a dash free for it, where no dash has them."""
        g = self.geometry
        _, row, column, distance = near(centre, unit(angle), g.dash, self.frame)
        place = image[:, None, None], row + self.frame, column + self.frame
        owner = self.owner[place]
        mine = (owner == 0) & (distance <= g.clearance)
        self.owner[place] = np.where(mine, np.reshape(number, (-1, 1, 1)), owner)

    def forget(self, image: np.ndarray, number: np.ndarray | int) -> None:
        """Give up what dashes of this number and above hold."""
        owner = self.owner[image]
        owner[owner >= np.reshape(number, (-1, 1, 1))] = 0
        self.owner[image] = owner


def near(
    centre: np.ndarray, direction: np.ndarray, dash: float, reach: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of a square window around each centre, and how far each is from the dash.

    Args:
      centre, direction: (images, 2).
      dash: its length; 0 for a point.
      reach: pixels from the middle of the window to its side.

    Returns:
      image (images, 1, 1), row (images, side, 1), column (images, 1, side), and the distance in
      pixels (images, side, side).
    """
    middle = np.rint(centre).astype(np.intp)
    span = np.arange(-reach, reach + 1)
    row = middle[:, 0, None, None] + span[:, None]
    column = middle[:, 1, None, None] + span
    y, x = row - centre[:, 0, None, None], column - centre[:, 1, None, None]
    dy, dx = direction[:, 0, None, None], direction[:, 1, None, None]
    along = np.clip(y * dy + x * dx, -dash / 2, dash / 2)
    distance = np.sqrt((y - along * dy) ** 2 + (x - along * dx) ** 2)
    return np.arange(len(centre))[:, None, None], row, column, distance


def grow_scenes(rng: np.random.Generator, g: Geometry, contour: int, images: int) -> Scenes:
    """Two long paths and distractors in each image.

    The long paths grow in turns, a dash each. Where a dash finds no way, the two go back by a few
    dashes, drawn at random, and at worst begin anew; an image that is not done after many steps is
    left out.

    Args:
      rng: source of the draws.
      g: lengths.
      contour: dashes of a long path; distractors have a third of that.
      images: begun.

    Returns:
      Scenes of at most `images` images.
    """
    field = _Field(g, images)
    steps = 2 * contour  # step n: dash n // 2 of path n % 2
    pivot, angle = np.zeros((images, steps + 2, 2)), np.zeros((images, steps + 2))
    step = np.zeros(images, np.intp)
    for _ in range(PATIENCE * steps):
        todo = np.flatnonzero(step < steps)
        if not len(todo):
            break
        fresh = todo[step[todo] == 0]
        pivot[fresh, 0] = rng.uniform(2 * g.seeds, g.size - 1 - 2 * g.seeds, (len(fresh), 2))
        around = rng.uniform(-np.pi, np.pi, len(fresh))
        pivot[fresh, 1] = pivot[fresh, 0] + g.seeds * unit(around)
        n = step[todo]
        turns = _turns(rng, g, angle[todo, n - 2])
        anywhere = rng.uniform(-np.pi, np.pi, turns.shape)
        options = np.where(n[:, None] < 2, anywhere, turns)
        found, ahead = field.choose(
            todo, pivot[todo, n], options, np.maximum(n - 1, 0), (steps - 1 - n) // 2
        )
        good, m = todo[found], n[found]
        angle[good, m] = ahead[found]
        pivot[good, m + 2] = pivot[good, m] + g.pitch * unit(ahead[found])
        centre = (pivot[good, m] + pivot[good, m + 2]) / 2
        field.claim(good, centre, ahead[found], m + 1)
        step[good] += 1
        stuck = todo[~found]
        step[stuck] = np.maximum(step[stuck] - rng.integers(1, BACK + 1, len(stuck)), 0)
        field.forget(stuck, step[stuck] + 1)
    done = step == steps
    field.owner, pivot, angle = field.owner[done], pivot[done], angle[done, :steps]
    centre, way = (pivot[:, :steps] + pivot[:, 2:]) / 2, unit(angle)
    half = way * (g.dash / 2)
    long = Dashes(centre, way, np.ones(angle.shape, bool))
    each = max(contour // 3, 1)
    parts = [long, *(_distractor(rng, field, each) for _ in range(g.distractors // each))]
    together = Dashes(*(np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)))
    return Scenes(together, (centre - half)[:, :2], (centre + half)[:, -2:])


def _distractor(rng: np.random.Generator, field: _Field, dashes: int) -> Dashes:
    """One path more in each image where it fits after a few trials."""
    g, images = field.geometry, len(field.owner)
    centre, way = np.zeros((images, dashes, 2)), np.zeros((images, dashes, 2))
    drawn = np.zeros((images, dashes), bool)
    waiting = np.arange(images)
    for _ in range(RETRIES):
        if not len(waiting):
            break
        growing = waiting
        pivot = rng.uniform(g.padding, g.size - 1 - g.padding, (len(growing), 2))
        options = rng.uniform(-np.pi, np.pi, (len(growing), TURNS))
        for dash in range(dashes):
            before = DISTRACTOR + dash - 1 if dash else 0
            ahead = np.full(len(growing), dashes - 1 - dash)
            found, angle = field.choose(growing, pivot, options, before, ahead)
            growing, pivot, angle = growing[found], pivot[found], angle[found]
            way[growing, dash] = unit(angle)
            centre[growing, dash] = pivot + way[growing, dash] * (g.pitch / 2)
            field.claim(growing, centre[growing, dash], angle, DISTRACTOR + dash)
            pivot = pivot + way[growing, dash] * g.pitch
            options = _turns(rng, g, angle)
        drawn[growing] = True
        finished = field.owner[growing]
        field.owner[growing] = np.minimum(finished, DISTRACTOR - 1)  # nobody follows them
        waiting = np.setdiff1d(waiting, growing)
        field.forget(waiting, DISTRACTOR)
    return Dashes(centre, way, drawn)


def _turns(rng: np.random.Generator, g: Geometry, angle: np.ndarray) -> np.ndarray:
    """(images, TURNS) directions to try after (images,) ones."""
    widest = min(np.pi * g.continuity, np.pi / 2)
    x = np.linspace(-widest, widest, 1025)
    area = x + np.sin(x) * np.cos(x)  # twice the integral of cos^2
    share = (area - area[0]) / (area[-1] - area[0])
    return angle[:, None] + np.interp(rng.random((len(angle), TURNS)), share, x) / g.continuity


def unit(angle: np.ndarray) -> np.ndarray:
    """(...,) angles -> (..., 2) row and column of the unit vector."""
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1)
