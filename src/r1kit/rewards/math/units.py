r"""Parse the unit of a number: known units are compared and converted, unknown words are dropped.

A unit may be compound, in any notation: km/h, N\cdot m, J mol^{-1} K^{-1}, square metres, 平方米.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from r1kit.rewards.math.forms.words import alters
from r1kit.rewards.math.notation import TEXT

_TABLE = {  # dimension: {factor to its base: names}
    "length": {"1e-1": "分米", "1e-3": "毫米", "1e-2": "厘米", "1": "meter metre 米", "1e3": "千米 公里"}
    | {"0.0254": "inch inches in 英寸", "0.3048": "ft foot feet 英尺", "0.9144": "yd yard", "1609.344": "mi mile 英里"},
    "mass": {"1e-3": "毫克", "1": "gram 克", "1e3": "千克 公斤", "1e6": "ton tonne 吨", "453.59237": "lb pound"}
    | {"28.349523125": "oz ounce"},
    "time": {"1": "sec second 秒 秒钟", "60": "min minute 分钟", "3600": "h hr hour 小时"}
    | {"86400": "day 天", "604800": "week 周 星期"},
    "length^3": {"1e-6": "毫升 cc", "1e-3": "l liter litre 升"},
    "money": {"0.01": "cent ¢", "1": "¤ dollar usd USD"},
    "yuan": {"0.1": "角", "1": "¥ yuan RMB CNY 元 块 块钱 人民币"},
    "euro": {"1": "€ euro EUR"},
    "sterling": {"1": "£ GBP"},
    "angle": {"1": "° deg degree 度"},
    "radian": {"1": "rad radian 弧度"},
    "Celsius": {"1": "°C"},
    "Fahrenheit": {"1": "°F"},
    "temperature": {"1": "kelvin"},
    "length mass time^-2": {"1e3": "newton 牛"},
    "length^2 mass time^-2": {"1e3": "joule 焦"},
}
_SYMBOLS: dict[str, tuple[str, int | Fraction]] = {  # units that take a metric prefix; the gram is the base of mass
    "m": ("length", 1), "g": ("mass", 1), "s": ("time", 1), "L": ("length^3", Fraction(1, 1000)),
    "A": ("current", 1), "V": ("length^2 mass time^-3 current^-1", 1000), "K": ("temperature", 1),
    "N": ("length mass time^-2", 1000), "J": ("length^2 mass time^-2", 1000), "W": ("length^2 mass time^-3", 1000),
    "Pa": ("mass length^-1 time^-2", 1000), "Hz": ("time^-1", 1), "C": ("current time", 1),
    "Ω": ("length^2 mass time^-3 current^-2", 1000), "mol": ("amount", 1), "eV": ("electronvolt", 1),
    "cal": ("calorie", 1), "F": ("current^2 time^4 length^-2 mass^-1", Fraction(1, 1000)),
    "T": ("mass current^-1 time^-2", 1000),
}  # fmt: skip
_PREFIXES: dict[str, int | Fraction] = {
    "": 1,
    "n": Fraction(1, 10**9),
    "µ": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "c": Fraction(1, 100),
}
_PREFIXES |= {"d": Fraction(1, 10), "k": 1000, "M": 10**6, "G": 10**9}
_WRITTEN_PREFIXES = {"milli": "1e-3", "centi": "1e-2", "kilo": "1e3", "nano": "1e-9", "micro": "1e-6", "mega": "1e6"}
_SHORT = {"mph": "mi/h", "kph": "km/h", "kmph": "km/h"}
_UNPREFIXED = {"F", "T"}  # a bare letter is too often a variable
ANGLE, RADIAN = "angle", "radian"  # `Unit.dimension` of degrees and radians


class Unit(NamedTuple):
    """A known unit: its dimension, as sorted base dimensions with exponents, and its size in base units."""

    dimension: str
    factor: Fraction


def _dimension(text: str) -> dict[str, int]:
    pairs = (part.partition("^") for part in text.split())
    return {name: int(exponent or 1) for name, _, exponent in pairs}


def _known_units() -> dict[str, tuple[dict[str, int], Fraction]]:
    units = {
        name + plural: (_dimension(dimension), Fraction(factor))
        for dimension, names in _TABLE.items()
        for factor, line in names.items()
        for name in line.split()
        for plural in (("", "s") if name.isascii() and len(name) > 2 else ("",))
    }
    for symbol, (dimension, factor) in _SYMBOLS.items():
        for prefix, scale in _PREFIXES.items():
            if prefix or symbol not in _UNPREFIXED:
                units.setdefault(prefix + symbol, (_dimension(dimension), Fraction(factor) * scale))
    for written, scale_text in _WRITTEN_PREFIXES.items():
        for name in "meter metre gram liter litre second newton joule".split():
            known = units[name]
            for plural in ("", "s"):
                units[written + name + plural] = (known[0], known[1] * Fraction(scale_text))
    return units


_KNOWN = _known_units()
_WORDS_SUFFIX = re.compile(
    rf"(?:{TEXT}[A-Za-z./'’° \u4e00-\u9fff^\d-]+{TEXT}"  # \text{{ any words}}
    rf"|{TEXT} ?units?{TEXT}\^[23]"
    r"|(?<=[\d}]) [A-Za-z][A-Za-z./' ]*"  # 5 apples
    r"|(?<=\})[a-z]{4}[a-z ]*"
    r"|(?<=[\d}]) ?[\u4e00-\u9fff]{1,6})$"
)
# One English word, not a product of variables or a function.
_WORD = re.compile(r"(?!(?:arc|a)?(?:sin|cos|tan|log|ln|exp|sqrt|pi))(?=[^ ]*[aeiouy])[A-Za-z]{3}[A-Za-z./ ]*")
_TRIGONOMETRIC = re.compile("sin|cos|tan|cot|sec|csc|cis")  # the degree sign of sin 45° is not a unit
_PREFIX = re.compile(rf"-?{TEXT}?(?:US|USD|RMB|CNY)?{TEXT}?[¤¥€£]|{TEXT}?(?:USD|RMB|CNY|EUR){TEXT}?")
_TAIL_START = re.compile(
    rf"(?:(?<=[\d)}}])|(?<=\\pi))(?=[ {TEXT}\\¤¥€£¢°]|[\u4e00-\u9fff])"
    r"|(?:(?<=\d)|(?<=\\pi))(?=[A-Za-z]{2})"
    r"|(?<=[)}])(?=[cdkm]m|kg|[a-z]{3})"  # \frac{1}{2}mg is a product
)
_GLUED = re.compile(r"(?<=[\d)}])(?=[A-Z]$|[a-zA-Z]{1,2}(?:/|$))")
MAX_TAIL = 80  # characters of a unit
_MICRO = re.compile(r"\\mu ?")
_TIMES = re.compile(r"\\(?:cdot|times|ast)(?![a-z]) ?|[*·]")
_ATOM = re.compile(r"([^\d^{}()-]+?)(?:\^?\{?(-?\d)\}?)?")
_FRACTION = re.compile(r"\\frac\{([^{}]*)\}\{((?:[^{}]|\{[^{}]*\})*)\}")
_SQUARE = re.compile(r"(?:square|sq\.?|平方) ?|cubic |立方")


def split_unit(text: str, glued: bool = False) -> tuple[str, Unit | None]:
    """Remove the unit and other words at the ends of a single value; return the unit if it is known.

    glued: Also read a letter that follows the number directly as a unit: 5N.
    """
    unit = None
    if prefix := _PREFIX.match(text):
        unit, text = _unit(prefix[0].replace("-", "")), "-" * prefix[0].startswith("-") + text[prefix.end() :]
    for start in _tail_starts(text, glued):
        tail = text[start:]
        if (tail_unit := _unit(tail)) and not (tail == "°" and _TRIGONOMETRIC.search(text)):
            return text[:start].replace(TEXT, "").strip(), tail_unit
    suffix = _WORDS_SUFFIX.search(text)
    if suffix and re.search(r"[\d}]|\\pi", text[: suffix.start()]):
        words = suffix[0].replace(TEXT, "").strip()
        if _is_droppable(suffix[0], words) and not alters(words):
            text = text[: suffix.start()]
    return text.replace(TEXT, "").strip(), unit


def _tail_starts(text: str, glued: bool) -> list[int]:
    if text[-1:].isdigit() and text.isascii():  # no unit ends in an ASCII digit, except powers
        if "^" not in text[-4:]:
            return []
    elif text[-1:] in ")|":
        return []
    first = max(0, len(text) - MAX_TAIL)
    starts = [match.start() for match in _TAIL_START.finditer(text, first)]
    return starts + ([match.start() for match in _GLUED.finditer(text, first)] if glued else [])


def _is_droppable(suffix: str, words: str) -> bool:
    r"""Return whether a suffix is plain words: in \text{}, one English word, or Chinese."""
    in_text = suffix.startswith(TEXT) and len(words) > 1 and not re.search(r"(?<![A-Za-z^-])\d", words)
    is_word = (suffix[0] == " " or suffix[0].islower()) and _WORD.fullmatch(words)
    return bool(in_text or is_word or re.fullmatch("[\u4e00-\u9fff]+", words))


@lru_cache(maxsize=4096)
def _unit(text: str) -> Unit | None:
    r"""Parse a unit such as m, cm^2, square meters, km/h, N\cdot m or 平方米; None if it is unknown."""
    text = text.replace(TEXT + "^", "^").replace(TEXT, " ").strip()
    text = _TIMES.sub(" ", _MICRO.sub("µ", text.replace(r"\Omega", "Ω").replace("² ", "^2 ")))
    if fraction := _FRACTION.fullmatch(text):
        text = f"{fraction[1].strip()}/{fraction[2].strip()}"
    text = _SHORT.get(text, re.sub(r" ?\bper\b ?|每", "/", text))
    numerator, *denominators = text.split("/")
    total: dict[str, int] = {}
    factor = Fraction(1)
    for part, sign in [(numerator, 1), *((part, -1) for part in denominators)]:
        atoms = _atoms(part.strip(" ()"))
        if atoms is None:
            return None
        for dimension, size, exponent in atoms:
            factor *= size ** (sign * exponent)
            for name, count in dimension.items():
                total[name] = total.get(name, 0) + sign * exponent * count
    names = [name if count == 1 else f"{name}^{count}" for name, count in sorted(total.items()) if count]
    return Unit(" ".join(names), factor)


def _atoms(text: str) -> list[tuple[dict[str, int], Fraction, int]] | None:
    """Return (dimension, size, exponent) of every factor of a product of units; None if one is unknown."""
    power = 1
    if prefix := _SQUARE.match(text):
        power, text = (3 if prefix[0][0] in "c立" else 2), text[prefix.end() :]
    words = re.sub(r"(?<=\})(?=[A-Za-z])|(?<=\^\d)(?=[A-Za-z])", " ", text).split()
    atoms = []
    for word in words:
        match = _ATOM.fullmatch(word)
        known = match and (_KNOWN.get(match[1]) or (_KNOWN.get(match[1].lower()) if len(match[1]) > 1 else None))
        if not match or not known:
            return None
        atoms.append((*known, int(match[2] or 1) * power))
    return atoms or None
