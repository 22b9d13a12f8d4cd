"""Data sources: deterministic, resumable by position, recorded by hash."""

from farwide.data.cifar import cifar10
from farwide.data.corpus import Corpus, CorpusError, read_corpus, standard_library
from farwide.data.images import LabelledImages, balanced, digits, fashion_mnist
from farwide.data.locate import DataError, locate
from farwide.data.task import Batch, Task
from farwide.data.windows import Windows, validation_windows

__all__ = [
    "Batch",
    "Corpus",
    "CorpusError",
    "DataError",
    "LabelledImages",
    "Task",
    "Windows",
    "balanced",
    "cifar10",
    "digits",
    "fashion_mnist",
    "locate",
    "read_corpus",
    "standard_library",
    "validation_windows",
]
