"""Normalise the notation of final answers: LaTeX delimiters, spacing, styles, synonyms and Unicode."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from r1kit.rewards.math.forms.symbols import CHARACTERS, FUNCTION_WORDS, SYNONYMS

# Private-use characters: the end of a matrix row, and both ends of the contents of \text{}.
ROW, TEXT = "\ue000", "\ue001"

_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "₀₁₂₃₄₅₆₇₈₉"
_CHARACTERS = str.maketrans(
    CHARACTERS
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff" + ROW + TEXT, "")
    | {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full width
)
_WORDS = r"\\(?:text(?:bf|it|rm|normal|sf|tt|sl|sc|up)?|emph|mbox|hbox|mathrm|operatorname)(?![a-zA-Z])\*?\s*"
_INSIDE = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
_LETTERS = r"\\(?:math(?:bf|it|sf|bb|cal|tt|scr|frak)|boldsymbol|bm|(?:wide)?hat|underline|vec)(?![a-zA-Z])\s*"
_VECTOR = r"\\(?:vec|overrightarrow|mathbf|boldsymbol|bm)\s*\{?\s*([A-Za-z])\s*\}?"


def _renamed(match: re.Match[str]) -> str:
    name = match[1]
    if len(name) == 3 and name[:2] in ("le", "ge") and name not in SYNONYMS:  # \lex: a missing space after \le
        return SYNONYMS[name[:2]] + name[2]
    return SYNONYMS.get(name, match[0])


def _rows_as_list(match: re.Match[str]) -> str:
    return ",".join(row.strip(" ,") for row in match[1].split(ROW) if row.strip())


# (needle, pattern, replacement): a rule applies only to texts that contain its needle.
_Rules = tuple[tuple[str, str, str | Callable[[re.Match[str]], str]], ...]
_COMMAND_RULES: _Rules = (
    ("\\\\", r"\\\\(?:\s*\[[\d.]+ ?(?:mm|cm|pt|em|ex)\])?", ROW),
    ("\\cr", r"\\cr(?![a-z])", ROW),
    ("\\phantom", r"\\[hv]?phantom\s*\{[^{}]*\}", ""),
    ("fcolorbox", r"\\fcolorbox\s*\{[^{}]*\}\s*\{[^{}]*\}", ""),
    ("\\verb", r"\\verb\*?([|!+/])([^|!+/]*)\1", r"\2"),
    ("color", r"\\(?:(?:text)?color|colorbox)\s*\{[^{}]*\}", ""),
    ("\\|", r"\\\|", "‖"),
    ("{", _WORDS + r"\{\s*(and|or)\s*\}", r" \1 "),
    ("{", _WORDS + r"\{\s*[和或]\s*\}", ","),
    ("min", rf"(?<=\d)((?:[\s~]|\\[,;: ])*){_WORDS}\{{\s*min\s*\}}", rf"\1{TEXT} min{TEXT}"),
    ("{", _WORDS + rf"\{{\s*({'|'.join(FUNCTION_WORDS)})\s*\}}", r"\\\1 "),
    ("{", r"\\(?:mathrm|text)\s*\{([ei])\}", r" \1"),
    ("{", _WORDS + _INSIDE, rf"{TEXT}\1{TEXT}"),
    ("\\times", _VECTOR + r"\s*(?:\\times(?![a-z])|\*)\s*" + _VECTOR, r"\\cross{\1}{\2}"),
    ("{", r"\\(?:vec|overrightarrow)\s*\{\s*([A-Z])\s*([A-Z])\s*\}", r"\\vector{\1\2}"),
    ("\\overrightarrow", r"\\overrightarrow(?![a-zA-Z])", r"\\vec"),
    ("\\dot", r"\\dot\s*(\d)", r"\\dot{\1}"),
    ("\\dot", r"\\dot\{(\d)\}(\d*)\\dot\{(\d)\}", r"\\overline{\1\2\3}"),
    ("", _LETTERS + r"(?:\{([^{}]*)\}|([A-Za-z])(?![A-Za-z]))", r" \1\2"),
    ("\\begin", r"\\begin\{(?:cases|aligned|gathered)\}([^&]*?)\\end\{(?:cases|aligned|gathered)\}", _rows_as_list),
    ("\\begin{cases}", r"\\begin\{cases\}(.*?)\\end\{cases\}", r"\\cases{\1}"),
    ("t.", r"\\(?:left|right)\.", ""),
    ("\\not", r"\\not\s*=", "≠"),
    ("<", r"\\not\s*<", "≥"),
    (">", r"\\not\s*>", "≤"),
    ("", r"\\([A-Za-z]+)", _renamed),
    ("", r"\\[()\[\]]", ""),
    ("$", r"\\\$", "¤"),
    ("\\!", r",\\!\s*", ","),
    ("", r"\\[,;:! ]|\\[hv]space\*?\{[^{}]*\}", " "),
    ("", r"\\([%<>])", r"\1"),
    ("\\}", r"\\\{\s*\\\}", r"\\emptyset"),
    ("\\root", r"\\root\s*\{?(\d)\}?\s*\\of\s*(\d|\{[^{}]*\})", r"\\sqrt[\1]\2"),
    ("\\over", r"^([^{}\\]+?)\\over(?![a-zA-Z])([^{}\\]+)$", r"\\frac{\1}{\2}"),
    ("\\over", r"\{([^{}]*)\\over(?![a-zA-Z])([^{}]*)\}", r"\\frac{\1}{\2}"),
    ("\\choose", r"\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}", r"\\binom{\1}{\2}"),
)
_COMMANDS = [(needle, re.compile(pattern), replacement) for needle, pattern, replacement in _COMMAND_RULES]
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_BASES |= {"twelve": 12, "sixteen": 16}
_SIGN_RULES: _Rules = (
    ("$", r"\$", ""),
    ("(", r"^(-?\d+\.\d*)\((\d{1,9})\)$", r"\1\\overline{\2}"),  # 0.1(6)
    ("...", r"(?<!\d)(\d+\.\d*?)(\d{2,6})\2+ ?\.\.\.", r"\1\\overline{\2}"),  # 0.4545...
    ("{", rf"{TEXT}[\s.,;]*{TEXT}\s*$", ""),
    ("{", r"\{\s*([:;])\s*\}", r"\1"),
    ("{", r"\{\s+\}", " "),
    ("{", r"(?<=[-+=(,<>])\{(\d+)\}", r"\1"),
    ("{", r"(?<=\d)\{(\\frac\{\d+\}\{\d+\})\}", r"\1"),
    ("{10}", r"(\*|\\(?:cdot|times))\s*\{10\}(?=\^)", r"\1 10"),
    ("/", r"(?:\{\})?\^\{?(-?\d+)\}? ?/ ?_\{?(\d+)\}?", r"\\frac{\1}{\2}"),
    ("frac ", r"\\frac\s+(?=\d)", r"\\frac"),
    ("sqrt", r"(?<![\\A-Za-z])sqrt ?(\d+)", r"\\sqrt{\1}"),
    ("cbrt", r"(?<![\\A-Za-z])cbrt ?\(", r"\\sqrt[3]("),
    ("a", r"(?<![A-Za-z\\])a(sin|cos|tan)(?=[ (\\])", r"\\arc\1"),
    ("_", r"\(([\dA-F]+)\)(?=_)", r"\1"),
    ("_", r"(?<=[\dA-F])_\{\((\d+)\)\}", r"_{\1}"),
    ("base", rf"(?<=[\dA-F]) ?(?:_\{{)?{TEXT}? ?\(?(?:in )?base[ -]?(\d+)\)?{TEXT}?\}}?$", r"_{\1}"),
    (
        "_{" + TEXT,
        rf"(?<=\d)_\{{{TEXT}({'|'.join(_BASES)}){TEXT}\}}",
        lambda match: f"_{{{_BASES[str(match[1])]}}}",
    ),
    ("+", r"\+ ?/ ?-", r"\\pm "),
    ("'", r"(?<![\d'])\d{1,3}(?:'\d{3})+(?![\d'])", lambda match: match[0].replace("'", "")),
    (",", r"^-?\d{1,3}(?:\.\d{3})+,\d+$", lambda match: match[0].replace(".", "").replace(",", ".")),
    (".", r"^-?\d{1,3}(?:\.\d{3}){2,}$", lambda match: match[0].replace(".", "")),
    (".", r"(?<![\d.])\d+\.\d{3}(?: \d{3})* \d{1,3}(?![\d/])", lambda match: match[0].replace(" ", "")),
    ("{", r"(?<=\d)\s*\{\s*,\s*\}\s*(?=\d)", ","),
    ("{,}", r"\{,\}", ","),
    ("overline", r"\\overline ?([A-Za-z])(?![A-Za-z])", r"\\overline{\1}"),
    ("_", r"(?<=[A-Za-z}])\s+_\s*", "_"),
    ("C", r"(?:\{\})?[_^]\{?(\w+)\}?C_\{?(\w+)\}?", r"\\binom{\1}{\2}"),
    ("^", r"\^\s*\{?\s*([°'])\s*\}?", r"\1"),
    ("°", rf"°\s*{TEXT}?\s*([CF]){TEXT}?(?![a-z])", r"°\1"),
    ("<=", r"<=", "≤"),
    (">", r">=|=>", "≥"),
    ("!=", r"!=", "≠"),
    ("percent", r" ?\bpercent\b", "%"),
    ("U", r"(?<=[)\]}]) ?U ?(?=[(\[{])", "∪"),
    ("^", r"([A-Za-z])\^(\w|\{[^{}]*\})_(\w|\{[^{}]*\})", r"\1_\3^\2"),
    ("{", r"([\^_])\{(\w)\}(?!\w)", r"\1\2"),
    ("", r"[\s~]+", " "),
    (" ", r"(?<=\d) (?=\d{3}(?![\d/]))(?<![./]\d )", ""),  # 12 345 678
    ("_", r"(?<=\d)_(?=\d{3})", ""),
    ("**", r"(?<=[\w)])\*\*(?=[\w(])", "^"),
    (" ", r"(?<=\d) (?=[十百千万亿])", ""),
    ("10^", r"(?<=\d) ?[xX] ?(?=10\^)", "*"),  # 3 x 10^5
    ("", rf"(?<=\d) ?{TEXT}? ?([aApP])\.?[mM]\.?{TEXT}?$", lambda match: f"{match[1].lower()}m"),  # 8:15 a.m.
)
_SIGNS = [(needle, re.compile(pattern), replacement) for needle, pattern, replacement in _SIGN_RULES]
_POWERS = [
    (re.compile(r"([√∛∜])\s*(\d+(?:\.\d+)?)"), lambda match: f"{match[1]}{{{match[2]}}}"),
    (re.compile(f"[{_RAISED}]+"), lambda match: "^{" + unicodedata.normalize("NFKC", match[0]).replace("−", "-") + "}"),
    (re.compile(f"[{_LOWERED}]+"), lambda match: "_{" + unicodedata.normalize("NFKC", match[0]) + "}"),
    (
        re.compile("[¼-¾⅐-⅞]"),
        lambda match: r"\frac{{{}}}{{{}}}".format(*unicodedata.normalize("NFKC", match[0]).split("⁄")),
    ),
]
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_LOOSE_SPACE = re.compile(r" (?!\w)|(?<!\w) ")  # spaces matter between words or numbers only
_ARTICLE = re.compile(rf"^{TEXT}?(?:an?|the) (?=[a-z]{{3}})", re.IGNORECASE)
_SIMPLE = re.compile(r"-?\d+(?:\.\d+)?|[A-Za-z]+")  # already normal
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z{}%$,;!()\[\]])")


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """Return the answer in normal form. Units stay: `units` handles them for single values."""
    if _SIMPLE.fullmatch(text):
        return text
    if r"\begin" not in text:  # no matrix rows: "\\\\" is a command escaped twice, as by JSON in JSON
        text = _DOUBLED.sub(r"\\", text)
    if len(re.findall(r"(?<!\\)\$", text)) % 2:  # an unpaired dollar sign is a currency
        text = re.sub(r"(?<!\\)\$(?=\d)", r"\\$", text, count=1)
    if not text.isascii():
        for powers, written in _POWERS:
            text = powers.sub(written, text)
        text = text.translate(_CHARACTERS)
    for needle, pattern, replacement in (_COMMANDS if "\\" in text else []) + _SIGNS:
        if needle in text:
            text = pattern.sub(replacement, text)
    if not re.search(r"[(\[]|\\\{", text):  # but (1,234) is a pair
        text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    recurring = "..." if re.search(r"\d\.\.\. *$", text) else ""  # keep the dots of 0.333...
    text = text.lstrip(" *").rstrip(" .,;:*\\") + recurring
    return _LOOSE_SPACE.sub("", text.strip())


def plain_text(text: str) -> str:
    """Fold words: no case, spaces, hyphens or quotation marks. Other text stays unchanged, as x is not X."""
    letters = re.sub(r"[\s\"'`-]|" + TEXT, "", _ARTICLE.sub("", text))
    return letters.casefold() if letters.isalpha() and (len(letters) > 2 or letters.lower() == "no") else text
