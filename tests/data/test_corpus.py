"""The corpus: split by file, guarded against leakage, described completely."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from farwide.data import CorpusError, read_corpus, standard_library


def write_files(folder, count=40, lines=20):
    for i in range(count):
        text = "".join(
            f"file {i} line {j} holds some text of its own {i * j}\n" for j in range(lines)
        )
        (folder / f"part_{i:02d}.txt").write_text(text)


def sides(corpus):
    return {f["path"]: f["split"] for f in corpus.manifest["files"]}


def test_every_byte_of_every_file_is_on_exactly_one_side(tmp_path):
    write_files(tmp_path)
    corpus = read_corpus(tmp_path, validation_fraction=0.2)
    for side, data in (("train", corpus.train), ("validation", corpus.validation)):
        names = sorted(path for path, split in sides(corpus).items() if split == side)
        expected = b"\x00".join((tmp_path / name).read_bytes() for name in names)
        assert data.tobytes() == expected
        assert corpus.manifest[f"{side}_bytes"] == len(data)
        assert corpus.manifest[f"{side}_files"] == len(names)
    share = len(corpus.validation) / (len(corpus.validation) + len(corpus.train))
    assert 0.15 < share < 0.3


def test_the_split_depends_on_content_and_not_on_names(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir(), b.mkdir()
    write_files(a)
    for i, path in enumerate(sorted(a.iterdir(), reverse=True)):
        (b / f"renamed_{i}.txt").write_bytes(path.read_bytes())
    by_hash = [
        {f["sha256"]: f["split"] for f in read_corpus(folder).manifest["files"]}
        for folder in (a, b)
    ]
    assert by_hash[0] == by_hash[1]


def test_copies_are_kept_once_and_near_copies_never_validate(tmp_path):
    write_files(tmp_path)
    first = read_corpus(tmp_path)
    name = next(path for path, split in sides(first).items() if split == "validation")
    original = (tmp_path / name).read_bytes()
    (tmp_path / "zz_copy.txt").write_bytes(original)
    corpus = read_corpus(tmp_path)
    assert {"path": "zz_copy.txt", "reason": f"copy of {name}"} in corpus.manifest["left_out"]
    # Small edits of the validation file: at least one lands in training, so none may validate.
    (tmp_path / "zz_copy.txt").unlink()
    for i in range(12):
        (tmp_path / f"zz_near_{i}.txt").write_bytes(original + f"edited {i}\n".encode())
    corpus = read_corpus(tmp_path)
    family = {name} | {f"zz_near_{i}.txt" for i in range(12)}
    assert any(sides(corpus).get(member) == "train" for member in family)
    assert not any(sides(corpus).get(member) == "validation" for member in family)
    dropped = {entry["path"] for entry in corpus.manifest["left_out"]}
    assert dropped <= family
    assert dropped


def test_binary_empty_and_hidden_files_are_left_out_with_a_reason(tmp_path):
    write_files(tmp_path)
    (tmp_path / "image.bin").write_bytes(b"\x89PNG\x00\x01")
    (tmp_path / "nothing.txt").touch()
    (tmp_path / ".hidden").write_text("secret" * 50)
    reasons = {e["path"]: e["reason"] for e in read_corpus(tmp_path).manifest["left_out"]}
    assert reasons == {"image.bin": "binary", "nothing.txt": "empty"}


def test_the_hash_changes_with_the_content_and_only_with_it(tmp_path):
    write_files(tmp_path)
    before = read_corpus(tmp_path).manifest["sha256"]
    assert read_corpus(tmp_path).manifest["sha256"] == before
    with open(tmp_path / "part_00.txt", "a") as file:
        file.write("one more line\n")
    assert read_corpus(tmp_path).manifest["sha256"] != before


@pytest.mark.parametrize(
    ("files", "message"),
    [({}, "0 distinct text files"), ({"a.txt": "x" * 100}, "1 distinct text files")],
)
def test_too_few_files_are_refused(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_corpus(tmp_path)


def test_two_files_are_enough(tmp_path):
    (tmp_path / "a.txt").write_text("alpha " * 500)
    (tmp_path / "b.txt").write_text("beta " * 100)
    corpus = read_corpus(tmp_path)
    assert sides(corpus) == {"a.txt": "train", "b.txt": "validation"}


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(CorpusError, match="is not a folder"):
        read_corpus(tmp_path / "missing")
    with pytest.raises(CorpusError, match=r"validation_fraction is 0\.9"):
        read_corpus(tmp_path, validation_fraction=0.9)


def test_the_standard_library_is_a_corpus_without_leakage():
    corpus = read_corpus()
    manifest = corpus.manifest
    assert manifest["root"] == str(standard_library())
    assert manifest["train_bytes"] > 4_000_000  # enough for every preset but the largest
    assert not any("site-packages" in f["path"] for f in manifest["files"])
    validation = {f["path"] for f in manifest["files"] if f["split"] == "validation"}
    train_lines = set()
    for file in manifest["files"]:
        if file["split"] == "train":
            content = (standard_library() / file["path"]).read_bytes()
            train_lines.update(line.strip() for line in content.splitlines())
    for path in sorted(validation)[:20]:
        content = (standard_library() / path).read_bytes()
        digest = next(f["sha256"] for f in manifest["files"] if f["path"] == path)
        assert hashlib.sha256(content).hexdigest() == digest
        long = [s for s in map(bytes.strip, content.splitlines()) if len(s) >= 32]
        assert np.mean([line in train_lines for line in long] or [0.0]) <= 0.5
