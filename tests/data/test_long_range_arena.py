"""Files as the Long Range Arena releases them, made small here."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imsave

from farwide.data import DataError, lra_list_ops, lra_pathfinder, lra_retrieval, lra_text
from tests.data.orders import check_order

LISTS = {
    "basic_train.tsv": "Source\tTarget\r\n( ( ( [MAX 2 ) ( ( ( [MIN 9 ) 4 ) ] ) ) ] )\t4\r\n"
    "( ( ( [SM 5 ) 7 ) ] )\t2\r\n",
    "basic_test.tsv": "Source\tTarget\r\n( ( ( [MED 1 ) 3 ) ] )\t2\r\n",
}
PAPERS = {
    "new_aan_pairs.train.tsv": b"1\tA1\tA2\tabc\t\xffde\n0.0\tA1\tA3\tabcdefgh\tz\n",
    "new_aan_pairs.test.tsv": b"1.0\tB1\tB2\tx\r y\t\n",
}


def write(folder, files) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize("below", ["", "listops-1000"])
def test_list_ops(tmp_path, below):
    write(tmp_path / below, LISTS)
    task = lra_list_ops(tmp_path, length=10)
    assert task.test.inputs.tolist() == [[0, 0, 0, 0, 0, 0, 13, 2, 4, 15]]
    assert task.test.targets.tolist() == [2]
    rows = {tuple(x.tolist()): int(y) for x, y in zip(*task.train(0, 2)[:2], strict=True)}
    assert rows == {(0, 0, 0, 12, 3, 11, 10, 5, 15, 15): 4, (0,) * 6 + (14, 6, 8, 15): 2}
    check_order(lambda seed: lra_list_ops(tmp_path, length=10, seed=seed), start=1)


@pytest.mark.parametrize(
    ("line", "length", "message"),
    [
        ("[FIRST 1 2 ]\t1", 9, r"basic_train.tsv, line 1: expected .* got the word '\[FIRST'"),
        ("[MAX 1 2 ]", 9, "line 1: expected an expression, a tab and 0 to 9"),
        ("[MAX 1 2 ]\t12", 9, "line 1: expected"),
        ("[MAX 1 2 ]\t2", 3, "line 1: length is 3; accepted is at least the 4 tokens"),
        ("", 9, "has no examples"),
    ],
)
def test_lines_that_are_no_expressions_are_refused(tmp_path, line, length, message):
    write(tmp_path, LISTS | {"basic_train.tsv": line})
    with pytest.raises(DataError, match=message):
        lra_list_ops(tmp_path, length=length)


def test_retrieval(tmp_path):
    write(tmp_path / "tsv_data", PAPERS)
    task = lra_retrieval(tmp_path, length=4)
    assert task.input_shape == (9,)
    assert task.test.inputs.tolist() == [[0, 0, 0, 0, 121, 14, 33, 122, 257]]  # x, return, space, y
    assert task.test.targets.tolist() == [1]
    rows = {tuple(x.tolist()): int(y) for x, y in zip(*task.train(0, 2)[:2], strict=True)}
    assert rows == {
        (0, 0, 98, 99, 100, 257, 256, 101, 102): 1,
        (0, 0, 0, 98, 99, 100, 101, 257, 123): 0,  # each document cut, not the pair
    }
    write(tmp_path / "tsv_data", {"new_aan_pairs.test.tsv": "2\ta\tb\tc\td\n"})
    with pytest.raises(DataError, match=r"test.tsv, line 1: expected label 0 or 1, two ids"):
        lra_retrieval(tmp_path)


def test_text(tmp_path):
    files = {
        f"{side}/{kind}/{i}_{i}.txt": f"{kind}{side}{i}"
        for side in ("train", "test")
        for kind in ("neg", "pos")
        for i in range(2)
    }
    write(tmp_path / "aclImdb", files)
    task = lra_text(tmp_path, length=8)
    assert task.test.targets.tolist() == [0, 0, 1, 1]
    assert bytes((task.test.inputs[2] - 1).tolist()).decode() == "postest0"
    assert task.facts["train_examples"] == 4
    batch = task.train(0, 4)
    first = {bytes((x - 1).tolist()[:3]).decode(): int(y) for x, y in zip(*batch[:2], strict=True)}
    assert first == {"neg": 0, "pos": 1}
    for path in (tmp_path / "aclImdb" / "test" / "pos").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"test/pos has no .txt files"):
        lra_text(tmp_path)


def draw_folder(root, count: int = 20, text: bool = True, size: int = 6) -> np.ndarray:
    """Images 0 to count - 1 with their number as grey value, labels their parity."""
    level = root / "curv_contour_length_14"
    rows = []
    for i in range(count):
        folder = level / "imgs" / str(i % 2)
        folder.mkdir(parents=True, exist_ok=True)
        image = np.full((size, size), i, np.uint8)
        imsave(folder / f"sample_{i}.png", np.stack([image] * 3, axis=-1))
        rows.append([f"imgs/{i % 2}", f"sample_{i}.png", str(i), str(i % 2), "1.0"])
    (level / "metadata").mkdir()
    for name, part in (("2.npy", rows[: count // 2]), ("10.npy", rows[count // 2 :])):
        path = level / "metadata" / name  # 2 comes before 10
        if text:
            path.write_text("".join(" ".join(row) + "\n" for row in part), encoding="utf-8")
        else:
            np.save(path, np.array(part))
    return level


@pytest.mark.parametrize("text", [True, False])
def test_pathfinder(tmp_path, text):
    draw_folder(tmp_path, text=text)
    task = lra_pathfinder(tmp_path)
    assert task.input_shape == (36, 1)
    grey = np.rint((task.test.inputs[:, 0, 0] + 1) * 127.5)
    assert grey.tolist() == [18, 19]  # the last tenth, in order
    assert task.test.targets.tolist() == [0, 1]
    batch = task.train(0, 16)
    grey = np.rint((batch.inputs[:, 0, 0] + 1) * 127.5)
    assert sorted(grey) == list(range(16))
    np.testing.assert_array_equal(batch.targets, grey % 2)
    assert lra_pathfinder(tmp_path, sequence=False).input_shape == (6, 6, 1)
    check_order(lambda seed: lra_pathfinder(tmp_path, seed=seed), batch=4, start=10)


def test_an_empty_image_is_left_out_and_listed(tmp_path):
    level = draw_folder(tmp_path)
    (level / "imgs" / "0" / "sample_4.png").write_bytes(b"")
    task = lra_pathfinder(tmp_path)
    assert task.facts["left_out"] == ["imgs/0/sample_4.png"]
    assert task.facts["train_examples"] == 15


def test_folders_that_are_not_the_release_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no basic_train.tsv, basic_test.tsv, nor has a"):
        lra_list_ops(tmp_path)
    with pytest.raises(DataError, match="has no train/neg"):
        lra_text(tmp_path)
    with pytest.raises(DataError, match=r"has no metadata/\*.npy"):
        lra_pathfinder(tmp_path)
    with pytest.raises(ValueError, match="level is 'x'; accepted is one of easy"):
        lra_pathfinder(tmp_path, level="x")
    level = draw_folder(tmp_path)
    (level / "imgs" / "0" / "sample_4.png").write_bytes(b"\x89PNG no image")
    with pytest.raises(DataError, match=r"sample_4.png cannot be read"):
        lra_pathfinder(tmp_path)
    (level / "imgs" / "0" / "sample_4.png").unlink()
    with pytest.raises(DataError, match=r"2.npy, line 5: .*sample_4.png is not there"):
        lra_pathfinder(tmp_path)
    (level / "metadata" / "2.npy").write_text("imgs/0 a.png 0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"2.npy, line 1: expected folder, file, number and"):
        lra_pathfinder(tmp_path)
