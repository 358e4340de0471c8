"""Knights and knaves: who is a knight and who is a knave, for every person, in any order.

Calling one person both a knight and a knave invalidates the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from r1kit.rewards.checks.base import Row, Verifier, judge_body
from r1kit.rewards.verdict import Ruling
from r1kit.types import Problem

MAX_CHARACTERS = 20_000  # of an answer
KINDS = {"knight": True, "knights": True, "knave": False, "knaves": False, "骑士": True, "无赖": False, "恶棍": False}
KINDS |= dict.fromkeys(("truth-teller", "truth-tellers", "truthteller", "truthtellers", "truth teller"), True)
KINDS |= {"liar": False, "liars": False, "诚实": True, "老实人": True, "骗子": False, "说谎者": False}

_FOLD = re.IGNORECASE | re.ASCII  # beyond ASCII, characters that match are not always equal when folded
_MARKUP = re.compile(
    r"\\(?:text|mathrm|mathbf|textbf|boxed)\b|\\[()\[\],;! ]|[*`$#{}\[\]\"“”\1\2✅✓✔❌✗]|_(?=\W|$)"
    r"|^[^\S\n]*[^\w\n]?\d+\W",  # the number of a list item
    re.MULTILINE,
)
_NARROW = str.maketrans("：，；（）", ":,;()")
_PERSON = "\1\\d+\2"  # names are replaced by their numbers before anything is matched
_JOINT = r"\s*(?:,\s*and\b|,|、|&|\band\b|和|与)\s*"
_PEOPLE = rf"(?<!\bor )(?<!\bnor )(?P<people>{_PERSON}(?:{_JOINT}{_PERSON}){{0,15}})"
_ARTICLE = r"(?:an?\s|(?:one\sof\s)?the\s(?:(?:only|sole)\s)?)?\s*"
_SURELY = "definitely|therefore|thus|hence|clearly|certainly|indeed|necessarily|actually|also|always"
_ADVERB = rf"(?:,?\s*(?:{_SURELY}),?\s){{0,3}}"
_WORDS = "|".join(sorted(KINDS, key=len, reverse=True))
_NO_OTHER = rf"(?!\s*(?:/|,?\s*(?:or\b|and\b|或|和))\s*{_ARTICLE}(?:{_WORDS}))"  # "a knight or a knave" is no statement
_KIND = rf"(?P<kind>{_WORDS})(?![a-z0-9_])(?!\s*\?){_NO_OTHER}"
_IS = (
    r"(?:\s*(?:[:=\-–—→>(,&]|\\to)+\s*"
    r"|\s*(?:\s(?:is|are|was|were|must be|has to be|turns out to be)|['’]s\s|是|为)\s*(?:(?:both|all|also)\s)?)"
    rf"{_ADVERB}(?P<negated>n['’]t\s|not\s|不是)?\s*{_ADVERB}{_ARTICLE}"
)
_SENTENCE = re.compile(_PEOPLE + _IS + _KIND, _FOLD)
_PLAIN = re.compile(rf"{_PEOPLE} (?:an? |the )?{_KIND}(?!\s*[:=])", _FOLD)  # "Ann knight, Bob a knave"
_GROUP = re.compile(rf"(?<![a-z0-9_]){_KIND}\s*(?:[:=]|\s(?:are|is)\b|是|为)\s*:?\s*{_PEOPLE}", _FOLD)
# Conditions, reported speech and denials, up to the end of the sentence or a conclusion
_REST = r"[^.;。；\n]*"
_NOT_STATED = re.compile(
    rf"(?:\b(?:if|suppose|assum(?:e|ing))(?: that)?|如果|假设)\s*(?:both )?{_PERSON}{_REST}"
    rf"|{_PERSON}\s*(?:(?:says?|said|claim(?:s|ed)?|states?|calls?|called|accuses?)\b|说)"
    r"(?:(?!,? (?:so|thus|hence|therefore)\b)[^.;。；\n])*"
    rf"|\b(?:iff|unless|whether|only if|not both|it is (?:false|not true|not the case|impossible))\b{_REST}",
    _FOLD,
)
_VERB = re.compile(
    rf"{_PEOPLE}\s(?:both\s)?(?:do(?:es)?\s)?(?P<negated>n['’]t\s|not\s|never\s)?(?:always\s|only\s)?"
    r"(?:(?P<truth>(?:tells?|speaks?)\s(?:only\s)?the\struth|(?:is|are)\s(?:truthful|honest))|lies?\b|(?:is|are)\slying)",
    _FOLD,
)


def refute(solution: Mapping[str, bool], reply: str) -> str | None:
    """Return why `reply` is not this assignment (name -> is a knight), or None when it is.

    Understands sentences ("Ann is a knight", "Bob and Cy aren't knights"), tables and lists ("Ann: knight"), and groups
    ("Knights: Ann, Bob"). Every person must be named, and nobody as both.
    """
    if len(reply) > MAX_CHARACTERS:
        return f"the answer has {len(reply)} characters: at most {MAX_CHARACTERS} are allowed"
    stated = statements(list(solution), reply)
    if both := [name for name, kinds in stated.items() if len(kinds) > 1]:
        return f"calls {', '.join(both)} both a knight and a knave"
    if missing := [name for name in solution if not stated.get(name)]:
        return f"does not say what {', '.join(missing)} {'is' if len(missing) == 1 else 'are'}"
    wrong = [name for name, knight in solution.items() if stated[name] != {knight}]
    return f"wrong about {', '.join(wrong)}" if wrong else None


def statements(names: Sequence[str], reply: str) -> dict[str, set[bool]]:
    """Return what a reply says about each person: {True} knight, {False} knave, both if it contradicts itself."""
    text = _MARKUP.sub(" ", reply.translate(_NARROW)).replace("|", " is ")  # a table row becomes a sentence
    text = re.sub(r" ?\n[ \n]*", "\n", re.sub(r"[^\S\n]+", " ", text))  # patterns take cubic time on long gaps
    numbers = {name.casefold(): number for number, name in enumerate(names)}
    known = "|".join(_name_pattern(name) for name in sorted(names, key=len, reverse=True))
    text = re.sub(
        rf"(?<![A-Za-z0-9_])(?:{known})(?![A-Za-z0-9_])",
        lambda match: f"\1{numbers[match[0].casefold()]}\2",
        text,
        flags=re.ASCII,
    )
    text = _NOT_STATED.sub("", text)
    stated: dict[str, set[bool]] = {name: set() for name in names}
    for match in (*_SENTENCE.finditer(text), *_PLAIN.finditer(text), *_GROUP.finditer(text)):
        for number in re.findall(r"\d+", match["people"]):
            stated[names[int(number)]].add(KINDS[match["kind"].casefold()] != bool(match.groupdict().get("negated")))
    if not any(stated.values()):  # "Ann lies" is often part of the reasoning
        for match in _VERB.finditer(text):
            for number in re.findall(r"\d+", match["people"]):
                stated[names[int(number)]].add(bool(match["truth"]) != bool(match["negated"]))
    return stated


def _name_pattern(name: str) -> str:
    """Ignore case, except in names of one letter: the article in "A is a knight" must not be a second name."""
    return re.escape(name) if len(name) == 1 else f"(?i:{re.escape(name)})"


def solution_of(gold: object, names: Sequence[str] = ()) -> dict[str, bool]:
    """Return the assignment, name -> is a knight, from the forms that data sets use.

    Accepts {"Ann": true}, {"Ann": "knight"}, [true, false] with `names`, and text: "Ann is a knight, Bob is a knave."

    Raises:
        ValueError: the gold answer does not assign a kind to every person.
    """
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"names = {names!r}: must be a list of names")
    pairs: list[tuple[str, object]] = []
    if isinstance(gold, Mapping) and gold:
        pairs = [(str(name), KINDS.get(str(kind).casefold(), kind)) for name, kind in gold.items()]
    elif isinstance(gold, str):
        people = names or re.findall(r"([^\s,.:;()]+)\s*(?:is an?\b|:|是)", gold)
        stated = statements(people, gold) if people else {}
        pairs = [(name, next(iter(kinds)) if len(kinds) == 1 else None) for name, kinds in stated.items()]
    elif isinstance(gold, Sequence) and len(gold) == len(names):
        pairs = list(zip(names, gold, strict=True))
    if not pairs or not all(name.strip() and isinstance(kind, bool) for name, kind in pairs):
        raise ValueError(f"gold = {gold!r}: must say of every person whether they are a knight")
    return {name: bool(kind) for name, kind in pairs}


def names_in(quiz: str) -> list[str]:
    """Return the people of a puzzle that says "You meet 3 inhabitants: Ann, Bob, and Cy."; else an empty list."""
    listed = re.search(r"inhabitants?:\s*([^.]+)\.", quiz)
    return [name for name in re.split(r",\s*(?:and\s+)?|\s+and\s+", listed[1]) if name] if listed else []


def _read(problem: Problem) -> dict[str, bool]:
    names = problem.extra.get("names") or names_in(problem.question)
    return solution_of(problem.extra.get("solution", problem.answer), names)


def _assignment(solution: Mapping[str, bool], reply: str) -> str | None:
    """Return what a reply says of every person, as one text; None if it is incomplete or contradictory."""
    stated = statements(list(solution), reply[:MAX_CHARACTERS])
    complete = all(len(kinds) == 1 for kinds in stated.values())
    return ", ".join(f"{name}: {kinds.pop()}" for name, kinds in stated.items()) if complete else None


def _from_row(row: Row) -> dict[str, Any]:
    question = row.get("problem")
    names = row.get("names") or (names_in(question) if isinstance(question, str) else None)
    return {"solution": row.get("gold"), "names": names}


VERIFIER = Verifier(
    _read,
    judge_body(lambda solution, body: Ruling.of(refute(solution, body))),
    _assignment,
    from_row=_from_row,
)
