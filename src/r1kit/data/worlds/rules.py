"""The rules of `world:instructions`: what a program checks, and how training and held-out problems word it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TRAIN, HELD = "train", "held_out"
REQUESTS = {
    TRAIN: (
        "Tell me briefly about {}.",
        "Write a short text about {}.",
        "Describe {} in a few words.",
        "What can you say about {}? Keep it short.",
        "Write one or two sentences about {}.",
        "Give me a brief explanation of {}.",
    ),
    HELD: ("I would like to read a short note on {}.", "Say a little about {}, in a sentence or two."),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of rule.

    Attributes:
        constraint: The constraint of IFEval that checks it; no two rules have the same.
        thought: How a reader understands it, with fields for the values.
        wordings: By split: sentences with fields for the values.
        values: By split: keyword arguments of the constraint, to which texts refer; a list is shown as its first.
        group: Rules of one group exclude each other; "" for none.
    """

    constraint: str
    thought: str
    wordings: Mapping[str, tuple[str, ...]]
    values: Mapping[str, tuple[Mapping[str, Any], ...]]
    group: str = ""


def _rule(
    constraint: str,
    thought: str,
    train: tuple[str, ...],
    held_out: tuple[str, ...],
    values: Mapping[str, tuple[Mapping[str, Any], ...]] | None = None,
    group: str = "",
) -> Rule:
    return Rule(constraint, thought, {TRAIN: train, HELD: held_out}, values or {TRAIN: ({},), HELD: ({},)}, group)


def _each(key: str, train: str, held_out: str, **others: object) -> dict[str, tuple[dict[str, Any], ...]]:
    """Return one set of arguments for each of the texts, which "|" separates."""
    return {s: tuple({**others, key: text} for text in t.split("|")) for s, t in ((TRAIN, train), (HELD, held_out))}


RULES: dict[str, Rule] = {
    "postscript": _rule(
        "detectable_content:postscript",
        "I add a P.S. at the end.",
        (
            "At the end, add a postscript that starts with P.S.",
            "Finish with a postscript, marked P.S.",
            "After your text, write a P.S. with one more sentence.",
            "Include a P.S. at the end.",
        ),
        ("Your last line should be a postscript beginning with P.S.", "Do not forget a closing P.S."),
        _each("postscript_marker", "P.S.", "P.S."),
        "ending",
    ),
    "no comma": _rule(
        "punctuation:no_comma",
        "I use no comma.",
        (
            "Do not use any commas.",
            "Write it without commas.",
            "Commas are not allowed in your answer.",
            "Your text must not contain a comma.",
        ),
        ("Leave out all commas.", "There should be no comma anywhere in the reply."),
    ),
    "lowercase": _rule(
        "change_case:english_lowercase",
        "I use small letters only.",
        (
            "Use lowercase letters only.",
            "Write everything in lowercase.",
            "Do not use any capital letters.",
            "Your entire answer should be in small letters.",
        ),
        ("No uppercase letters, please.", "All letters must be lower case."),
        group="case",
    ),
    "capitals": _rule(
        "change_case:english_capital",
        "I use capital letters only.",
        (
            "Use capital letters only.",
            "WRITE EVERYTHING IN CAPITALS.",
            "Your entire answer should be in all caps.",
            "Do not use any lowercase letters.",
        ),
        ("Every letter must be upper case.", "Answer in block capitals throughout."),
        group="case",
    ),
    "quotation": _rule(
        "startend:quotation",
        "I begin and end with a double quote.",
        (
            "Put your entire answer in double quotation marks.",
            'Start and end your answer with a double quote (").',
            "Wrap the text in double quotes.",
            "Your answer must be inside double quotation marks.",
        ),
        ('The reply has to open and close with a " character.', "Enclose all you write in double quotes."),
    ),
    "title": _rule(
        "detectable_format:title",
        "I give it a title in << and >>.",
        (
            "Give it a title in double angle brackets, like <<My Title>>.",
            "Begin with a title written as <<title>>.",
            "Add a title, wrapped in << and >>.",
            "Your text needs a title in double angular brackets, such as <<a title>>.",
        ),
        ("Put a heading of the form <<heading>> on top.", "It should have a name between << and >>."),
        group="opening",
    ),
    "last words": _rule(
        "startend:end_checker",
        "I end with: {end_phrase}",
        (
            "End with exactly these words: {end_phrase}",
            'Finish your answer with "{end_phrase}"',
            "The last sentence must be: {end_phrase}",
            "Your very last words should be: {end_phrase}",
        ),
        ("Close with the phrase: {end_phrase}", "Nothing may follow the words: {end_phrase}"),
        _each(
            "end_phrase",
            "I hope this helps.|Now you know more.|Thank you for reading.|That was my answer.|See you next time.",
            "I have nothing to add.|Have a nice day.",
        ),
        "ending",
    ),
    "keyword": _rule(
        "keywords:existence",
        "I use the word {keywords}.",
        (
            'Use the word "{keywords}".',
            "Include the word {keywords} somewhere.",
            "The word {keywords} must occur in your text.",
            "Make sure that you mention the word {keywords}.",
        ),
        ('"{keywords}" has to be one of your words.', "Work in the word {keywords}."),
        {
            split: tuple({"keywords": [word]} for word in words.split("|"))
            for split, words in (
                (TRAIN, "wonderful|history|together|simple|family|surprise|always|careful"),
                (HELD, "curious|village|useful|silent"),
            )
        },
    ),
    "forbidden word": _rule(
        "keywords:forbidden_words",
        "I never use the word {forbidden_words}.",
        (
            'Do not use the word "{forbidden_words}".',
            "Avoid the word {forbidden_words}.",
            "The word {forbidden_words} must not occur in your text.",
            "Write it without the word {forbidden_words}.",
        ),
        ('"{forbidden_words}" is a word you may not use.', "Leave out the word {forbidden_words}."),
        {split: tuple({"forbidden_words": [word]} for word in ("the", "and", "is", "of")) for split in (TRAIN, HELD)},
    ),
    "highlight": _rule(
        "detectable_format:number_highlighted_sections",
        "I put *stars* around a word.",
        (
            "Highlight at least one word with asterisks, like *this*.",
            "Put stars around an important word, as in *word*.",
            "Mark one part of the text in *italics* with asterisks.",
            "Emphasize something by writing it as *something*.",
        ),
        ("Set one of the words between asterisks, like *so*.", "One word should stand out, written *like this*."),
        {split: ({"num_highlights": 1},) for split in (TRAIN, HELD)},
    ),
    "capital words": _rule(
        "change_case:capital_word_frequency",
        "I write two words in CAPITALS.",
        (
            "Write at least two words in all capital letters.",
            "Use two or more words in ALL CAPS.",
            "At least two words should be fully capitalized, like THIS.",
            "Put two words in capitals for emphasis.",
        ),
        ("Two of the words, or more, must be in UPPER CASE.", "SHOUT at least two of the words."),
        {split: ({"capital_frequency": 2, "capital_relation": "at least"},) for split in (TRAIN, HELD)},
        "case",
    ),
    "first word": _rule(
        "length_constraints:nth_paragraph_first_word",
        "I begin with {first_word}.",
        (
            'Begin with the word "{first_word}".',
            "The first word must be {first_word}.",
            "Start your answer with {first_word}.",
            "Let {first_word} be the word you start with.",
        ),
        ('Open with the word "{first_word}".', "Your text has to begin with {first_word}."),
        _each(
            "first_word",
            "Today|Many|Often|Sometimes|Everyone|In|Most",
            "Usually|Some",
            num_paragraphs=1,
            nth_paragraph=1,
        ),
        "opening",
    ),
    "few words": _rule(
        "length_constraints:number_words",
        "I use fewer than {num_words} words.",
        (
            "Use fewer than {num_words} words.",
            "Write less than {num_words} words.",
            "Your answer must have fewer than {num_words} words.",
            "Stay below {num_words} words.",
        ),
        ("It has to be shorter than {num_words} words.", "The limit is {num_words} words, and you must stay under it."),
        {
            TRAIN: tuple({"relation": "less than", "num_words": number} for number in (14, 16, 20)),
            HELD: tuple({"relation": "less than", "num_words": number} for number in (15, 18)),
        },
    ),
    "placeholder": _rule(
        "detectable_content:number_placeholders",
        "I put a [placeholder] into it.",
        (
            "Include a placeholder in square brackets, such as [name].",
            "Leave a gap to fill in, written as [place] or the like.",
            "Use at least one placeholder like [date].",
            "Your text needs one field in square brackets, as in [address].",
        ),
        ("Put one blank such as [animal] into the text.", "One word should be a slot in brackets, like [month]."),
        {split: ({"num_placeholders": 1},) for split in (TRAIN, HELD)},
    ),
}
