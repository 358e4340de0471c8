"""Parse the unit of a number: known units are compared and converted, unknown words are dropped."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from r1kit.rewards.math.notation import TEXT

_TABLE = {  # dimension: {factor to its base: names}
    "length": {"1e-3": "mm millimeter millimetre 毫米", "1e-2": "cm centimeter centimetre 厘米", "1e-1": "dm 分米"}
    | {"1": "m meter metre 米", "1e3": "km kilometer kilometre 千米 公里", "0.0254": "inch inches in 英寸"}
    | {"0.3048": "ft foot feet 英尺", "0.9144": "yd yard", "1609.344": "mi mile 英里"},
    "mass": {"1e-3": "mg milligram 毫克", "1": "g gram 克", "1e3": "kg kilogram 千克 公斤", "1e6": "ton tonne 吨"},
    "time": {"1e-3": "ms", "1": "s sec second 秒 秒钟", "60": "min minute 分钟", "3600": "h hr hour 小时"}
    | {"86400": "day 天", "604800": "week 周 星期"},
    "volume": {"1e-3": "mL ml milliliter millilitre 毫升", "1": "L l liter litre 升"},
    "money": {"0.01": "cent ¢", "1": "¤ dollar usd USD"},
    "yuan": {"0.1": "角", "1": "¥ yuan RMB CNY 元 块 块钱 人民币"},
    "euro": {"1": "€ euro EUR"},
    "pound": {"1": "£ GBP"},
    "angle": {"1": "° deg degree 度"},
    "Celsius": {"1": "°C"},
    "Fahrenheit": {"1": "°F"},
    "force": {"1": "N newton 牛"},
    "energy": {"1": "J joule 焦", "1e3": "kJ"},
}
ANGLE = "angle1/"  # `Unit.dimension` of degrees
_SHORT = {"mph": "mi/h", "kph": "km/h", "kmph": "km/h"}


class Unit(NamedTuple):
    """A known unit: its dimension (numerator, exponent, "/", denominator) and its size in base units."""

    dimension: str
    factor: Fraction


_KNOWN = {
    name + plural: Unit(dimension, Fraction(factor))
    for dimension, names in _TABLE.items()
    for factor, line in names.items()
    for name in line.split()
    for plural in (("", "s") if name.isascii() and len(name) > 2 else ("",))
}
_SUFFIX = re.compile(
    rf"(?:{TEXT}[A-Za-z./° \u4e00-\u9fff^\d-]+{TEXT}"  # \text{{ any words}}
    r"|(?<=[\d}]) [A-Za-z][A-Za-z./ ]*|(?<=[\d}])[A-Za-z]{2,}(?:/[a-z]+)?"  # 5 apples, 5 m/s; 5km/h
    r"|(?<=[\d}]) ?[\u4e00-\u9fff]{1,6}|¤|¥|€|£|¢|°[CF]?)(?:\^?\{?[23]\}?)?$"
)
# One English word, not a product of variables or a function.
_WORD = re.compile(r"(?!(?:arc|a)?(?:sin|cos|tan|log|ln|exp|sqrt|pi))(?=[^ ]*[aeiouy])[A-Za-z]{3}[A-Za-z./ ]*")
_TRIGONOMETRIC = re.compile("sin|cos|tan|cot|sec|csc")  # the degree sign of sin 45° is not a unit
_PREFIX = re.compile(rf"-?{TEXT}?(?:US|USD|RMB|CNY)?{TEXT}?[¤¥€£]|{TEXT}?(?:USD|RMB|CNY|EUR){TEXT}?")
# Words after a number that change or retract it, so they are not units.
_NO_UNIT = re.compile(
    r"\b(?:[ap]\.?m|or|and|not|no|to|point|plus|minus|times|over|half|squared|cubed|factorial|mod|modulo|base|if|else|wait|maybe|"
    r"perhaps|either|but|rather|instead|possibly|alternatively|actually|less|more|than|least|most|percent|"
    r"zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty)\b"
    r"|\b(?:dozen|hundred|thousand|[mb]illion|trillion|halve|third|quarter)s?\b"
    r"|\b(?:four|fif|six|seven|eigh|nin|ten|hundred|thousand|[mb]illion|)ths?\b|[十百千万亿或和不半点又至到余多]"
)


def split_unit(text: str) -> tuple[str, Unit | None]:
    """Remove the unit and other words at the ends of a single value; return the unit if it is known."""
    unit = None
    if prefix := _PREFIX.match(text):
        unit, text = _unit(prefix[0].replace("-", "")), "-" * prefix[0].startswith("-") + text[prefix.end() :]
    suffix = _SUFFIX.search(text)
    is_angle = suffix and suffix[0] == "°" and _TRIGONOMETRIC.search(text)
    if suffix and not is_angle and re.search(r"[\d}]", text[: suffix.start()]):
        suffix_unit, words = _unit(suffix[0]), suffix[0].replace(TEXT, "").strip()
        if suffix_unit or (_is_droppable(suffix[0], words) and not _NO_UNIT.search(words.lower())):
            unit, text = suffix_unit or unit, text[: suffix.start()]
    return text.replace(TEXT, "").strip(), unit


def _is_droppable(suffix: str, words: str) -> bool:
    r"""Return whether a suffix is plain words: in \text{}, one English word, or Chinese."""
    in_text = suffix.startswith(TEXT) and len(words) > 1 and not re.search(r"(?<![A-Za-z^-])\d", words)
    is_word = suffix[0] == " " and _WORD.fullmatch(words)
    return bool(in_text or is_word or re.fullmatch("[\u4e00-\u9fff]+", words))


def _unit(text: str) -> Unit | None:
    """Parse a unit such as m, cm^2, square meters, km/h or 平方米; None if it is unknown."""
    text = text.replace(TEXT, "").strip()
    numerator, per, denominator = _SHORT.get(text, re.sub(r" per |每", "/", text)).partition("/")
    power = re.fullmatch(r"(?:(square|sq\.?|平方)|(cubic|立方))? ?(\S+?)(?:\^?\{?([23])\}?)?", numerator.strip())
    if not power or not (known := _KNOWN.get(power[3]) or _KNOWN.get(power[3].lower())):
        return None
    exponent = 2 if power[1] else 3 if power[2] else int(power[4] or 1)
    dimension, factor = f"{known.dimension}{exponent}", known.factor**exponent
    if dimension == "length3":  # a cubic metre is 1000 litres
        dimension, factor = "volume1", factor * 1000
    divisor = _unit(denominator) if per else Unit("", Fraction(1))
    return divisor and Unit(f"{dimension}/{divisor.dimension}", factor / divisor.factor)
