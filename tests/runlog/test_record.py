from __future__ import annotations

import json
import math

import pytest

from farwide.runlog import LogError, Record
from farwide.runlog.record import REQUIRED
from tests.runlog.folders import records

GOOD = records("r", 4000, 130_000, 2.0)[0]


def test_a_record_survives_its_line():
    assert Record.parse(GOOD.to_json()) == GOOD
    evaluated = GOOD._replace(validation_loss=2.25, run="größe \ud800")
    assert Record.parse(evaluated.to_json()) == evaluated
    assert "\n" not in evaluated.to_json()


def test_the_line_has_exactly_the_fields_of_the_schema():
    obj = json.loads(GOOD.to_json())
    assert list(obj) == ["schema", *REQUIRED]
    assert obj["schema"] == 1


def test_metrics_are_optional_and_survive():
    measured = GOOD._replace(metrics={"accuracy": 0.5, "noise_scale": math.nan})
    assert json.loads(measured.to_json())["metrics"] == {"accuracy": 0.5, "noise_scale": None}
    back = Record.parse(measured.to_json()).metrics
    assert back is not None
    assert back["accuracy"] == 0.5
    assert math.isnan(back["noise_scale"])
    assert Record.parse(GOOD.to_json()).metrics is None


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_diverged_loss_is_null(loss):
    line = GOOD._replace(train_loss=loss, validation_loss=loss).to_json()
    assert json.loads(line)["train_loss"] is None
    back = Record.parse(line)
    assert math.isnan(back.train_loss)
    assert back.validation_loss is None


BAD = {
    "NaN": ({"train_loss": math.nan}, "NaN"),
    "Infinity": ({"validation_loss": math.inf}, "Infinity"),
    "text": ({"train_loss": "2.0"}, 'train_loss is "2.0"; expected a number'),
    "boolean": ({"tokens": True}, "tokens is true; expected a number"),
    "fraction": ({"step": 1.5}, "step is 1.5; expected a whole number"),
    "negative": ({"step": -1}, "step is -1"),
    "no parameters": ({"params_total": 0}, "params_total is 0"),
    "huge": ({"tokens": 10**400}, "tokens is an integer of"),
    "negative time": ({"wall_seconds": -1.0}, "wall_seconds is -1.0"),
    "empty name": ({"run": ""}, 'run is ""'),
    "name is a list": ({"run": ["r"]}, 'run is ["r"]'),
    "unknown field": ({"gpu": 1}, "unknown field gpu"),
    "other schema": ({"schema": 2}, "schema is 2; this version reads 1"),
    "metrics is a list": ({"metrics": [1]}, "metrics is [1]; expected an object of numbers"),
    "metric is a text": ({"metrics": {"a": "b"}}, 'in metrics, a is "b"; expected a number'),
    "metric without name": ({"metrics": {"": 1}}, 'in metrics, a name is ""'),
    "null tokens": ({"tokens": None}, "tokens is null"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_field_is_named_with_file_and_line(case):
    change, reason = BAD[case]
    line = json.dumps({**json.loads(GOOD.to_json()), **change})
    with pytest.raises(LogError) as caught:
        Record.parse(line, "some/metrics.jsonl", 7)
    assert str(caught.value).startswith("some/metrics.jsonl:7: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "3", "nul", '{"a":1}', '{"a":1,"a":2}', "[" * 100_000, "9" * 5000]
)
def test_a_line_that_is_no_record_is_a_log_error(line):
    with pytest.raises(LogError, match=r"^m\.jsonl:3: "):
        Record.parse(line, "m.jsonl", 3)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_field_is_named(name):
    obj = {"schema": 1, **GOOD._asdict()}
    del obj[name]
    with pytest.raises(LogError, match=f"missing {name}"):
        Record.parse(json.dumps(obj))
