"""TensorBoard event files, written by tensorboard's own writer and record by record."""

from __future__ import annotations

import pytest

from farwide.runlog import LogError
from farwide.tables import is_our_runs, read_table
from tests.runlog.folders import write_run
from tests.tables.formats import event, record, scalars

NAME = "events.out.tfevents.1.host"


def _write(folder, *data, name=NAME):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"".join(map(record, (event(file_version="brain.Event:2"), *data))))
    return path


def _curve(steps=(10, 20, 30), **tags):
    return [scalars(step, {"x": float(step), "y": 4 - step / 32, **tags}) for step in steps]


def _read(path, **options):
    return read_table(path, **{"required": ("x", "y"), "rows": "all", **options})


def test_files_of_tensorboards_own_writer(tmp_path):
    from tensorboard.compat.proto import event_pb2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path / "run"))
    for data in _curve():
        writer.add_event(event_pb2.Event.FromString(data))
    writer.close()
    table = _read(tmp_path)
    assert table.columns["y"].tolist() == [3.6875, 3.375, 3.0625]
    assert table.columns["run"].tolist() == [str(tmp_path / "run")] * 3
    (path,) = (tmp_path / "run").iterdir()
    assert _read(path).origin == tuple(f"{path}: step {step}" for step in (10, 20, 30))


def test_tensors_count_as_simple_values_do(tmp_path):
    data = [scalars(step, {"x": step, "y": 1.5}, tensors=True) for step in (1, 2)]
    table = _read(_write(tmp_path, *data))
    assert table.columns["x"].tolist() == [1.0, 2.0]


def test_tags_of_one_step_are_one_row_and_other_steps_are_counted(tmp_path):
    data = [scalars(step, {"x": float(step)}) for step in range(1, 11)]
    data += [scalars(step, {"y": 2.0}) for step in (5, 10)]
    table = _read(_write(tmp_path / "a", *data))
    assert table.columns["x"].tolist() == [5.0, 10.0]
    assert [tuple(removal) for removal in table.removed] == [
        (str(tmp_path / "a"), "8 of 10 steps lack one of x, y")
    ]


def test_what_is_no_scalar_is_no_column(tmp_path):
    path = _write(tmp_path, *_curve(text="hello", histogram=[1.0, 2.0, 3.0]))
    assert len(_read(path)) == 3
    with pytest.raises(LogError, match=r"no column 'histogram'; present: step, wall_time, run, x"):
        _read(path, columns={"x": "histogram"})


def test_the_step_and_a_constant_make_a_law_of_a_curve(tmp_path):
    path = _write(tmp_path, *_curve())
    table = _read(path, columns={"x": "step*512", "N": "1e6"})
    assert table.columns["x"].tolist() == [5120.0, 10240.0, 15360.0]
    assert table.columns["N"].tolist() == [1e6] * 3


def test_hyperparameters(tmp_path):
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import plugin_data_pb2

    hparams = plugin_data_pb2.HParamsPluginData()
    for name, value in {"params": 1_000_000.0, "lr": 0.5}.items():
        hparams.session_start_info.hparams[name].number_value = value
    hparams.session_start_info.hparams["optimizer"].string_value = "adam"
    value = summary_pb2.Summary.Value(tag="_hparams_/session_start_info")
    value.metadata.plugin_data.content = hparams.SerializeToString()
    path = _write(tmp_path, event(summary=summary_pb2.Summary(value=[value])), *_curve())
    table = _read(path, required=("N", "x", "y"), guess=True, where=["hparams.optimizer=adam"])
    assert table.columns["N"].tolist() == [1e6] * 3
    with pytest.raises(LogError, match="no row is left"):
        _read(path, where=["hparams.lr>1"])


def test_a_run_that_was_started_again_counts_as_last_written(tmp_path):
    first = _write(tmp_path, *_curve())
    second = _write(tmp_path, *_curve((20, 30, 40), y=1.0), name=NAME.replace(".1.", ".2."))
    for given in ([tmp_path], [second, first]):
        table = _read(given)
        assert table.columns["y"].tolist() == [3.6875, 1.0, 1.0, 1.0]
        assert len(table.removed) == 4
        where, reason = table.removed[0]
        assert where == f"{first}: record 3"
        assert reason == f"step 20 of x is logged again at {second}: record 2, which counts"


DAMAGE = {
    "empty": (lambda raw: b"", "empty file", 0),
    "text": (lambda raw: b"step,y\n1,2\n3,4\n", "record 1: no event file; the 15 bytes", 0),
    "cut": (lambda raw: raw[:-3], "record 4: the file is cut short", 2),
    "cut in a header": (lambda raw: raw + b"\x01\x02", "record 5: the file is cut short", 3),
    "data": (lambda raw: raw[:-20] + b"#" + raw[-19:], "record 4: damaged (the checksum of its", 2),
    "length": (lambda raw: raw.replace(_length(raw), b"z" * 8, 1), "record 2: damaged", 0),
    "no event": (lambda raw: raw + record(b"\xff\xff\xff"), "record 5: no event in it", 3),
    "no scalars": (lambda raw: record(event(step=1)), "holds no", 0),
}  # fmt: skip


def _length(raw):
    return raw[raw.index(b"brain.Event:2") + 17 :][:8]


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_records_are_named(tmp_path, case):
    damage, reason, left = DAMAGE[case]
    path = _write(tmp_path, *_curve())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(LogError) as caught:
        _read(path)
    if case != "no scalars":
        assert str(caught.value).startswith(f"{path}: {reason}")
    if left:
        table = _read(path, skip_bad=True)
        assert len(table) == left
        assert reason in f"{table.removed[0].where}: {table.removed[0].reason}"
    else:
        with pytest.raises(LogError, match=r"no column|no row|holds no"):
            _read(path, skip_bad=True)


def test_the_header_alone_is_no_run(tmp_path):
    with pytest.raises(LogError, match=r"no column 'x'; present: step, wall_time, run"):
        _read(_write(tmp_path))


def test_folders_of_ours_and_of_tensorboard(tmp_path):
    _write(tmp_path / "tb" / "a", *_curve())
    _write(tmp_path / "tb" / "b", *_curve())
    assert not is_our_runs(tmp_path / "tb")
    assert _read(tmp_path / "tb").columns["run"].tolist() == [
        str(tmp_path / "tb" / run) for run in "aaabbb"
    ]
    write_run(tmp_path / "ours", "a", 4000, 9000, 2.0)
    _write(tmp_path / "ours" / "a", *_curve())
    assert is_our_runs(tmp_path / "ours")
    assert len(read_table(tmp_path / "ours")) == 1
