"""Check a final answer in mathematics against the gold answer, in bounded time and without evaluating text.

`check` judges one extracted answer; `check_prose` judges a text that was not asked for a format. The steps, by file:

- `prose`: find the answer in plain prose
- `notation`, `numerals`: normalise LaTeX, Unicode and number words
- `compare`, `structure`: compare lists, sets, intervals, matrices and relations part by part
- `value`, `units`: compare single values
- `parser`, `exact`, `numeric`, `sympy_client`: compare formulas exactly, by numeric probing, and with sympy
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from r1kit.data.response import find_boxes
from r1kit.rewards.extract import find_answers, last_boxes, rule_on_all
from r1kit.rewards.math.compare import same_answer
from r1kit.rewards.math.exact import value_key
from r1kit.rewards.math.forms.quantities import merge_parts
from r1kit.rewards.math.forms.regions import french_intervals
from r1kit.rewards.math.forms.rewrites import labelled_parts, rewrites, settled
from r1kit.rewards.math.forms.words import alters
from r1kit.rewards.math.formula import MAX_DEPTH
from r1kit.rewards.math.notation import ROW, TEXT, normalise
from r1kit.rewards.math.numerals import english_number
from r1kit.rewards.math.prose import candidate_answers, marked_answers
from r1kit.rewards.math.structure import (
    RELATION,
    bracket_depths,
    named_value,
    split_top_level,
    structure_of,
)
from r1kit.rewards.math.sympy_client import Undecided
from r1kit.rewards.math.value import (
    agreement_suffices,
    exact_value,
    is_computation,
    is_evaluated,
    is_unevaluated,
    rational_value,
    rounds_to,
    split_value,
)
from r1kit.rewards.verdict import Ruling

MAX_CHARACTERS = 2_000  # of an answer
MAX_READABLE = 300  # of an answer that a reason may call readable
MAX_DIGITS = 1_000  # in a row
NO_ANSWER = Ruling("unparseable", "no answer found")

_NESTED_BOX = re.compile(r"\\(?:boxed|fbox) ?\{([^{}]*)\}")
_BOX_COMMAND = re.compile(r"\\(?:boxed|fbox)(?![a-z])")
_LEAD = re.compile(
    rf"{TEXT}?(?:(?:(?:the )?(?:final )?answer(?: is)?|答案(?:是|为)?|答(?= ?:)) ?:?|(?:about|approximately|exactly"
    r"|precisely|just|a total of|in total|altogether|we (?:get|have)|thus|hence|so|therefore)(?![a-z])|约|大约|共|一共)"
    rf"[ ,:]*{TEXT}? ?|≈|\\(?:Rightarrow|to)(?![a-z]) ?",
    re.IGNORECASE,
)
_MINUS = re.compile(
    rf"{TEXT}?(?:minus|negative|负) ?{TEXT}? ?(?=[\d\\(.]|(?:infinity|zero|one|two|three|four|five|six|seven|eight|nine"
    r"|ten|eleven|twelve|thir|twenty|fif|hundred))",
    re.IGNORECASE,
)
_PHRASE = re.compile(
    rf"{TEXT} ?((?:[A-Za-z']+ ){{0,5}}(?:is|are|equals?(?: to)?|only|"
    r"line|point|value|roots"
    rf"|solutions)) ?:? ?{TEXT}|点(?=\()|{TEXT} ?([A-Za-z ]{{3,40}}):{TEXT}|{TEXT}?(?:answer|ans){TEXT}?=|=(?=[^=]*$)",
    re.IGNORECASE,
)
_EQUATION_LABEL = re.compile(r"(?:[A-Za-z]|\\Gamma|\\ell)(?:_\{?\d\}?)?: ?(?=[^:]*=)(?![A-Za-z]=)")
_MAPPING = re.compile(r"([A-Za-z]) ?: ?(?:R ?\\to ?R, ?)?([a-z]) ?\\mapsto ?")
_QUOTE = re.compile("['\"]")


def check(gold: str, answer: str) -> Ruling:
    """Judge one extracted answer against the gold answer of a data set."""
    if over_limit := _exceeded_limit(answer):
        return over_limit
    try:
        wanted, given = _normalise_gold(gold), _normalise(answer)
        if (
            wanted == given
            or gold.strip() == answer.strip()  # whatever either is read as
            or _same_result(wanted, given)
            or _same_in_other_form(wanted, given)
            or _same_parts(gold, answer)
        ):
            return Ruling("right", "right")
    except Undecided as reason:
        return reason.ruling
    if is_unevaluated(wanted, given):
        return Ruling("wrong", f"{answer!r} has the value of {gold!r}, but is not worked out")
    readable = _is_readable(answer) or not _is_readable(gold)
    return Ruling("wrong" if readable else "unparseable", f"{answer!r} does not equal {gold!r}")


def _same_result(gold: str, answer: str) -> bool:
    return same_answer(_result(gold, trusted=True), _result(answer, trusted=False))


def _same_in_other_form(gold: str, answer: str) -> bool:
    if settled(gold, answer):
        return True
    return any(all(same_answer(*pair) for pair in pairs) for pairs in rewrites(gold, answer))


def _same_parts(gold: str, answer: str) -> bool:
    pairs = labelled_parts(gold, answer)
    return pairs is not None and all(_same_result(_normalise(wanted), _normalise(given)) for wanted, given in pairs)


def check_stated(gold: str, answers: Sequence[str], boxes: Sequence[str]) -> Ruling:
    """Judge the answers that a response states together. All its boxes may also form the list that is asked for."""
    ruling = rule_on_all(answers, lambda answer: check(gold, answer))
    if ruling.status == "wrong" and len(boxes) > len(answers):
        listed = check(gold, ", ".join(dict.fromkeys(boxes)))
        return Ruling("right", "right as a list") if listed.status == "right" else ruling
    return ruling


def check_prose(gold: str, text: str) -> tuple[Ruling, str | None]:
    """Judge a text that was not asked for a format; return the ruling and the answer that it judges.

    Answers in boxes, in answer tags or after #### count alone. A text without them may be the bare answer, or state
    it at its end in prose.
    """
    answers = marked_answers(text)
    if answers is not None:
        ruling = check_stated(gold, answers, find_boxes(text)) if answers else NO_ANSWER
        return ruling, answers[-1] if answers else None
    ruling, candidate = check(gold, text), text
    if ruling.status in ("right", "infra_error") or _is_measurement(text):
        return ruling, text
    choice = re.fullmatch(r"\(?[A-J]\)?", _normalise_gold(gold).replace(TEXT, "")) is not None
    for candidate in candidate_answers(text, choice, words=not re.search(r"\d", gold)):
        ruling = check(gold, candidate)
        if ruling.status in ("right", "infra_error"):
            break
        alternatives = re.split(r",? or ", candidate)
        if len(alternatives) > 1 and all(check(gold, one).status == "right" for one in alternatives):
            return Ruling("right", "right"), candidate
    return ruling, candidate


def _is_measurement(text: str) -> bool:
    """Return whether a text consists of a number and a known unit: in "3 cm", the 3 alone is not the answer."""
    if _exceeded_limit(text):
        return False
    value, unit = split_value(_normalise(text))
    return unit is not None and is_evaluated(value)


def is_number(gold: str) -> bool:
    """Return whether a gold answer is one rational number; comparing with it never needs sympy."""
    return len(gold) <= MAX_CHARACTERS and rational_value(split_value(_normalise_gold(gold))[0]) is not None


def canonical(answer: str) -> str:
    """Return an answer in normalised notation. Equal answers can still differ: see `equivalent`."""
    return answer.strip() if _exceeded_limit(answer) else _normalise(answer)


def equivalent(gold: str, answer: str) -> bool:
    """Return whether `answer` would be right if `gold` were the gold answer, for majority voting.

    Formulas that agree numerically need no proof here, so that voting never waits for sympy and its sandbox. Answers
    of more than MAX_READABLE characters are different unless their text is the same.
    """
    if max(len(gold), len(answer)) > MAX_READABLE:
        return gold == answer
    with agreement_suffices():
        return check(gold, answer).status == "right"


def _exceeded_limit(answer: str) -> Ruling | None:
    if not answer.strip():
        return Ruling("unparseable", "the answer is empty")
    if len(answer) > MAX_CHARACTERS:
        return Ruling("over_limit", f"the answer has {len(answer)} characters: at most {MAX_CHARACTERS} are allowed")
    if re.search(rf"\d{{{MAX_DIGITS + 1}}}", answer):
        return Ruling("over_limit", f"the answer has a number of more than {MAX_DIGITS} digits")
    if len(answer) > MAX_DEPTH and max(bracket_depths(answer)) > MAX_DEPTH:
        return Ruling("over_limit", f"the answer nests deeper than {MAX_DEPTH} brackets")
    return None


@lru_cache(maxsize=1024)
def _normalise_gold(text: str) -> str:
    """Normalise a gold answer: bare, in the last boxes of a solution, or stated at its end."""
    if boxes := last_boxes(text, hedged=False):
        return _normalise(",".join(dict.fromkeys(boxes)), gold=True)
    stated = find_answers(text)
    return _normalise(stated[-1] if stated else text.rpartition("boxed{")[2], gold=True)


def _normalise(text: str, gold: bool = False) -> str:
    """Normalise the notation and remove a nested box and words such as "the answer is"."""
    if len(_BOX_COMMAND.findall(text)) == 1:
        text = _NESTED_BOX.sub(r" \1", text)
    text = normalise(text).strip(ROW)
    if len(text) > 2 and text[0] in "'\"`" and text[-1] in "'\"`" and not _QUOTE.search(text[1:-1]):
        text = text[1:-1]
    while (lead := _LEAD.match(text)) and lead.end() < len(text):
        text = text[lead.end() :]
    if (phrase := _PHRASE.match(text)) and phrase.end() < len(text) and not _alters(phrase[1] or phrase[2] or ""):
        text = text[phrase.end() :]
    if ":" in text:
        text = _EQUATION_LABEL.sub("", _MAPPING.sub(r"\1(\2)=", text, count=1), count=1)
    if minus := _MINUS.match(text):
        text = "-" + text[minus.end() :]
    if len(text) <= MAX_READABLE and (text[:1] == "]" or text[-1:] == "[" or "[∪" in text or "∪]" in text):
        text = french_intervals(text)
    text = merge_parts(text, in_first=gold)
    if text[:1] == "-" and (number := english_number(text[1:].replace(TEXT, ""))) is not None:
        return str(-number)
    return text if (number := english_number(text.replace(TEXT, ""))) is None else str(number)


def _alters(phrase: str) -> bool:
    """Return whether the words before an answer deny or change it, unlike "the value is"."""
    return re.search("square|cube|root of|opposite|reciprocal|inverse|other", phrase) is not None or alters(
        " ".join(word for word in phrase.lower().split() if word not in ("is", "are", "equals"))
    )


def _is_derivation(sides: Sequence[str]) -> bool:
    """Return whether a chain of equal sides ends in its result, unlike the line (x-1)/2 = (y+1)/3 = z."""
    if named_value(f"{sides[0]}={sides[-1]}")[0] or is_computation(sides[0]):
        return True
    values = [exact_value(side) for side in sides]
    return None in values or rational_value(sides[-1]) is not None or len({value_key(v) for v in values if v}) == 1


def _is_readable(text: str) -> bool:
    if len(text) > MAX_READABLE:
        return False
    parts = structure_of(named_value(_normalise(text))[1]).parts
    return all(exact_value(split_value(part)[0]) is not None for part in parts)


def _result(text: str, trusted: bool) -> str:
    """Reduce a chain of equalities to its result: "x = 2+3 = 5 ≈ 5.0" to "x = 5".

    An untrusted chain that contradicts itself, such as 5 = 6 or 5 ≈ 6, stays as it is.
    """
    if (structure := structure_of(text)).kind == "list":
        parts = [_result(part, trusted) for part in structure.parts]
        return text if parts == structure.parts else ",".join(parts)
    sides, signs = split_top_level(text, RELATION)
    while len(signs) > 1 and signs[-1] == "≈":
        if not trusted and not rounds_to(sides[-2], sides[-1]):
            return text
        sides, signs = sides[:-1], signs[:-1]
    if signs == ["≈"] and named_value(text)[0] is None:
        return sides[0] if rounds_to(*sides) else text
    if not signs or set(signs) != {"="} or (len(signs) == 1 and not is_computation(sides[0])):
        return "".join(side + sign for side, sign in zip(sides, [*signs, ""], strict=True))
    if len(signs) > 1 and not _is_derivation(sides):
        return text
    results = {rational_value(side) for side in sides if is_evaluated(side)}
    if not trusted and len(results) > 1:
        return text
    name, _ = named_value(f"{sides[0]}={sides[-1]}")
    return f"{sides[0]}={sides[-1]}" if name else sides[-1]
