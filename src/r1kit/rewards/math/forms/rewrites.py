"""Other forms of the same answer, tried after the general comparison has failed.

`settled` decides some forms itself. `rewrites` yields lists of (gold, answer) pairs: if all pairs of
one list are equal, the answers are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from r1kit.rewards.math.forms.labels import (
    numbered_parts,
    plain_list,
    ratio_terms,
    same_direction,
    same_order,
    share,
    without_point_label,
)
from r1kit.rewards.math.forms.parameters import (
    compatible,
    rename_candidates,
    same_congruence,
    same_constant,
    split_qualifier,
)
from r1kit.rewards.math.forms.phrases import number_set, phrase_of
from r1kit.rewards.math.forms.quantities import same_time
from r1kit.rewards.math.forms.regions import same_region
from r1kit.rewards.math.formula import Apply, Unreadable
from r1kit.rewards.math.notation import ROW, TEXT
from r1kit.rewards.math.numeric import free_symbols
from r1kit.rewards.math.parser import parse
from r1kit.rewards.math.structure import RELATION, named_value, split_top_level
from r1kit.rewards.math.value import rational_value

MAX_CHARACTERS = 400
Pairs = list[tuple[str, str]]

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_NAMED_QUANTITY = re.compile(
    r"(?:\\angle|\\triangle|m\\angle|\\max|\\min|\\overline|\\vector|\\deg|\\dim|\\operatorname)(?![a-z]).*"
    r"|[A-Z]\[[A-Za-z]\]|\|[^|]*[A-Za-z][^|]*\||‖[^‖]+‖|[A-Z]\([A-Za-z<>≤≥=∪, 0-9]+\)"
)
_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|mbox|textbf)\s*\{([^{}]*)\}")
_SPACING = re.compile(r"\\(?:[,;:! ]|q?quad(?![a-z]))|\$")
HINT = re.compile(r"(?:^|[\s({])(?:[1aAi]\)|①)")
_RATIO_NAME = re.compile(r"[A-Za-z]+(?::[A-Za-z]+)+=")
_RATIO = re.compile(r"^(\d+):(\d+)$")
_TIME = re.compile(r"\d{1,2}:\d\d")
_POLYNOMIAL = ("+", "*", "^", "root", "!", "!!")
_SCALED_MATRIX = re.compile(r"(.+?)(\\begin\{[pb]matrix\})(.*)(\\end\{[pb]matrix\})")
_CELL = re.compile(rf"[^&{ROW}]+")
_UNIT_VECTOR = re.compile(r"([+-]?[^+\-ijk ]*) ?([ijk])(?![a-z])")
_GROUPS = re.compile(r";|(?<![A-Za-z])or(?![a-z])|或")


def settled(gold: str, answer: str) -> bool:
    """Return whether a form that this package knows makes both answers equal."""
    if _NUMBER.fullmatch(gold) and _NUMBER.fullmatch(answer):
        return False
    if max(len(gold), len(answer)) > MAX_CHARACTERS:
        return False
    if (phrase := phrase_of(gold)) is not None:
        return phrase == phrase_of(answer)
    return (
        same_order(gold, answer)
        or same_direction(gold, answer)
        or (":" in gold + answer and same_time(gold, answer))
        or same_congruence(gold, answer)
        or _same_ratio(gold, answer)
        or same_region(gold, answer)
        or ((named := number_set(gold)) is not None and named == number_set(answer))
    )


def rewrites(gold: str, answer: str) -> Iterator[Pairs]:
    """Yield lists of pairs that must all be equal for the answers to be equal."""
    if max(len(gold), len(answer)) > MAX_CHARACTERS or (_NUMBER.fullmatch(gold) and _NUMBER.fullmatch(answer)):
        return
    yield from _groups(gold, answer)
    if r"\begin" in gold + answer and (scaled := (_scaled(gold), _scaled(answer))) != (gold, answer):
        yield [scaled]
    if (vectors := (_unit_vectors(gold), _unit_vectors(answer))) != (gold, answer):
        yield [vectors]
    if ":" not in gold + answer and (shares := (share(gold) or gold, share(answer) or answer)) != (gold, answer):
        yield [shares]
    if "=" in gold or "=" in answer:
        yield from _equations(gold, answer)
    if answer[:1].isupper() and gold[:1] == "(":
        yield [(gold, without_point_label(answer))]
    elif gold[:1].isupper() and answer[:1] == "(":
        yield [(without_point_label(gold), answer)]
    if constant := same_constant(gold, answer):
        yield [(gold, constant)]
    wanted, given = split_qualifier(gold), split_qualifier(answer)
    if compatible(wanted, given):
        if (wanted.formula, given.formula) != (gold, answer):
            yield [(wanted.formula, same_constant(wanted.formula, given.formula) or given.formula)]
        for renamed in rename_candidates(wanted, given):
            yield [(wanted.formula, renamed)]


def labelled_parts(gold: str, answer: str) -> Pairs | None:
    """Match labelled parts in order: "(1) 12; (2) 30" and "12, 30". The texts are not normalised."""
    if max(len(gold), len(answer)) > MAX_CHARACTERS or not (HINT.search(gold) or HINT.search(answer)):
        return None
    gold, answer = (_SPACING.sub(" ", _TEXT_COMMAND.sub(r" \1 ", text)) for text in (gold, answer))
    wanted, given = numbered_parts(gold), numbered_parts(answer)
    if not wanted and not given:
        return None
    left, right = wanted or plain_list(gold), given or plain_list(answer)
    return list(zip(left, right, strict=True)) if len(left) == len(right) > 1 else None


def _scaled(text: str) -> str:
    r"""Multiply a matrix by the number before it; return any other text unchanged."""
    match = _SCALED_MATRIX.fullmatch(text)
    if not match or (factor := rational_value({"-": "-1"}.get(match[1], match[1]))) is None:
        return text
    return match[2] + _CELL.sub(lambda cell: _product(factor, cell[0].strip()), match[3]) + match[4]


def _product(factor: Fraction, cell: str) -> str:
    value = rational_value(cell)
    return (
        f"({factor})*({cell})" if value is None else f"\\frac{{{(p := factor * value).numerator}}}{{{p.denominator}}}"
    )


def _unit_vectors(text: str) -> str:
    """Rewrite 2i - j + 3k as (2,-1,3); return any other text unchanged."""
    terms = _UNIT_VECTOR.findall(text)
    names = "".join(name for _, name in terms)
    if names != "ijk" or "".join(map("".join, terms)) != text.replace(" ", ""):
        return text
    values = [f"{factor}1" if factor in ("", "+", "-") else factor for factor, _ in terms]
    return f"({','.join(value.lstrip('+') for value in values)})"


def _groups(gold: str, answer: str) -> Iterator[Pairs]:
    """Match groups such as "p=5, q=2; p=7, q=2" with pairs."""
    pairs = _grouped(gold), _grouped(answer)
    if pairs != (gold, answer):
        yield [pairs]


def _grouped(text: str) -> str:
    """Rewrite "p=5, q=2; p=7, q=2" as (5,2),(7,2); return any other text unchanged."""
    groups, signs = split_top_level(text, _GROUPS)
    if not signs or "," not in text or "=" not in text:
        return text
    rows = [[named_value(part) for part in split_top_level(group, re.compile(","))[0]] for group in groups]
    names = {tuple(name for name, _ in row) for row in rows}
    if len(names) != 1 or len(rows[0]) < 2:
        return text
    row = [name or "" for name in names.pop()]
    return (
        ",".join(f"({','.join(value for _, value in group)})" for group in rows)
        if all(row) and row == sorted(row)
        else text
    )


def _equations(gold: str, answer: str) -> Iterator[Pairs]:
    """Read "a+b = 5" as 5 where the left-hand side is a quantity, not an equation to solve."""
    bare = _without_ratio_names(gold, answer)
    if bare != (gold, answer):
        yield [(_RATIO.sub(r"\1/\2", bare[0]), _RATIO.sub(r"\1/\2", bare[1]))]
    for text, other, swapped in ((answer, gold, False), (gold, answer, True)):
        sides, signs = split_top_level(text, RELATION)
        if signs != ["="] or RELATION.search(other):
            continue
        for left, right in (sides, sides[::-1]):
            if _is_quantity(left, alone=swapped) and not free_letters(right):
                yield [(right, other) if swapped else (other, right)]


def _without_ratio_names(gold: str, answer: str) -> tuple[str, str]:
    """Remove the label of a ratio, as in S:T=7:9, unless the two answers have different labels."""
    labels = {match[0] for text in (gold, answer) if (match := _RATIO_NAME.match(text))}
    return (gold, answer) if len(labels) != 1 else (_RATIO_NAME.sub("", gold), _RATIO_NAME.sub("", answer))


def _is_quantity(text: str, alone: bool) -> bool:
    r"""Return whether a left-hand side names one quantity: a+b, |z|, \sin x; not 2x or x^2, which ask for x.

    alone: Sums and products of several variables do not count, because the gold answer may be their equation.
    """
    text = text.replace(TEXT, "")
    if _NAMED_QUANTITY.fullmatch(text) and not re.fullmatch(r"\|[a-z]\|", text if alone else ""):
        return True
    if re.fullmatch("[a-z]{2,4}", text):
        return not alone
    try:
        formula = parse(text)
    except Unreadable:
        return False
    letters = free_symbols(formula)
    if isinstance(formula, Apply) and formula.head not in _POLYNOMIAL and letters:
        return True
    return len(letters) > 1 and not alone


def free_letters(text: str) -> set[str]:
    """Return the variables of a formula; for an unreadable text, one unknown."""
    try:
        return free_symbols(parse(text.replace(TEXT, "").rstrip("°%")))
    except Unreadable:
        return set() if re.fullmatch(r"[\d.,:()\[\]{} °A-Za-z]*\d[^=]*", text) else {"?"}


def _same_ratio(gold: str, answer: str) -> bool:
    """Compare ratios of several terms, and "3 to 4" with 3:4."""
    gold, answer = _without_ratio_names(gold, answer)
    wanted, given = ratio_terms(gold), ratio_terms(answer)
    if not wanted or not given or len(wanted) != len(given) or _TIME.fullmatch(gold):
        return False
    terms = [(rational_value(w), rational_value(g)) for w, g in zip(wanted, given, strict=True)]
    if any(w is None or g is None or not w or not g for w, g in terms):
        return False
    first = terms[0]
    return all(w * first[1] == g * first[0] for w, g in terms if w and g and first[0] and first[1])
