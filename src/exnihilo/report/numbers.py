"""How numbers are written for a reader: four significant digits, a true minus, powers of ten instead of ``e-07``."""

import math
import re

from exnihilo.claims.records import Value

MISSING = "–"
# A number in the notation of code, and the hyphen that stands before a number and behind no word.
_POWER = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)e([+-]\d+)(?!\w)")
_MINUS = re.compile(r"(?<![\w.)\]])-(?=\d)")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def shown(value: Value) -> str:
    """A value as a reader sees it.

    Floats keep four significant digits; outside 1e-3 … 1e6 they are powers of ten. A missing value is a dash.

    Example:
        >>> [shown(v) for v in (None, True, 1234567, 0.97512, -0.5, 1.5e-7, 0.0, float("nan"), float("inf"))]
        ['–', 'yes', '1,234,567', '0.9751', '−0.5', '1.5×10⁻⁷', '0', 'NaN', '∞']
    """
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    return _float(value)


def _float(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    magnitude = abs(value)
    if magnitude == 0.0:
        return "0"
    if 1e-3 <= magnitude < 1e6:
        text = f"{value:,.0f}" if magnitude >= 999.95 else f"{value:.4g}"
        return text.replace("-", "−")
    mantissa, exponent = f"{magnitude:.2e}".split("e")
    return ("−" if value < 0 else "") + _power(mantissa.rstrip("0").rstrip("."), int(exponent))


def retyped(text: str) -> str:
    """Text in which the numbers that code wrote stand as ``shown`` writes them: a true minus, powers of ten.

    Example:
        >>> retyped("Noise of 1e-08 to 3.5e+06, from -46 to -15 points; 1e-6")
        'Noise of 10⁻⁸ to 3.5×10⁶, from −46 to −15 points; 10⁻⁶'
    """
    return _MINUS.sub("−", _POWER.sub(lambda found: _power(found[1], int(found[2])), text))


def _power(mantissa: str, exponent: int) -> str:
    power = "10" + str(exponent).translate(_SUPERSCRIPTS)
    return power if mantissa == "1" else f"{mantissa}×{power}"


def interval_shown(interval: tuple[float, float] | None) -> str:
    """An interval in brackets, or a dash.

    Example:
        >>> interval_shown((-0.012, 0.034)), interval_shown(None)
        ('[−0.012, 0.034]', '–')
    """
    return MISSING if interval is None else f"[{shown(float(interval[0]))}, {shown(float(interval[1]))}]"


def failures_shown(failures: tuple[int, int] | None) -> str:
    """Failed runs of the one side and of the other, or a dash.

    Example:
        >>> failures_shown((3, 0)), failures_shown(None)
        ('3 / 0', '–')
    """
    return MISSING if failures is None else f"{shown(failures[0])} / {shown(failures[1])}"


def duration_shown(seconds: float) -> str:
    """A wall time.

    Example:
        >>> [duration_shown(s) for s in (0.42, 59.6, 221.0, 7260.0)]
        ['0.4 s', '1 min', '3 min 41 s', '2 h 1 min']
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest if not hours else 0, "s")]
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount)
