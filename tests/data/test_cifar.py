"""CIFAR-10 is read from files of its binary format, and a damaged one is named."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.data import DataError, cifar10

NAMES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in NAMES:
        records = rng.integers(0, 256, (4, 3073), dtype=np.uint8)
        records[:, 0] = rng.integers(0, 10, 4)
        (tmp_path / name).write_bytes(records.tobytes())
    return tmp_path


@pytest.mark.parametrize("below", ["", "cifar-10-batches-bin"])
def test_images_and_labels_are_where_the_format_puts_them(folder, tmp_path_factory, below):
    if below:
        root = tmp_path_factory.mktemp("above")
        folder = folder.rename(root / below).parent
    found = cifar10(folder)
    assert found.x_train.shape == (20, 32, 32, 3)
    assert found.x_test.shape == (4, 32, 32, 3)
    raw = np.fromfile(folder / below / "test_batch.bin", np.uint8).reshape(4, 3073)
    np.testing.assert_array_equal(found.y_test, raw[:, 0])
    red, green, blue = raw[1, 1:1025], raw[1, 1025:2049], raw[1, 2049:]
    expected = np.stack([red, green, blue], -1).reshape(32, 32, 3) / np.float32(255)
    np.testing.assert_array_equal(found.x_test[1], expected)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("data_batch_3.bin", None, "data_batch_3.bin"),
        ("test_batch.bin", b"\x01" * 3072, "3072 bytes"),
        ("data_batch_1.bin", b"", "0 bytes"),
        ("data_batch_2.bin", b"\x0a" + b"\x00" * 3072, "label 10"),
    ],
)
def test_a_damaged_file_is_named(folder, name, content, words):
    path = folder / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        cifar10(folder)
