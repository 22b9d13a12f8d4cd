"""The Long Range Arena's own files, from a folder that the user names: nothing is downloaded.

Rows are padded on the left with token 0, so that the last position is the example's end.

References:
  Tay et al. 2020, Long Range Arena: a benchmark for efficient transformers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from farwide.data.expressions import CLOSE, DIGIT, OPEN, OPERATORS
from farwide.data.expressions import TOKENS as LIST_TOKENS
from farwide.data.locate import DataError
from farwide.data.sequences import byte_tokens, labelled, rows_of
from farwide.data.task import Task
from farwide.validate import at_least

WORDS = {f"[{name}": OPEN + i for i, name in enumerate(OPERATORS)}
WORDS |= {str(digit): DIGIT + digit for digit in range(10)} | {"]": CLOSE}
SEPARATOR = 257  # between two documents; bytes are 1 to 256


def lra_list_ops(folder: str | Path, *, length: int = 2000, seed: int = 0) -> Task:
    """ListOps of the release: basic_train.tsv and basic_test.tsv (Source and Target).

    The parentheses that the files hold besides the brackets say nothing and are left out; tokens
    are those of `list_ops`.

    Args:
      folder: holds the files, or a folder listops-1000 or listops that does.
      length: of the rows; longer expressions are refused.
      seed: of the order of training examples.

    Returns:
      A Task with inputs (batch, length), 16 tokens, 10 classes.

    Raises:
      DataError: a file is missing, or holds what is no such expression.
    """
    at_least(1, length=length)
    names = ("basic_train.tsv", "basic_test.tsv")
    root = _root(folder, names, ("listops-1000", "listops"))
    train, test = (_expressions(root / name, length) for name in names)
    return labelled(
        "lra_list_ops", train, test, vocabulary=LIST_TOKENS, outputs=10, seed=seed,
        facts={"length": length},
    )  # fmt: skip


def _expressions(path: Path, length: int) -> tuple[np.ndarray, np.ndarray]:
    rows, labels = [], []
    for number, line in _lines(path):
        source, tab, target = line.decode(errors="replace").partition("\t")
        if number == 1 and source.strip() == "Source":
            continue
        words = source.replace("(", " ").replace(")", " ").split()
        unknown = [word for word in words if word not in WORDS]
        if not tab or not target.strip().isdigit() or int(target) > 9 or unknown or not words:
            what = f"the word {unknown[0]!r}" if unknown else repr(f"{source[:60]}{tab}{target}")
            raise DataError(
                f"{path}, line {number}: expected an expression, a tab and 0 to 9, got {what}"
            )
        if len(words) > length:
            raise DataError(
                f"{path}, line {number}: length is {length}; accepted is at least the "
                f"{len(words)} tokens of this expression"
            )
        rows.append(np.array([WORDS[word] for word in words], np.int32))
        labels.append(int(target))
    if not rows:
        raise DataError(f"{path} has no examples")
    return rows_of(rows, length), np.array(labels, np.int32)


def lra_retrieval(folder: str | Path, *, length: int = 4000, seed: int = 0) -> Task:
    """Retrieval (AAN): do two papers cite each other? Two byte texts, a separator between them.

    The release compares two encodings made apart; here both documents stand in one row: padding,
    the first, token 257, the second. Each keeps its first `length` bytes.

    Args:
      folder: holds new_aan_pairs.train.tsv and new_aan_pairs.test.tsv (label, two ids, two texts),
        or a folder tsv_data that does.
      length: bytes of each document at most.
      seed: of the order of training examples.

    Returns:
      A Task with inputs (batch, 2 length + 1), 258 tokens, 2 classes.

    Raises:
      DataError: a file is missing, or a line has not those fields.
    """
    at_least(1, length=length)
    names = ("new_aan_pairs.train.tsv", "new_aan_pairs.test.tsv")
    root = _root(folder, names, ("tsv_data",))
    train, test = (_pairs(root / name, length) for name in names)
    return labelled(
        "lra_retrieval", train, test, vocabulary=SEPARATOR + 1, outputs=2, seed=seed,
        facts={"length": length},
    )  # fmt: skip


def _pairs(path: Path, length: int) -> tuple[np.ndarray, np.ndarray]:
    rows, labels = [], []
    for number, line in _lines(path):
        fields = line.split(b"\t")
        if len(fields) != 5 or fields[0] not in (b"0", b"1", b"0.0", b"1.0"):
            raise DataError(
                f"{path}, line {number}: expected label 0 or 1, two ids and two texts between "
                f"tabs, got {len(fields)} fields, the first {fields[0][:20]!r}"
            )
        first, second = (text[:length] for text in fields[3:])
        rows.append(
            np.concatenate(
                [byte_tokens(first, len(first)), [SEPARATOR], byte_tokens(second, len(second))]
            )
        )
        labels.append(int(float(fields[0])))
    if not rows:
        raise DataError(f"{path} has no examples")
    return rows_of(rows, 2 * length + 1), np.array(labels, np.int32)


def lra_text(folder: str | Path, *, length: int = 4096, seed: int = 0) -> Task:
    """Byte-level text classification: is a film review (IMDB) negative (0) or positive (1)?

    Args:
      folder: aclImdb, or one that holds it: train/neg, train/pos, test/neg and test/pos with a text
        file for each review.
      length: bytes of a review at most; the rest is cut.
      seed: of the order of training examples.

    Returns:
      A Task with inputs (batch, length), 257 tokens (bytes plus 1), 2 classes.

    Raises:
      DataError: a folder is missing or has no texts.

    References:
      Maas et al. 2011, Learning word vectors for sentiment analysis.
    """
    at_least(1, length=length)
    parts = tuple(f"{side}/{kind}" for side in ("train", "test") for kind in ("neg", "pos"))
    root = _root(folder, parts, ("aclImdb",))
    sides = []
    for side in ("train", "test"):
        found = [sorted((root / side / kind).glob("*.txt")) for kind in ("neg", "pos")]
        for kind, paths in zip(("neg", "pos"), found, strict=True):
            if not paths:
                raise DataError(f"{root / side / kind} has no .txt files")
        rows = [byte_tokens(path.read_bytes(), length) for paths in found for path in paths]
        sides.append(
            (np.stack(rows), np.repeat(np.array([0, 1], np.int32), [len(p) for p in found]))
        )
    return labelled(
        "lra_text", *sides, vocabulary=257, outputs=2, seed=seed, facts={"length": length}
    )


def _root(folder: str | Path, names: tuple[str, ...], below: tuple[str, ...]) -> Path:
    """The folder, or the first of those below it, that holds all the names."""
    root = Path(folder).expanduser()
    for place in (root, *(root / name for name in below)):
        if all((place / name).exists() for name in names):
            return place
    missing = ", ".join(name for name in names if not (root / name).exists())
    raise DataError(
        f"{root} has no {missing}, nor has a folder {' or '.join(below)} in it; name the folder of "
        "the unpacked release that holds them"
    )


def _lines(path: Path) -> list[tuple[int, bytes]]:
    """Numbered lines (from 1) that are not blank, without their ends."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    return [(n, line.rstrip(b"\r")) for n, line in enumerate(lines, start=1) if line.strip()]
