"""How a kernel matrix is cut into tiles: all of one shape, every entry owned by one of them.

n examples in tiles of at most `batch_size` make ceil(n / batch_size) tiles of equal size. Where
that size does not divide n, the last tile starts earlier and shares examples with its neighbour; it
then owns those alone that the neighbour does not. So there is one program for all tiles, and
nothing is padded with made-up examples.
"""

from __future__ import annotations

from typing import NamedTuple


class Side(NamedTuple):
    """One side of the matrix: n examples in tiles of `size`."""

    n: int
    size: int

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        return -(-self.n // self.size)

    def start(self, index: int) -> int:
        """The first example of a tile."""
        return min(index * self.size, self.n - self.size)

    def owned(self, index: int) -> slice:
        """The examples that a tile owns."""
        return slice(index * self.size, min((index + 1) * self.size, self.n))

    def within(self, index: int) -> slice:
        """The same, counted from the tile's first example."""
        return slice(index * self.size - self.start(index), self.size)


class Tile(NamedTuple):
    """Row and column of a tile; itself: both hold the same examples, x1 being x2."""

    row: int
    column: int
    itself: bool


def side_of(n: int, batch_size: int) -> Side:
    """n examples in as few tiles of at most `batch_size` as there can be, equal in size."""
    tiles = -(-n // min(batch_size, n))
    return Side(n, -(-n // tiles))


def tiles_of(rows: Side, columns: Side, *, symmetric: bool, mirrored: bool) -> list[Tile]:
    """Every tile to compute, those of examples with themselves first.

    Args:
      rows, columns: both sides.
      symmetric: whether x1 is x2.
      mirrored: whether tiles below the diagonal are had from those above it.
    """
    listed = [
        Tile(row, column, symmetric and row == column)
        for row in range(rows.tiles)
        for column in range(row if mirrored else 0, columns.tiles)
    ]
    return sorted(listed, key=lambda tile: not tile.itself)
