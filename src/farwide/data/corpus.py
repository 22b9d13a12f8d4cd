"""A folder of text as two byte arrays, train and validation, split by file.

Three guards against leakage, in this order:

1. files with the same bytes are kept once;
2. whole files go to one side: files sorted by the SHA-256 of their content, the first ones up to
   `validation_fraction` of the bytes are validation. The split depends on nothing but the content;
3. a validation file more than half of whose long lines also stand in training files (generated
   tables, copies with small edits) is dropped.

Every file met is listed in the manifest with its side or the reason why it was left out.
"""

from __future__ import annotations

import hashlib
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SEPARATOR = b"\x00"  # stands between files; text files hold no NUL byte
LONG_LINE = 32  # bytes: shorter lines (`return self`, `else:`) are shared by unrelated files
SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "__pycache__"})


class CorpusError(ValueError):
    """A corpus that cannot be read or cannot be split."""


class Corpus(NamedTuple):
    """Bytes of both sides and the record of where they came from."""

    train: np.ndarray  # (train_bytes,) uint8
    validation: np.ndarray  # (validation_bytes,) uint8
    manifest: dict[str, Any]


class _File(NamedTuple):
    path: str  # relative to the root, with forward slashes
    content: bytes
    digest: str


def standard_library() -> Path:
    """The folder of the running interpreter's standard library (`sysconfig`, path `stdlib`)."""
    return Path(sysconfig.get_path("stdlib"))


def read_corpus(
    root: str | Path | None = None,
    *,
    pattern: str | None = None,
    validation_fraction: float = 0.05,
) -> Corpus:
    """Read every text file below `root` and split the files into train and validation.

    Args:
        root: a folder; None takes the Python standard library's sources.
        pattern: glob below `root`; None takes `**/*.py` for the standard library, else `**/*`.
        validation_fraction: share of the bytes held back for validation, in (0, 0.5].

    Returns:
        A `Corpus`. Files follow each other in the order of their paths, one NUL byte between two.

    Raises:
        CorpusError: the folder does not exist, holds fewer than two distinct text files, or
            leaves one side empty.
    """
    if not 0.0 < validation_fraction <= 0.5:
        raise CorpusError(
            f"validation_fraction is {validation_fraction}; accepted is 0 < fraction <= 0.5"
        )
    folder = standard_library() if root is None else Path(root)
    if pattern is None:
        pattern = "**/*.py" if root is None else "**/*"
    if not folder.is_dir():
        raise CorpusError(f"corpus {str(folder)!r} is not a folder; give a folder of text files")
    files, left_out = _read_files(folder, pattern)
    if len(files) < 2:
        raise CorpusError(
            f"corpus {str(folder)!r} ({pattern}) holds {len(files)} distinct text files; "
            "a split by file needs at least 2"
        )
    chosen = _validation_paths(files, validation_fraction)
    train = [file for file in files if file.path not in chosen]
    validation, near_copies = _without_near_copies(
        train, [file for file in files if file.path in chosen]
    )
    if not validation:
        raise CorpusError(
            f"corpus {str(folder)!r}: every validation file is a near copy of a training file"
        )
    left_out |= {file.path: "near copy of training text" for file in near_copies}
    return Corpus(
        train=_join(train),
        validation=_join(validation),
        manifest=_manifest(folder, pattern, train, validation, left_out),
    )


def _read_files(folder: Path, pattern: str) -> tuple[list[_File], dict[str, str]]:
    """Distinct text files below `folder` in path order, and the reason each other was left out."""
    files: list[_File] = []
    left_out: dict[str, str] = {}
    seen: dict[str, str] = {}
    for path in sorted(folder.glob(pattern)):
        relative = path.relative_to(folder)
        if SKIPPED_FOLDERS.intersection(relative.parts) or not path.is_file():
            continue
        if any(part.startswith(".") for part in relative.parts):
            continue
        name = relative.as_posix()
        try:
            content = path.read_bytes()
        except OSError as error:
            left_out[name] = f"unreadable: {error.strerror}"
            continue
        digest = hashlib.sha256(content).hexdigest()
        if not content:
            left_out[name] = "empty"
        elif SEPARATOR in content:
            left_out[name] = "binary"
        elif digest in seen:
            left_out[name] = f"copy of {seen[digest]}"
        else:
            seen[digest] = name
            files.append(_File(name, content, digest))
    return files, left_out


def _validation_paths(files: list[_File], fraction: float) -> frozenset[str]:
    """Files in order of their hash until `fraction` of the bytes is reached.

    A file that would carry the total beyond twice the target is passed over, so that one large
    file does not become the validation set; where every file is that large, the smallest is taken.
    """
    target = fraction * sum(len(file.content) for file in files)
    chosen: list[_File] = []
    total = 0
    for file in sorted(files, key=lambda file: file.digest):
        if total >= target:
            break
        if total + len(file.content) <= 2 * target:
            chosen.append(file)
            total += len(file.content)
    if not chosen:
        chosen = [min(files, key=lambda file: (len(file.content), file.digest))]
    return frozenset(file.path for file in chosen)


def _long_lines(content: bytes) -> list[bytes]:
    return [line for line in map(bytes.strip, content.splitlines()) if len(line) >= LONG_LINE]


def _without_near_copies(
    train: list[_File], validation: list[_File]
) -> tuple[list[_File], list[_File]]:
    """Validation files with at most half of their long lines in `train`, and the others."""
    known = {line for file in train for line in _long_lines(file.content)}
    kept: list[_File] = []
    dropped: list[_File] = []
    for file in validation:
        lines = _long_lines(file.content)
        shared = sum(line in known for line in lines)
        (dropped if lines and 2 * shared > len(lines) else kept).append(file)
    return kept, dropped


def _join(files: list[_File]) -> np.ndarray:
    return np.frombuffer(SEPARATOR.join(file.content for file in files), dtype=np.uint8)


def _manifest(
    folder: Path,
    pattern: str,
    train: list[_File],
    validation: list[_File],
    left_out: dict[str, str],
) -> dict[str, Any]:
    sides = {file.path: "train" for file in train} | {
        file.path: "validation" for file in validation
    }
    kept = sorted([*train, *validation], key=lambda file: file.path)
    whole = hashlib.sha256()
    for file in kept:
        whole.update(f"{sides[file.path]} {file.digest} {file.path}\n".encode())
    return {
        "schema": 1,
        "root": str(folder),
        "pattern": pattern,
        "sha256": whole.hexdigest(),
        "train_bytes": sum(len(file.content) + 1 for file in train) - 1,
        "validation_bytes": sum(len(file.content) + 1 for file in validation) - 1,
        "train_files": len(train),
        "validation_files": len(validation),
        "files": [
            {
                "path": file.path,
                "bytes": len(file.content),
                "sha256": file.digest,
                "split": sides[file.path],
            }
            for file in kept
        ],
        "left_out": [{"path": path, "reason": left_out[path]} for path in sorted(left_out)],
    }
