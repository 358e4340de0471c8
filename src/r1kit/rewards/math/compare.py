"""Compare two normalised answers part by part: lists, sets, tuples, intervals, matrices and relations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from r1kit.rewards.math.notation import TEXT, plain_text
from r1kit.rewards.math.structure import (
    CONJUNCTION,
    DISJUNCTION,
    FLIPPED,
    RELATION,
    UNORDERED,
    Structure,
    as_union,
    chain_to_interval,
    members,
    named_value,
    simplify_condition,
    split_top_level,
    structure_of,
)
from r1kit.rewards.math.sympy_client import Undecided
from r1kit.rewards.math.value import constant_ratio, rational_value, same_value

MAX_PARTS = 64

_PLAIN_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_HYPHENATED = re.compile(r"\d+(?:-\d+){2,}")
_LABEL = re.compile(r"(?i:option|choice|选项?)? ?\(?([A-J])(?:[.:)]|$)")
_VECTOR = re.compile(r"matrix \[(?:\d+|1(?:, 1)*)\]")
_MODULO = re.compile(r" ?\(?(?:\\p?mod(?![a-z])|mod(?= )) ?\{?(\w+)\}?\)?$")
_INEQUALITY = re.compile("[<>≤≥≠]")
_COMMA_DECIMAL = re.compile(r"-?\d+,(?:\d{1,2}|\d{4,})")
_FUNCTION = re.compile(r"([A-Za-z])(?:\(([a-z])\)|_\{?([a-z])\}?)=([^=]+)")
_OF_X = re.compile(r"(y|[fgh]\(x\))=([^=]*)")


def same_answer(gold: str, answer: str) -> bool:
    """Return whether two normalised answers are equal. Raises Undecided."""
    if gold == answer:
        return True
    if _PLAIN_NUMBER.fullmatch(gold) and _PLAIN_NUMBER.fullmatch(answer):
        return Fraction(gold) == Fraction(answer)
    if _HYPHENATED.fullmatch(gold):  # a date, a score or a code, no difference to work out
        return _HYPHENATED.fullmatch(answer) is not None and _numbers(gold) == _numbers(answer)
    if _same_label(gold, answer) or _same_comma_decimal(gold, answer):
        return True
    if "=" in gold and "=" in answer:
        gold, answer = _same_argument(gold, answer)
    if _INEQUALITY.search(gold) and _INEQUALITY.search(answer) and _connective(gold) * _connective(answer) == -1:
        return False
    if _one_of(gold) != _one_of(answer) and "()" in (structure_of(gold).kind, structure_of(answer).kind):
        return False
    gold, answer = _drop_modulus(simplify_condition(gold), simplify_condition(answer))
    name, value = named_value(chain_to_interval(gold))
    answer_name, answer_value = named_value(chain_to_interval(answer))
    if None not in (name, answer_name) and (name == answer_name or "" in (name, answer_name)):
        gold, answer = value, answer_value
    return _same_structure(gold, answer)


def _numbers(text: str) -> list[str]:
    return [number.lstrip("0") for number in text.split("-")]


def _one_of(text: str) -> bool:
    """Return whether a text lists values of one variable, "2 or 5" or "x=2, x=5": these are no pair (2,5)."""
    if DISJUNCTION.search(text):
        return True
    return text.count("=") > 1 and len(members(text)) > 1 and bool(named_value(text)[0])


def _connective(text: str) -> int:
    """Return 1 for conditions joined by "and" or excluded as in "x > 0, x ≠ 1", -1 by "or", 0 for others."""
    if DISJUNCTION.search(text):
        return -1
    return int(CONJUNCTION.search(text) is not None or ("≠" in text and "," in text))


def _same_argument(gold: str, answer: str) -> tuple[str, str]:
    """Give functions and sequences the same argument: f(t)=t^2 for f(x)=x^2, a(k)=k for a_n=n, f(x)=x for y=x."""
    wanted, given = _FUNCTION.fullmatch(gold), _FUNCTION.fullmatch(answer)
    if wanted and given and wanted[1] == given[1]:
        new, old = wanted[2] or wanted[3], given[2] or given[3]
        if new != old and re.search(rf"(?<!\\){new}", re.sub(r"\\[A-Za-z]+", "", given[4])):
            return gold, f"{old}:{answer}"  # f(y) = x + 1 defines nothing
        return wanted[4], re.sub(rf"\\[A-Za-z]+|{old}", lambda match: {old: new}.get(match[0], match[0]), given[4])
    left, right = _OF_X.fullmatch(gold), _OF_X.fullmatch(answer)
    return (left[2], right[2]) if left and right and "y" in (left[1], right[1]) else (gold, answer)


def _same_structure(gold: str, answer: str) -> bool:
    wanted, given = structure_of(gold), structure_of(answer)
    if len(given.parts) > MAX_PARTS:
        raise Undecided("over_limit", f"the answer has {len(given.parts)} parts: at most {MAX_PARTS} are allowed")
    if given.kind == "[]" and _VECTOR.fullmatch(wanted.kind):
        given = Structure("()", given.parts)
    elif given.kind == "[]" and (len(given.parts) > 2 or all(part[:1] == "(" for part in given.parts)):
        given = Structure("list", given.parts)  # no interval: a Python list
    if wanted.kind == given.kind == "value":
        return _same_relation(wanted.parts[0], given.parts[0])
    if DISJUNCTION.search(answer) and not DISJUNCTION.search(gold) and _names_differ(given):
        return False  # "a=2 or b=3" is not a=2, b=3
    if (wanted.kind == "list" or given.kind == "list") and (named := _same_named_parts(wanted, given)) is not None:
        return named
    if _is_region(wanted) != _is_region(given):
        unions = as_union(gold), as_union(answer)
        if unions != (gold, answer):
            return same_answer(*unions)
    if r"\emptyset" in (*wanted.parts, *given.parts) and wanted.kind != given.kind:
        return False
    if len(wanted.parts) == 1 == len(given.parts):  # a set of one element equals the element
        return same_answer(wanted.parts[0], given.parts[0])
    if {wanted.kind, given.kind} == {"set", "()"} and 1 in (len(wanted.parts), len(given.parts)):
        left = wanted.parts[0] if wanted.kind == "set" else gold
        return same_answer(left, given.parts[0] if given.kind == "set" else answer)
    if wanted.kind in UNORDERED and given.kind in UNORDERED:
        return all((wanted.kind == kind) == (given.kind == kind) for kind in ("union", "cases")) and _same_members(
            wanted.parts, given.parts
        )
    if wanted.kind != given.kind and not _compatible_brackets(wanted.kind, given.kind):
        return False
    return len(wanted.parts) == len(given.parts) and all(map(same_answer, wanted.parts, given.parts))


def _names_differ(structure: Structure) -> bool:
    """Return whether a list has values of several variables; x_1 and x_2 are values of x."""
    names = {re.sub(r"_\{?\d\}?", "", name) for part in structure.parts if (name := named_value(part)[0])}
    return structure.kind == "list" and len(names) > 1


def _compatible_brackets(first: str, second: str) -> bool:
    """Return whether both kinds can write the same row: (1,2) as 1,2 or as a row or column vector."""
    kinds = {first, second}
    return kinds == {"list", "()"} or ("()" in kinds and any(map(_VECTOR.fullmatch, kinds)))


def _same_comma_decimal(gold: str, answer: str) -> bool:
    """Accept a decimal comma: 1,22 equals 1.22, and 0,75 equals 3/4."""
    if not (_COMMA_DECIMAL.fullmatch(gold) or _COMMA_DECIMAL.fullmatch(answer)):
        return False
    if gold.replace(",", ".") == answer.replace(",", "."):
        return True
    exact = None if "," in gold else rational_value(gold)
    return exact is not None and exact.denominator > 1 and rational_value(answer.replace(",", ".")) == exact


def _is_region(structure: Structure) -> bool:
    kind, parts = structure
    return kind == "union" or (kind in ("()", "[]", "(]", "[)") and len(parts) == 2)


def _same_members(wanted: Sequence[str], given: Sequence[str]) -> bool:
    """Compare without order. Repetitions in the answer are ignored unless the gold answer repeats a member too."""
    if len(given) < len(wanted):
        return False
    unmatched = list(given)
    for member in wanted:
        match = next((other for other in unmatched if same_answer(member, other)), None)
        if match is None:
            return False
        unmatched.remove(match)
    return all(any(same_answer(member, other) for member in wanted) for other in unmatched) and (
        not unmatched or not any(same_answer(a, b) for i, a in enumerate(wanted) for b in wanted[:i])
    )


def _same_named_parts(wanted: Structure, given: Structure) -> bool | None:
    """Compare "x=5, y=3" with "5, 3" or "(5,3)", in order; either side may have the names.

    None: the two are not of these forms.
    """
    gold, answer = ([named_value(part) for part in side.parts] for side in (wanted, given))
    if not gold or not answer:  # an empty set such as \{,\}
        return None
    gold_is_bare = gold[0][0] == ""
    named, bare, bare_structure = (answer, gold, wanted) if gold_is_bare else (gold, answer, given)
    names = [name for name, _ in named]
    if 1 < len(set(names)) < len(names) and all(names):  # "a=1, b=4; a=2, b=3" is no list of four numbers
        return False if all(name == "" for name, _ in bare) else None
    if len(named) != len(bare) or len(set(names)) < len(names) or not all(names) or any(name != "" for name, _ in bare):
        return None
    if bare_structure.kind == "()":  # a tuple is in alphabetical order: (5,3) is x=5, y=3
        named.sort(key=lambda part: part[0] or "")
    elif re.fullmatch(r"(?:([a-z])_\{?\d\}?,)(?:\1_\{?\d\}?,)*", "".join(f"{name}," for name in names)):
        return _same_members(*([value for _, value in side] for side in (gold, answer)))  # roots x_1 and x_2
    return all(same_answer(value, other) for (_, value), (_, other) in zip(gold, answer, strict=True))


def _same_relation(gold: str, answer: str) -> bool:
    """Compare equations and inequalities up to a constant factor, and single values by `same_value`."""
    (wanted, signs), (given, answer_signs) = split_top_level(gold, RELATION), split_top_level(answer, RELATION)
    if len(wanted) != len(given):
        return False
    if len(wanted) == 1:
        return same_value(gold, answer)
    if len(wanted) == 2:
        (difference, sign), (other, other_sign) = _difference(wanted, signs[0]), _difference(given, answer_signs[0])
        factor = constant_ratio(difference, other)
        if factor is not None and sign == other_sign and sign != "∈":
            return factor > 0 or sign in "=≠"
    elif set(signs) == set(answer_signs) == {"="}:
        return _same_members(wanted, given)
    return signs == answer_signs and all(map(same_answer, wanted, given))


def _difference(sides: Sequence[str], sign: str) -> tuple[str, str]:
    """Rewrite "a > b" as ("(b)-(a)", "<"): a formula and its relation to zero."""
    if sign in ">≥":
        sides, sign = sides[::-1], FLIPPED[sign]
    return f"({sides[0]})-({sides[1]})", sign


def _same_label(gold: str, answer: str) -> bool:
    """Compare multiple-choice answers by letter: "(C) Cecile", "C" and "Option C" are equal."""
    wanted, given = (_LABEL.match(text.replace(TEXT, "")) for text in (gold, answer))
    if not wanted:
        return False
    gold_rest = gold.replace(TEXT, "")[wanted.end() :]
    if not given:
        return len(gold_rest) > 1 and plain_text(gold_rest) == plain_text(answer)
    answer_rest = answer.replace(TEXT, "")[given.end() :]
    single_choice = not re.search(r"(?<![A-Za-z])[A-J](?![A-Za-z])|[,;]|\bor\b", answer_rest)
    return wanted[1] == given[1] and single_choice and (not gold_rest or not answer_rest)


def _drop_modulus(gold: str, answer: str) -> tuple[str, str]:
    """Remove "mod 11" where only the gold answer has it, or both have the same. The residue 5 mod 7 is not 5."""
    wanted, given = _MODULO.search(gold), _MODULO.search(answer)
    if given and (not wanted or wanted[1] != given[1]):
        return gold, answer
    return _without_match(gold, wanted), _without_match(answer, given)


def _without_match(text: str, modulus: re.Match[str] | None) -> str:
    return (text[: modulus.start()] if modulus else text).replace(r"\equiv", "=")
