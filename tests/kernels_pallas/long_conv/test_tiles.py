"""Tables of tiles: what is saved is found, what is not there is None, what is wrong is named."""

from __future__ import annotations

import json

import pytest

from kernels_pallas.long_conv import tiles
from kernels_pallas.long_conv.tiles import Tile

KIND = "NVIDIA H100 80GB HBM3"
ENTRY = {"backend": "triton", "size": 1024, "dtype": "bfloat16", "backward": False}
FORWARD, BACKWARD = Tile(4, (32, 32), 4, 1), Tile(2, (16, 64), 8, 2)


def test_saved_tiles_are_found(tmp_path):
    entries = [{**ENTRY, "tile": FORWARD}, {**ENTRY, "backward": True, "tile": BACKWARD}]
    path = tiles.save(KIND, {"commit": "abc"}, entries, tmp_path)
    assert path == tmp_path / "nvidia-h100-80gb-hbm3.json"
    assert json.loads(path.read_text())["provenance"] == {"commit": "abc"}

    def find(kind=KIND, **changed):
        return tiles.tile(device_kind=kind, tables=tmp_path, **{**ENTRY, **changed})

    assert find() == FORWARD
    assert find(backward=True) == BACKWARD
    assert find(size=2048) is None
    assert find(dtype="float32") is None
    assert find(backend="mosaic_tpu") is None
    assert find(kind="NVIDIA A100") is None
    # a later table replaces what was read
    tiles.save(KIND, {}, [{**ENTRY, "tile": BACKWARD}], tmp_path)
    assert find() == BACKWARD


def test_every_table_of_the_package_is_one():
    for path in tiles.TABLES.glob("*.json"):
        assert tiles.load(path)
        table = json.loads(path.read_text())
        assert tiles.table_path(table["device_kind"]) == path
        assert table["provenance"]["commit"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"tiles": [{"backend": "triton"}]}',
        json.dumps({"tiles": [{**ENTRY, "tile": {**FORWARD._asdict(), "factors": [32, 16]}}]}),
        json.dumps({"tiles": [{**ENTRY, "tile": {**FORWARD._asdict(), "stages": 0}}]}),
    ],
)
def test_a_broken_table_is_named(tmp_path, text):
    path = tiles.table_path(KIND, tmp_path)
    path.write_text(text)
    with pytest.raises(ValueError, match=path.name):
        tiles.tile(device_kind=KIND, tables=tmp_path, **ENTRY)


def test_wrong_entries_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match="1024"):
        tiles.save(KIND, {}, [{**ENTRY, "tile": Tile(1, (16, 16))}], tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"^device_kind"):
        tiles.table_path(" / ")
