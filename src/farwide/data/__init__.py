"""Data sources: deterministic, resumable by position, recorded by hash."""

from farwide.data.corpus import Corpus, CorpusError, read_corpus, standard_library
from farwide.data.windows import Windows, validation_windows

__all__ = [
    "Corpus",
    "CorpusError",
    "Windows",
    "read_corpus",
    "standard_library",
    "validation_windows",
]
