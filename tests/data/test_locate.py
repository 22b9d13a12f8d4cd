"""Data sets of packages: found, or an error that says how to install them."""

from __future__ import annotations

import gzip
import struct
import sys

import numpy as np
import pytest

from farwide.data import DataError, balanced, digits, fashion_mnist, locate
from farwide.data.images import read_idx
from farwide.data.locate import SOURCES, VARIABLE

NAMES = sorted(SOURCES)


@pytest.fixture
def nothing_installed(monkeypatch):
    """A machine with neither data set."""
    monkeypatch.delenv(VARIABLE, raising=False)
    bare = {name: source._replace(places=list) for name, source in SOURCES.items()}
    monkeypatch.setattr(sys.modules["farwide.data.locate"], "SOURCES", bare)


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("name", NAMES)
def test_a_missing_data_set_names_the_command(name):
    with pytest.raises(DataError, match=rf"`{SOURCES[name].command}`, or set FARWIDE_DATA"):
        locate(name)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("below", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_the_variable_names_a_folder(tmp_path, monkeypatch, name, below):
    folder = tmp_path / name if below else tmp_path
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for file in SOURCES[name].files:
        with pytest.raises(DataError, match="was looked for in"):
            locate(name)  # not all of its files
        (folder / file).write_bytes(b"")
    assert locate(name) == folder


def test_the_variable_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for file in SOURCES["digits"].files:
        (tmp_path / file).write_bytes(b"")
    assert locate("digits") == tmp_path


def test_an_unknown_name():
    with pytest.raises(DataError, match="no data set 'mnist'; known are digits, fashion-mnist"):
        locate("mnist")


def test_idx_files(tmp_path):
    path = tmp_path / "x.gz"
    array = np.arange(24).reshape(2, 3, 4)
    path.write_bytes(gzip.compress(idx(array)))
    np.testing.assert_array_equal(read_idx(path), array)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"plain", "cannot be read"),
        (gzip.compress(idx(np.zeros(9)))[:-4], "cannot be read"),
        (
            gzip.compress(b"\x00\x00\x0d\x01" + bytes(8)),
            "no IDX file of bytes: it begins with '00000d01'",
        ),
        (gzip.compress(b"\x00\x00\x08\x03\x00"), "cut short in its header"),
        (gzip.compress(idx(np.zeros(9))[:-1]), r"has 8 bytes of data, expected \(9,\)"),
    ],
    ids=["not gzip", "torn gzip", "another type", "torn header", "torn data"],
)
def test_damaged_idx_files_are_named(tmp_path, content, match):
    path = tmp_path / "x.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=match) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_a_fashion_mnist_of_another_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for file in SOURCES["fashion-mnist"].files:
        shape = (3, 28, 28) if "images" in file else (3,)
        (tmp_path / file).write_bytes(gzip.compress(idx(np.zeros(shape))))
    with pytest.raises(DataError, match=r"images \(3, 28, 28\) and labels \(3,\) of 'train'"):
        fashion_mnist()


def test_damaged_digits_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(gzip.compress(b"1,2\n3,4\n"))
    with pytest.raises(DataError, match=r"digits.csv.gz holds a table \(2, 2\)"):
        digits()
    path.write_bytes(b"torn")
    with pytest.raises(DataError, match=r"digits.csv.gz cannot be read"):
        digits()


def installed(name: str) -> bool:
    try:
        locate(name)
    except DataError:
        return False
    return True


@pytest.mark.skipif(not installed("digits"), reason="scikit-learn is not installed")
def test_digits():
    data = digits()
    assert data.x_train.shape == (1000, 8, 8, 1)
    assert data.x_test.shape == (797, 8, 8, 1)
    assert (data.x_train.min(), data.x_train.max(), data.x_train.dtype) == (0, 1, np.float32)
    assert np.bincount(np.concatenate([data.y_train, data.y_test])).tolist() == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
    ]  # fmt: skip
    same, other = digits(0), digits(1)
    np.testing.assert_array_equal(data.x_train, same.x_train)
    assert (data.y_train != other.y_train).any()


@pytest.mark.skipif(not installed("fashion-mnist"), reason="dataset-fashion-mnist is not installed")
def test_fashion_mnist():
    data = fashion_mnist()
    assert data.x_train.shape == (60000, 28, 28, 1)
    assert (data.x_train.min(), data.x_train.max(), data.x_train.dtype) == (0, 1, np.float32)
    assert np.bincount(data.y_train).tolist() == [6000] * 10
    assert np.bincount(data.y_test).tolist() == [1000] * 10
    assert [data.classes[i] for i in data.y_train[:3]] == ["boot", "T-shirt", "T-shirt"]


def test_balanced_choices_are_nested():
    labels = np.repeat([0, 1, 2], [10, 20, 30])
    chosen = balanced(labels, 20, seed=3)
    assert len(set(chosen)) == 20
    assert sorted(np.bincount(labels[chosen])) == [6, 7, 7]
    np.testing.assert_array_equal(balanced(labels, 11, seed=3), chosen[:11])
    assert (balanced(labels, 20, seed=4) != chosen).any()
    assert sorted(np.bincount(labels[balanced(labels, 33, seed=3)])) == [10, 11, 12]
    for count in (0, 61):
        with pytest.raises(ValueError, match=f"count must be between 1 and 60, got {count}"):
            balanced(labels, count, seed=0)
