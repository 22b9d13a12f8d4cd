"""Files on disk: read bytes, parse JSON strictly, replace a file atomically."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from farwide.runlog.errors import LogError


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; LogError says why when there are none to be had."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise LogError(path, "no such file") from None
    except OSError as error:
        raise LogError(path, f"cannot be read: {error.strerror or error}") from None


def decode(raw: bytes, path: Path, line: int | None = None) -> str:
    """UTF-8 text; LogError for anything else, with the line of the first wrong byte."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        at = (line or 1) + raw.count(b"\n", 0, error.start)
        raise LogError(path, f"not UTF-8 text (byte 0x{raw[error.start]:02x})", line=at) from None


def parse_json(text: str, path: Path, line: int | None = None) -> Any:
    """One JSON value. Refuses NaN and Infinity (no JSON) and repeated keys, with file and line."""

    def refuse_constant(name: str) -> None:
        raise ValueError(f"holds {name}, which is not a finite number")

    def refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        obj: dict[str, Any] = {}
        for key, value in pairs:
            if key in obj:
                raise ValueError(f"has the key {key!r} twice")
            obj[key] = value
        return obj

    try:
        return json.loads(text, parse_constant=refuse_constant, object_pairs_hook=refuse_repeats)
    except json.JSONDecodeError as error:
        at = error.lineno if line is None else line
        reason = f"invalid JSON: {error.msg} at column {error.colno}"
        raise LogError(path, reason, line=at) from None
    except ValueError as error:
        raise LogError(path, str(error), line=line) from None
    except RecursionError:
        raise LogError(path, "invalid JSON: nested too deeply", line=line) from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object that is the whole of a file."""
    obj = parse_json(decode(read_bytes(path), path), path)
    if not isinstance(obj, dict):
        raise LogError(path, f"expected a JSON object, found {json_type(obj)}")
    return obj


def json_type(value: Any) -> str:
    """What a JSON value is called, with its article: for messages."""
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a text", list: "an array", dict: "an object"}
    return names.get(type(value), "a number")


def to_json(obj: Any, *, indent: int | None = None) -> str:
    """ASCII JSON text of plain values, NumPy values and paths.

    NaN and infinities become null, for JSON has no other word for them: null in a file of ours
    means "not a finite number, or not measured".
    """
    return json.dumps(_plain(obj), indent=indent, allow_nan=False)


def _plain(obj: Any) -> Any:
    if isinstance(obj, np.ndarray):
        return _plain(obj.tolist())
    if isinstance(obj, np.generic):
        return _plain(obj.item())
    if isinstance(obj, Mapping):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value) for value in obj]
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else None
    if isinstance(obj, Path):
        return str(obj)
    return obj


def write_json(path: str | Path, obj: Any) -> None:
    """Write an object as a JSON file, atomically: a reader sees the old file or the new one.

    The text goes to a temporary file in the same folder, is synced to the disk, and takes the
    name's place by `os.replace`. NaN and infinities are written as null. Raises TypeError for an
    object that JSON cannot hold (the old file stays), OSError when the disk refuses.
    """
    write_atomically(Path(path), (to_json(obj, indent=2) + "\n").encode())


def claim(path: Path, wanted: Mapping[str, Any], holder: str, advice: str) -> None:
    """Write a description where there is none; where there is one, it must say the same.

    They are compared as a file holds them: a tuple is a list there.

    Raises LogError, "PATH: this folder holds HOLDER (different: keys); ADVICE", when it does not.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, wanted)
        return
    found, wanted = read_json(path), _plain(wanted)
    different = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))
    if different:
        listed = ", ".join(different)
        raise LogError(path, f"this folder holds {holder} (different: {listed}); {advice}")


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file's bytes in one step, synced to the disk before and after."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with naming(path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with open(descriptor, "wb", buffering=0) as file:
                rest = memoryview(content)
                while rest:
                    rest = rest[file.write(rest) or 0 :]
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError of the block (a full disk, no permission) the name of the file at stake."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise OSError(f"{path}: {error}") from error
        raise OSError(error.errno, error.strerror, str(path)) from error


def sync_directory(path: Path) -> None:
    """Sync a folder's own entries, so that a new name survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
