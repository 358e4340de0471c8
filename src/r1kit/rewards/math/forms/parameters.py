"""Qualifiers behind a formula, integer parameters, constants of integration and congruences."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from r1kit.rewards.math.formula import Unreadable
from r1kit.rewards.math.notation import TEXT
from r1kit.rewards.math.numeric import free_symbols
from r1kit.rewards.math.parser import parse

_DOMAINS = {
    "integer": r"∈ ?Z|(?:is |are )?(?:an |any |arbitrary |some )?integers?|为整数|整数",
    "natural": r"∈ ?(?:N|Z)(?:[_^]?\{?[*+]\}?|_\{?[>≥][01]\}?)?"
    r"|(?:is |are )?(?:a |any )?(?:positive|natural) (?:integers?|numbers?)|[≥] ?1|> ?0|=1,2,(?:3,)?\.\.\.|为正整数",
    "nonnegative": r"∈ ?N_\{?0\}?|(?:is |are )?(?:a |any )?non-?negative integers?|≥ ?0|=0,1,(?:2,)?\.\.\.",
    "excluded": r"≠ ?-?[\w./]+",
    "signed": r"=0,\\pm ?1,(?:\\pm ?2,)?\.\.\.",
    "real": r"∈ ?R|(?:is |are )?(?:a |any )?real(?: numbers?)?"
    r"|(?:is |are )?(?:an? )?(?:arbitrary )?(?:real )?(?:constants?|reals?)",
}
_LINK = r"(?:for|where|with|when|as|and|\\forall|for (?:all|any|every|each|some)|其中|for some (?:real )?constant)"
_QUALIFIER = re.compile(
    rf"[ ,;]*\(?(?:{_LINK} ?)*(?P<noun>(?:an? )?(?:arbitrary )?(?:real )?constant |integers? |positive integers? "
    r"|real(?: number)? |all |any |every )?"
    rf"(?P<name>[A-Za-z](?:_\w)?|\\lambda|\\alpha|\\theta)(?P<domain> ?(?:{'|'.join(_DOMAINS.values())})?)\)?$"
)
_BUILDER = re.compile(r"\\\{([^|:{}]*)[|:] ?([a-z] ?∈ ?[ZN][^{}]*)\\\}")  # {2k+1 | k ∈ Z}
_FOR_ALL = re.compile(r"[ ,;]*\(?(?:\\forall|for (?:all|any|every|each))")
_REMARK = re.compile(
    r"[ ,;]*\(? ?(?:double root|repeated root|twice|with multiplicity (?:2|two)|multiplicity 2|only"
    r"|(?:is )?the (?:(?:only|unique|single) )?(?:real )?(?:solution|root|zero|answer|value)"
    r"|unique|unique solution|double) ?\)?$"
)
_NAMES = r"[a-zA-Z](?:(?:,| ?and|, ?and) ?[a-zA-Z])+"
_CONSTANTS = re.compile(  # where a, b are constants
    r"[ ,;]*\(?(?:where|with|for) ?(?:all |any |some )?(?:arbitrary |real )*"
    rf"(?:constants ({_NAMES})|({_NAMES}) ?"
    r"(?:are (?:any |arbitrary )?(?:real )?(?:constants|reals|real numbers)|∈ ?R))\)?$"
)
_LETTERS = frozenset("kmnlpqt")
_FUNCTION = re.compile(r"[a-zA-Z]\(([a-z])\)=(.*)")
_CONSTANT = re.compile(r"(?<![A-Za-z\\])([CcKkAB](?:_\{?\d\}?)?)(?![A-Za-df-z(_]|e(?!\^))")
_SPELLED_CONSTANT = re.compile(rf"(?<=\+){TEXT}? ?(?:any |an arbitrary )?const(?:ant)?\.? ?{TEXT}?$")
_MODULUS = re.compile(r"(.*?) ?\(?(?:\\p?mod(?![a-z])|mod(?= )) ?\{?(\d+)\}?\)?")
_LEFT = re.compile(r"([a-zA-Z])(?:\\equiv ?|=|≡)(.*)")


class Qualified(NamedTuple):
    """A formula without the qualifier behind it."""

    formula: str
    name: str
    domain: str


def split_qualifier(text: str) -> Qualified:
    """Split "2k+1, k ∈ Z" into the formula, the parameter and its domain; name and domain are empty without one."""
    plain = re.sub(r"\s+", " ", text.replace(TEXT, " ")).strip()
    if builder := _BUILDER.fullmatch(plain):
        plain = f"{builder[1]}, {builder[2]}"
    if remark := _REMARK.search(plain):
        return Qualified(plain[: remark.start()], "", "")
    if constants := _CONSTANTS.search(plain):
        letters = set(re.findall("[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", " ", plain[: constants.start()])))
        if letters.issuperset(re.findall(r"\b[a-zA-Z]\b", constants[1] or constants[2])):
            return Qualified(plain[: constants.start()], "", "")
    for match in _QUALIFIER.finditer(plain):
        formula = plain[: match.start()].strip(" ,;")
        noun, domain = (match["noun"] or "").strip(), match["domain"].strip()
        if not formula or not (domain or noun or _FOR_ALL.match(match[0])):
            continue
        if match["name"] not in (formula if match["name"][0] == "\\" else re.sub(r"\\[a-zA-Z]+", " ", formula)):
            continue
        kind = next((kind for kind, pattern in _DOMAINS.items() if re.fullmatch(pattern, domain)), "")
        if kind == "excluded" and re.search("[<>≤≥≠∈]", formula):
            continue  # part of a set
        kind = "" if kind == "excluded" else kind or {"integer": "integer", "integers": "integer"}.get(noun, "real")
        return Qualified(formula, match["name"], "integer" if kind == "signed" else kind)
    return Qualified(text, "", "")


def compatible(gold: Qualified, answer: Qualified) -> bool:
    """Return whether the domains of two parameters do not contradict each other."""
    pair = {gold.domain, answer.domain} - {""}
    return len(pair) < 2 or pair == {"natural", "nonnegative"}


def rename_candidates(gold: Qualified, answer: Qualified) -> list[str]:
    """Return the answer's formula with its integer parameter renamed, shifted and negated to the gold answer's."""
    names = _parameters(gold), _parameters(answer)
    if gold.domain == "real" or answer.domain == "real":
        names = names[0] or _function_parameter(gold.formula), names[1] or _function_parameter(answer.formula)
    if len(names[0]) != 1 or len(names[1]) != 1:
        return []
    (name,), (other,) = names
    if "integer" in (gold.domain, answer.domain):
        values = [
            name,
            *(f"({name}{shift:+d})" for shift in (1, -1, 2, -2)),
            *(f"({shift}-{name})" for shift in (0, 1, -1)),
        ]
    else:
        values = [name] if name != other else []
    return [_substitute(answer.formula, other, value) for value in values]


def _parameters(text: Qualified) -> set[str]:
    if text.name and text.domain:
        return {text.name}
    right = text.formula.rpartition("=")[2].rpartition("∈")[2]
    if "\\pi" not in right and "°" not in right:
        return set()
    return set(re.findall(r"(?<![A-Za-z\\])[a-z](?![a-z])", re.sub(r"\\[a-z]+", " ", right))) & _LETTERS


def _function_parameter(formula: str) -> set[str]:
    """Return the one letter of f(x) = cx besides x; empty if there are several, or for any other formula."""
    match = _FUNCTION.fullmatch(formula)
    letters = set(re.findall("[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", " ", match[2]))) - {match[1]} if match else set()
    return letters if len(letters) == 1 and not letters & set("eif") else set()


def _substitute(text: str, name: str, value: str) -> str:
    left, sign, right = text.rpartition("=")
    words = rf"\\[A-Za-z]+|[A-Za-z]{{3,}}|{re.escape(name)}"  # commands and functions keep their letters
    return left + sign + re.sub(words, lambda match: value if match[0] == name else match[0], right)


def same_constant(gold: str, answer: str) -> str | None:
    """Return the answer with its constant of integration named as in the gold answer; None if none is renamed."""
    answer = _SPELLED_CONSTANT.sub("C", answer)
    wanted, given = (sorted(set(_CONSTANT.findall(text))) for text in (gold, answer))
    if len(wanted) != len(given) or not 1 <= len(wanted) <= 2 or (wanted[0] != "C" and wanted == given):
        return None
    if wanted[0][0] not in "CcK" or re.search(r"(?<![A-Za-z\\])[ab](?![A-Za-z])", gold):
        return None
    if not all(_is_constant(text, name) for text, names in ((gold, wanted), (answer, given)) for name in names):
        return None
    names = dict(zip(given, wanted, strict=True))
    if len(names) == 2 and _first_function(answer, given[0]) != _first_function(gold, wanted[0]):
        names = dict(zip(given, wanted[::-1], strict=True))
    return _CONSTANT.sub(lambda match: names[match[1]], answer)


def _first_function(text: str, constant: str) -> str:
    """Return what a constant multiplies, up to the next sign outside brackets."""
    place = text.partition(constant)[2].lstrip("* ")
    return re.split(r"(?<!\{)[+-]", place)[0] if place else ""


def _is_constant(text: str, name: str) -> bool:
    """Return whether a letter is added at the end, or multiplies an exponential."""
    name = re.escape(name)
    added = re.search(rf"[+-]{name}(?:$|\))", text) or re.match(rf"(?:[a-z]=)?{name}\+", text)
    return bool(added) or re.search(rf"{name}(?:\*|\\cdot )? ?(?:e\^|\\exp|\\sin|\\cos)", text) is not None


@lru_cache(maxsize=1024)
def _residue(text: str) -> tuple[str, int, int] | None:
    """Return (name, residue, modulus) of x ≡ 2 mod 5, or of x = 5k+2 with an integer parameter k."""
    plain = text.replace(TEXT, "")
    if match := _MODULUS.fullmatch(plain):
        left = _LEFT.fullmatch(match[1])
        name, residue = (left[1], left[2]) if left else ("", match[1])
        return (
            (name, int(residue) % int(match[2]), int(match[2]))
            if re.fullmatch(r"-?\d{1,9}", residue) and int(match[2])
            else None
        )
    return None


def same_congruence(gold: str, answer: str) -> bool:
    """Compare residue classes: 2 mod 5 is 7 mod 5, and x = 5k+2."""
    wanted = _residue(gold)
    if wanted is None:
        return False
    if given := _residue(answer):
        return wanted[1:] == given[1:] and (wanted[0] == given[0] or "" in (wanted[0], given[0]))
    qualified = split_qualifier(answer)
    left = _LEFT.fullmatch(qualified.formula.replace(TEXT, ""))
    name, text = (left[1], left[2]) if left else ("", qualified.formula)
    if name not in ("", wanted[0]) or qualified.domain not in ("", "integer"):
        return False
    try:
        formula = parse(text)
        letters = free_symbols(formula)
    except Unreadable:
        return False
    if len(letters) != 1 or not letters <= _LETTERS:
        return False
    match = re.fullmatch(r"(?:(\d+)(?: |\*|\\cdot ?)?[a-z])?(?:([+-]?\d+))?|([+-]?\d+)\+(\d+)[a-z]", text)
    if not match:
        return False
    step, offset = int(match[1] or match[4] or 0), int(match[2] or match[3] or 0)
    return step == wanted[2] and Fraction(offset - wanted[1], step).denominator == 1
