r"""Whether a mathematical answer equals the gold answer: bounded in time, and no evaluation of the text.

An answer is normalised, taken apart (lists, sets, tuples, intervals, unions, matrices, relations), and its single
values are compared one by one (see `leaf`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from r1kit.data.response import find_boxes
from r1kit.rewards.extract import find_answers, rule_on
from r1kit.rewards.math.exact import key
from r1kit.rewards.math.notation import TEXT, normalise, plain_text
from r1kit.rewards.math.numerals import english_number
from r1kit.rewards.math.parser import MAX_DEPTH
from r1kit.rewards.math.prose import committed, statements
from r1kit.rewards.math.structure import (
    FLIPPED,
    RELATION,
    Shape,
    condition,
    depths,
    interval,
    named_value,
    region,
    shape,
    split,
)
from r1kit.rewards.math.sympy_client import Undecided
from r1kit.rewards.math.value import (
    computes,
    exact_value,
    factor_between,
    leaf,
    rational_value,
    rounds,
    same_leaf,
    worked_out,
)
from r1kit.rewards.verdict import Ruling

LONGEST = 2_000  # characters of an answer
MOST_DIGITS = 1_000
MOST_PARTS = 64
LONGEST_JOINT = 20  # characters between two boxes of one gold answer
NO_ANSWER = Ruling("unparseable", "no answer found")
UNORDERED = ("list", "set", "union")

_PLAIN_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_LABEL = re.compile(r"(?i:option|choice|选项?)? ?\(?([A-J])(?:[.:)]|$)")
_VECTOR = re.compile(r"matrix \[(?:\d+|1(?:, 1)*)\]")
_NESTED_BOX = re.compile(r"\\(?:boxed|fbox) ?\{([^{}]*)\}")
_MODULO = re.compile(r" ?(?:\\p?mod(?![a-z])|\(mod) ?\{?(\w+)\}?\)?$")
_COMMA_DECIMAL = re.compile(r"-?\d+,(?:\d{1,2}|\d{4,})")
_LEAD = re.compile(
    r"(?:(?:the )?(?:final )?answer(?: is)?|答案(?:是|为)?) ?:?|(?:about|approximately|约|大约) ?|≈", re.IGNORECASE
)


def check(gold: str, answer: str) -> Ruling:
    """What holds of one extracted answer."""
    if fault := _beyond_limits(answer):
        return fault
    try:
        wanted, given = _gold(gold), _plain(answer)
        if wanted == given or _same(_final(wanted, trusted=True), _final(given, trusted=False)):
            return Ruling("right", "right")
    except Undecided as reason:
        return reason.ruling
    readable = _readable(answer) or not _readable(gold)
    return Ruling("wrong" if readable else "unparseable", f"{answer!r} does not equal {gold!r}")


def check_prose(gold: str, text: str) -> tuple[Ruling, str | None]:
    """As `check`, for a text that nobody asked to keep a format: the ruling, and the answer it is about.

    What a text marks as its answer counts. One that marks nothing may be the answer itself, or state it last in prose.
    """
    answers = committed(text)
    if answers is not None:
        ruling = rule_on(answers, lambda answer: check(gold, answer)) if answers else NO_ANSWER
        return ruling, answers[-1] if answers else None
    choice = re.fullmatch(r"\(?[A-J]\)?", _gold(gold).replace(TEXT, "")) is not None
    for statement in (text, *statements(text, choice)):
        ruling = check(gold, statement)
        if ruling.status in ("right", "infra_error"):
            break
    return ruling, statement


def is_number(gold: str) -> bool:
    """Whether a gold answer is one rational number, so that comparing with it does not take an algebra system."""
    return len(gold) <= LONGEST and rational_value(leaf(_gold(gold))[0]) is not None


def canonical(answer: str) -> str:
    """One text for (nearly) all ways to write an answer, which is what a majority vote counts."""
    return answer.strip() if _beyond_limits(answer) else _canonical(_plain(answer))


def _beyond_limits(answer: str) -> Ruling | None:
    if not answer.strip():
        return Ruling("unparseable", "the answer is empty")
    if len(answer) > LONGEST:
        return Ruling("over_limit", f"the answer has {len(answer)} characters, allowed are {LONGEST}")
    if re.search(rf"\d{{{MOST_DIGITS + 1}}}", answer):
        return Ruling("over_limit", f"the answer has a number of more than {MOST_DIGITS} digits")
    if len(answer) > MAX_DEPTH and max(depths(answer)) > MAX_DEPTH:
        return Ruling("over_limit", f"the answer nests deeper than {MAX_DEPTH} brackets")
    return None


@lru_cache(maxsize=1024)
def _gold(text: str) -> str:
    """The gold answer of a data set: bare, in boxes that stand side by side, or at the end of a solution."""
    if boxes := find_boxes(text):
        behind = [part[len(box) + 2 :] for part, box in zip(text.split(r"\boxed")[1:], boxes, strict=False)]
        joints = [len(" ".join(re.sub(r"\\\w*|[{}$]", "", part).split())) for part in behind]
        run = 1
        while run < len(boxes) and joints[-run - 1] <= LONGEST_JOINT:
            run += 1
        return _plain(",".join(dict.fromkeys(boxes[-run:])))
    stated = find_answers(text)
    return _plain(stated[-1] if stated else text.rpartition("boxed{")[2])


def _plain(text: str) -> str:
    if box := _NESTED_BOX.fullmatch(text):
        text = box[1]
    text = normalise(text)
    while (lead := _LEAD.match(text)) and lead.end() < len(text):
        text = text[lead.end() :]
    return text if (number := english_number(text.replace(TEXT, ""))) is None else str(number)


def _readable(text: str) -> bool:
    return all(exact_value(leaf(part)[0]) is not None for part in shape(named_value(_plain(text))[1]).parts)


def _canonical(text: str) -> str:
    kind, parts = shape(named_value(interval(text))[1])
    if kind == "leaf":
        single = leaf(parts[0])[0].rstrip("%")
        value = exact_value(single) if rational_value(single) is None or worked_out(single) else None
        return key(value) if value else single.lower()
    names = [_canonical(part) for part in parts]
    kind = "list" if kind == "set" else kind
    return names[0] if len(names) == 1 else kind + ";".join(sorted(names) if kind in UNORDERED else names)


def _final(text: str, trusted: bool) -> str:
    """Of a computation that is carried out, its result: "x = 2+3 = 5 ≈ 5.0" is "x = 5". Never of 5 = 6, or of 5 ≈ 6."""
    if (found := shape(text)).kind == "list":
        return ",".join(_final(part, trusted) for part in found.parts)
    sides, signs = split(text, RELATION)
    while len(signs) > 1 and signs[-1] == "≈":
        if not trusted and not rounds(sides[-2], sides[-1]):
            return text
        sides, signs = sides[:-1], signs[:-1]
    if signs == ["≈"] and named_value(text)[0] is None:
        return sides[0] if rounds(*sides) else text
    if not signs or set(signs) != {"="} or (len(signs) == 1 and not computes(sides[0])):
        return "".join(side + sign for side, sign in zip(sides, [*signs, ""], strict=True))
    results = {rational_value(side) for side in sides if worked_out(side)}
    if not trusted and len(results) > 1:
        return text
    name, _ = named_value(f"{sides[0]}={sides[-1]}")
    return f"{sides[0]}={sides[-1]}" if name else sides[-1]


# --- comparison -----------------------------------------------------------------------------------------------------


def _same(gold: str, answer: str) -> bool:
    """Whether two normalised answers are the same. Raises Undecided."""
    if gold == answer:
        return True
    if _PLAIN_NUMBER.fullmatch(gold) and _PLAIN_NUMBER.fullmatch(answer):
        return Fraction(gold) == Fraction(answer)
    if _same_label(gold, answer) or _same_but_for_comma(gold, answer):
        return True
    gold, answer = _same_modulus(condition(gold), condition(answer))
    (name, value), (answer_name, answer_value) = named_value(interval(gold)), named_value(interval(answer))
    if None not in (name, answer_name) and (name == answer_name or "" in (name, answer_name)):
        gold, answer = value, answer_value
    wanted, given = shape(gold), shape(answer)
    if len(given.parts) > MOST_PARTS:
        raise Undecided("over_limit", f"the answer has {len(given.parts)} parts, allowed are {MOST_PARTS}")
    if given.kind == "[]" and len(given.parts) > 2:  # a list as Python writes it, and no interval
        given = Shape("list", given.parts)
    if wanted.kind == given.kind == "leaf":
        return _same_relation(wanted.parts[0], given.parts[0])
    if wanted.kind == "list" or given.kind == "list":
        if (named := _named_parts(wanted, given)) is not None:
            return named
    if _is_region(wanted) != _is_region(given):
        regions = region(gold), region(answer)
        if regions != (gold, answer):
            return _same(*regions)
    if len(wanted.parts) == 1 == len(given.parts):  # a set of one is its member
        return _same(wanted.parts[0], given.parts[0])
    if {wanted.kind, given.kind} == {"set", "()"} and 1 in (len(wanted.parts), len(given.parts)):
        return _same(
            *(side.parts[0] if side.kind == "set" else text for side, text in ((wanted, gold), (given, answer)))
        )
    if wanted.kind in UNORDERED and given.kind in UNORDERED:
        return (wanted.kind == "union") == (given.kind == "union") and _same_members(wanted.parts, given.parts)
    if wanted.kind != given.kind and not _same_brackets(wanted.kind, given.kind):
        return False
    return len(wanted.parts) == len(given.parts) and all(map(_same, wanted.parts, given.parts))


def _same_brackets(one: str, other: str) -> bool:
    """Whether a row of values may be written either way: (1,2) as 1,2, or as a vector, which is a row or a column."""
    kinds = {one, other}
    return kinds == {"list", "()"} or ("()" in kinds and any(map(_VECTOR.fullmatch, kinds)))


def _same_but_for_comma(gold: str, answer: str) -> bool:
    """1,22 as the decimal 1.22."""
    written = _COMMA_DECIMAL.fullmatch(gold) or _COMMA_DECIMAL.fullmatch(answer)
    return bool(written) and gold.replace(",", ".") == answer.replace(",", ".")


def _is_region(found: Shape) -> bool:
    kind, parts = found
    return kind == "union" or (kind in ("()", "[]", "(]", "[)") and len(parts) == 2)


def _same_members(wanted: Sequence[str], given: Sequence[str]) -> bool:
    """Equal as collections without order. What the answer repeats counts once, unless the gold answer repeats too."""
    if len(given) < len(wanted):
        return False
    left = list(given)
    for member in wanted:
        match = next((other for other in left if _same(member, other)), None)
        if match is None:
            return False
        left.remove(match)
    return all(any(_same(member, other) for member in wanted) for other in left) and (
        not left or not any(_same(a, b) for i, a in enumerate(wanted) for b in wanted[:i])
    )


def _named_parts(wanted: Shape, given: Shape) -> bool | None:
    """ "x=5, y=3" against "5, 3" or "(5,3)", either way round, in order. None when this is about something else."""
    sides = [[named_value(part) for part in side.parts] for side in (wanted, given)]
    (named, _), (bare, plain) = sorted(zip(sides, (wanted, given), strict=True), key=lambda side: side[0][0][0] == "")
    names = [name for name, _ in named]
    if len(named) != len(bare) or len(set(names)) < len(names) or not all(names) or any(name != "" for name, _ in bare):
        return None
    if plain.kind == "()" and names != sorted(names):  # (5,3) is x=5, y=3 and not y=5, x=3
        return False
    return all(_same(value, other) for (_, value), (_, other) in zip(*sides, strict=True))


def _same_relation(gold: str, answer: str) -> bool:
    """Equations and inequalities are the same up to a factor; single values by `same_leaf`."""
    (wanted, signs), (given, answer_signs) = split(gold, RELATION), split(answer, RELATION)
    if len(wanted) != len(given):
        return False
    if len(wanted) == 1:
        return same_leaf(gold, answer)
    if len(wanted) == 2:
        (difference, sign), (other, answer_sign) = _difference(wanted, signs[0]), _difference(given, answer_signs[0])
        factor = factor_between(difference, other)
        if factor is not None and sign == answer_sign and sign != "∈":
            return factor > 0 or sign in "=≠"
    return signs == answer_signs and all(map(_same, wanted, given))


def _difference(sides: Sequence[str], sign: str) -> tuple[str, str]:
    """ "a > b" as ("(b)-(a)", "<"): a formula and its relation to zero."""
    if sign in ">≥":
        sides, sign = sides[::-1], FLIPPED[sign]
    return f"({sides[0]})-({sides[1]})", sign


def _same_label(gold: str, answer: str) -> bool:
    """A choice by its letter, whatever is said with it: "(C) Cecile", "C" and "Option C" are one."""
    wanted, given = (_LABEL.match(text.replace(TEXT, "")) for text in (gold, answer))
    if not wanted:
        return False
    gold_rest = gold.replace(TEXT, "")[wanted.end() :]
    if not given:
        return len(gold_rest) > 1 and plain_text(gold_rest) == plain_text(answer)
    answer_rest = answer.replace(TEXT, "")[given.end() :]
    one = not re.search(r"(?<![A-Za-z])[A-J](?![A-Za-z])|[,;]|\bor\b", answer_rest)
    return wanted[1] == given[1] and one and (not gold_rest or not answer_rest)


def _same_modulus(gold: str, answer: str) -> tuple[str, str]:
    """Without "mod 11" where only one side says it, or both the same."""
    wanted, given = _MODULO.search(gold), _MODULO.search(answer)
    if wanted and given and wanted[1] != given[1]:
        return gold, answer
    return tuple(
        (text[: match.start()] if match else text).replace(r"\equiv", "=")
        for text, match in ((gold, wanted), (answer, given))
    )
