"""Data sources: deterministic, resumable by position, recorded by hash."""

from farwide.data.batching import from_arrays, generated, shuffled
from farwide.data.cifar import cifar10
from farwide.data.copying import delayed_copy, selective_copy
from farwide.data.corpus import Corpus, CorpusError, read_corpus, standard_library
from farwide.data.image_tasks import image_sequence_task, image_task
from farwide.data.images import LabelledImages, balanced, digits, fashion_mnist
from farwide.data.line_digits import LabelledSeries, line_digits
from farwide.data.listops import list_ops
from farwide.data.locate import DataError, locate
from farwide.data.long_range_arena import lra_list_ops, lra_retrieval, lra_text
from farwide.data.mnist_1d import mnist_1d
from farwide.data.pathfinder_files import lra_pathfinder
from farwide.data.paths import pathfinder
from farwide.data.prefetch import batches
from farwide.data.recall import associative_recall, mqar
from farwide.data.snakes import Geometry
from farwide.data.task import Batch, Task
from farwide.data.text import byte_text
from farwide.data.time_series import gun_point, time_series
from farwide.data.windows import Windows, validation_windows

__all__ = [
    "Batch",
    "Corpus",
    "CorpusError",
    "DataError",
    "Geometry",
    "LabelledImages",
    "LabelledSeries",
    "Task",
    "Windows",
    "associative_recall",
    "balanced",
    "batches",
    "byte_text",
    "cifar10",
    "delayed_copy",
    "digits",
    "fashion_mnist",
    "from_arrays",
    "generated",
    "gun_point",
    "image_sequence_task",
    "image_task",
    "line_digits",
    "list_ops",
    "locate",
    "lra_list_ops",
    "lra_pathfinder",
    "lra_retrieval",
    "lra_text",
    "mnist_1d",
    "mqar",
    "pathfinder",
    "read_corpus",
    "selective_copy",
    "shuffled",
    "standard_library",
    "time_series",
    "validation_windows",
]
