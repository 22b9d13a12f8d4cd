"""Numbers as a reader wants them: as many digits as their uncertainty deserves."""

from __future__ import annotations

import math

MINUS = "−"


def digits_for(width: float) -> int:
    """Decimals that show an uncertainty of `width` to two significant digits; 0 to 8."""
    if not (math.isfinite(width) and width > 0):
        return 3
    return min(8, max(0, 1 - math.floor(math.log10(width))))


def fixed(value: float, decimals: int) -> str:
    """A number with that many decimals, a true minus sign, and no negative zero."""
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{value:,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace(",", " ").replace("-", MINUS)


def loss(value: float, uncertainty: float | None = None) -> str:
    """A loss in nats per byte: to two digits of its uncertainty, three decimals without one."""
    return fixed(value, min(4, max(2, digits_for(uncertainty))) if uncertainty else 3)


def estimate(value: float, low: float | None, high: float | None) -> tuple[str, str]:
    """A value and its interval, with a tenth or less of the interval's width as last digit.

    An interval over more than a factor of 10 has no common last digit: each number then has two
    significant digits of its own. The interval is '' where there is none.
    """
    if low is None or high is None:
        return scientific(value, 4), ""
    if (low > 0 and high / low > 10) or max(abs(value), abs(low), abs(high)) >= 1e4:
        return scientific(value, 2), f"{scientific(low, 2)} to {scientific(high, 2)}"
    decimals = min(4, digits_for((high - low) / 2))
    return fixed(value, decimals), f"{fixed(low, decimals)} to {fixed(high, decimals)}"


def scientific(value: float, digits: int = 3) -> str:
    """Up to `digits` significant digits; a power of ten outside 0.001 to 100,000."""
    from farwide.plotting.style import SUPERSCRIPTS

    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else fixed(value, 0)
    if 1e-3 <= abs(value) < 1e5:
        return fixed(value, max(0, digits - 1 - math.floor(math.log10(abs(value)))))
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = str(int(exponent)).translate(SUPERSCRIPTS)
    return f"{mantissa} × 10{power}".replace("-", MINUS)


def percent(value: float, *, signed: bool = False, digits: int = 2) -> str:
    """A fraction as percent with `digits` significant digits, at most 2 decimals."""
    shown = 100 * value
    if not math.isfinite(shown):
        return fixed(shown, 0)
    size = math.floor(math.log10(abs(shown))) if abs(shown) >= 0.01 else -2
    text = fixed(shown, min(2, max(0, digits - 1 - size)))
    return (f"+{text}" if signed and shown > 0 and text.strip("0.") else text) + "%"


def signed_percent(value: float) -> str:
    """A fraction as percent with a sign and two decimals, for a column."""
    text = fixed(100 * value, 2)
    return (f"+{text}" if value > 0 and text != "0.00" else text) + "%"


def factor(value: float) -> str:
    """A ratio: '3.4', '12', '0.8'."""
    return fixed(value, 0 if value >= 9.95 else (1 if value >= 0.95 else 2))


def count(value: float) -> str:
    """A whole number in groups of three."""
    return fixed(value, 0)


def seconds(value: float) -> str:
    """A duration: '42 s', '3 min 20 s', '2 h 05 min'."""
    whole = round(value)
    if whole < 1:
        return f"{value:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
