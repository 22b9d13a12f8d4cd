from __future__ import annotations

import random

import pytest

from farwide.tables.formula import parse_formula

COLUMNS = {"N": 3.0, "D": 5.0, "a.b": 7.0, "val/loss": 11.0, "zero": 0.0, "big": 1e300}
GOOD = {
    "6*N*D": 90.0,
    "D/N": 5 / 3,
    "N/1e3": 0.003,
    "-N + +D": 2.0,
    "2**N**0.5": 2**3**0.5,
    "(N - D)*a.b": -14.0,
    "'val/loss'*2": 22.0,
    '"a.b"': 7.0,
    " 1_000 ": 1000.0,
    "0x10": 16.0,
}


@pytest.mark.parametrize("text", GOOD)
def test_values(text):
    assert parse_formula(text).value(COLUMNS.__getitem__) == pytest.approx(GOOD[text], rel=1e-15)


def test_the_columns_that_are_read():
    assert parse_formula("6*N*D + N*a.b - 'val/loss'").names == ("N", "D", "a.b", "val/loss")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("N/zero", "divides by zero"),
        ("zero**-1", "divides by zero"),
        ("big*big", "too large"),
        ("big**N", "too large"),
        ("(-N)**0.5", "not a real number"),
        ("big*big - big*big", "not a real number"),
    ],
)
def test_what_has_no_value(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_formula(text).value(COLUMNS.__getitem__)


REFUSED = [
    "", " ", "6*", "N D", "f(N)", "__import__('os').system('x')", "N[0]", "N if D else 1", "N > D",
    "N // D", "N % D", "N and D", "not N", "~N", "[N]", "{N}", "lambda: 1", "N := 1", "a.b()",
    "1j", "True", "None", "...", "b'x'", "f'{N}'", "''", "1e999", "9" * 400, "(N).real()", "1 .b",
    "N\x00", "N;D", "(" * 5000 + "N" + ")" * 5000, "-" * 900 + "N", "N+" * 400 + "N", "N" * 1001,
    "a[" * 300 + "1" + "]" * 300,
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:12])
def test_what_is_no_formula(text):
    with pytest.raises(ValueError, match=r"is no formula") as caught:
        parse_formula(text)
    assert len(str(caught.value)) < 250


def test_no_text_does_more_than_arithmetic():
    rng = random.Random(3)
    parts = ["N", "D", "1", "2.5", "1e3", "+", "-", "*", "/", "**", "(", ")", ".", "'", ",", " ",
             "x.y", "exit", "()", "[", "]", "\\", "\n", "=", "1e400", "0"]  # fmt: skip
    fine = 0
    for _ in range(5000):
        text = "".join(rng.choice(parts) for _ in range(rng.randrange(1, 12)))
        try:
            value = parse_formula(text).value(lambda name: 2.0)
        except ValueError:
            continue
        assert isinstance(value, float)
        fine += 1
    assert fine > 200
