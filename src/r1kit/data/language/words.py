r"""Find the words of a text. Code, formulas, names and abbreviations are left out: they have no language.

Left out:  code, formulas, commands of LaTeX, links, tags, identifiers with a digit or `_`, words before `(` or of up
           to three letters before an operator; single letters, words without a vowel (km, gcd), abbreviations of
           mathematics (sin, log), acronyms (GPU, triangle ABC), brands (iPhone), and names: a capital letter within a
           sentence, or at its start when the sentence also has a script without capitals (Alice in Chinese text)

One regular expression cuts the text into tokens, what is known about a token is looked up, and the rest is numpy:
a text of 20,000 characters takes 3 to 9 ms (benchmarks/language.py).

Shapes: N words, S sentences, V tokens seen so far, C languages with a list of common words.
"""

from __future__ import annotations

import re
from threading import Lock
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from r1kit.data.language.common_words import LANGUAGES_OF, WITH_COMMON_WORDS
from r1kit.data.language.scripts import SCRIPTS

_NOT_TEXT = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`"  # code
    r"|\$\$.*?(?:\$\$|\Z)|\$(?=\S)[^$\n]{1,400}(?<=\S)\$(?!\d)"  # formulas; not "$5 and $6"
    r"|\\\[.*?(?:\\\]|\Z)|\\\(.*?(?:\\\)|\Z)"
    r"|\\[A-Za-z]+\*?(?:\{[A-Za-z]*\})?"  # \begin{align}, \text{cm}
    r"|https?://\S+|www\.\S+"
    r"|</?\w+>",
    re.DOTALL,
)
_ADDRESS = re.compile(r"\S{1,64}@\S{1,255}")
_OPERATORS = "=^+*/<>≤≥≠"


def _characters(name: str) -> str:
    """Return the pattern of one token of a script: a word, or the characters that count as one word."""
    per_word = SCRIPTS[name].characters_per_word
    return f"[{SCRIPTS[name].characters}]" + (f"{{1,{per_word}}}" if per_word else "+")


_TOKEN = re.compile(
    rf"[{SCRIPTS['Latin'].characters}0-9_]+(?:\(| ?[{_OPERATORS}])?"
    r"|[\n!?;:。！？；：|]|[.।](?!\S)"  # ends of sentences
    rf"|{_characters('Han')}"
    rf"|(?=[^\x00-\u02ff])(?:{'|'.join(_characters(name) for name in SCRIPTS if name not in ('Latin', 'Han'))})"
)
_SCRIPT = re.compile("|".join(f"(?P<{name}>[{script.characters}])" for name, script in SCRIPTS.items()))
_VOWEL = re.compile("[aeiouyAEIOUY]|[^\x00-\x7f]")
_INNER_CAPITAL = re.compile("[a-z][A-Z]")
_SHORT = 3  # letters of a product of variables, such as ab in "ab = 6"
_MATHEMATICS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log exp lim sup inf max min mod det dim deg arg abs "
    "rad mol".split()
)
MAX_TOKENS = 200_000  # in the vocabulary; a larger one is emptied before the next text

SCRIPT_NAMES = tuple(SCRIPTS)
COLUMN = {code: i for i, code in enumerate(WITH_COMMON_WORDS)}
_NONE, _END = -2, -1  # instead of the index of a script
_HAS_CASE = np.array([script.has_case for script in SCRIPTS.values()])


class Table(NamedTuple):
    """What is known about the tokens of the vocabulary. A row never changes once it is in use."""

    script_V: NDArray[np.int8]
    """Index in SCRIPT_NAMES, _NONE or _END."""
    letters_V: NDArray[np.int32]
    capital_V: NDArray[np.bool_]
    acronym_V: NDArray[np.bool_]
    """Has capitals other than the first letter."""
    is_common_V: NDArray[np.bool_]
    """Common in any language."""
    common_VC: NDArray[np.bool_]
    """Common in each of the languages of COLUMN."""


class Words(NamedTuple):
    """The words of a text."""

    tokens: list[str]
    """All tokens of the text."""
    position_N: NDArray[np.intp]
    """Index in `tokens`."""
    sentence_N: NDArray[np.intp]
    script_N: NDArray[np.int8]
    """Index in SCRIPT_NAMES."""
    row_N: NDArray[np.intp]
    """Index in `table`."""
    table: Table


def words_of(text: str) -> Words:
    """Return the words of a text, without names and abbreviations."""
    if "@" in text:
        text = _ADDRESS.sub(" ", text)
    tokens = _TOKEN.findall(_NOT_TEXT.sub(" ", text))
    row, table = _VOCABULARY.look_up(tokens)
    script = table.script_V[row]
    position, sentence = np.flatnonzero(script >= 0), np.cumsum(script == _END)
    if table.capital_V[row].any():
        position = position[~_is_name(table, row[position], sentence[position])]
    script, sentence = script[position], sentence[position]
    han, kana = SCRIPT_NAMES.index("Han"), SCRIPT_NAMES.index("Kana")
    if (is_kana := script == kana).any():  # Japanese uses both scripts
        script = np.where((script == han) & np.isin(sentence, sentence[is_kana]), np.int8(kana), script)
    return Words(tokens, position, sentence, script, row[position], table)


def _is_name(table: Table, row_N: NDArray[np.intp], sentence_N: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which words are names or acronyms."""
    acronym, is_common, letters = table.acronym_V[row_N], table.is_common_V[row_N], table.letters_V[row_N]
    count_S = np.bincount(sentence_N)
    has_case_S = np.bincount(sentence_N, _HAS_CASE[table.script_V[row_N]]) == count_S
    # A sentence in capitals, not a list of points (AB, CD) or acronyms
    is_long_S = np.where(np.bincount(sentence_N, is_common & (letters > 2)), 3, 4) * count_S
    in_capitals_S = (np.bincount(sentence_N, acronym) == count_S) & (count_S > 2)
    in_capitals_S &= np.bincount(sentence_N, letters) >= is_long_S
    is_first = np.diff(sentence_N, prepend=-1) > 0
    begins = is_first & ~acronym & (has_case_S[sentence_N] | is_common)
    is_name: NDArray[np.bool_] = table.capital_V[row_N] & ~begins & ~in_capitals_S[sentence_N]
    return is_name


class _Vocabulary(dict[str, int]):
    """Token -> row of a table that grows with new tokens."""

    def __init__(self) -> None:
        super().__init__()
        self._table = _empty(1024)
        self._lock = Lock()

    def look_up(self, tokens: list[str]) -> tuple[NDArray[np.intp], Table]:
        """Return the row of each token, and the table."""
        with self._lock:
            if len(self) > MAX_TOKENS:
                self.clear()
                self._table = _empty(1024)  # the old one may be in use
            return np.fromiter(map(self.__getitem__, tokens), np.intp, len(tokens)), self._table

    def __missing__(self, token: str) -> int:
        row = len(self)
        if row == len(self._table.script_V):
            pairs = zip(_columns(self._table), _columns(_empty(row)), strict=True)
            self._table = Table._make(np.concatenate(pair) for pair in pairs)
        for column, value in zip(_columns(self._table), _describe(token), strict=True):
            column[row] = value
        self[token] = row
        return row


def _columns(table: Table) -> tuple[NDArray[Any], ...]:
    """Return the columns, whose common type a type checker cannot name."""
    return cast("tuple[NDArray[Any], ...]", table)


def _empty(rows: int) -> Table:
    script, letters = np.zeros(rows, np.int8), np.zeros(rows, np.int32)
    capital, acronym, is_common = np.zeros((3, rows), np.bool_)
    return Table(script, letters, capital, acronym, is_common, np.zeros((rows, len(COLUMN)), np.bool_))


_VOCABULARY = _Vocabulary()


def _describe(token: str) -> tuple[int, int, bool, bool, bool, list[bool]]:
    """Return the row of a token in the table."""
    nothing = 0, False, False, False, [False] * len(COLUMN)
    text = token.rstrip(f"({_OPERATORS} \t\n")
    found = _SCRIPT.match(text)
    if found is None:
        return _NONE if text and (text[0].isdecimal() or text[0] == "_") else _END, *nothing
    name, lower = str(found.lastgroup), text.lower()
    script = SCRIPTS[name]
    is_call_or_variable = token[-1] == "(" or (text != token and len(text) <= _SHORT)
    is_symbol = name == "Latin" and (bool(re.search("[0-9_]", text)) or not _VOWEL.search(text))
    common_in = LANGUAGES_OF.get(lower, ())
    is_letter = len(text) < script.shortest and not common_in
    if is_call_or_variable or is_symbol or is_letter or lower in _MATHEMATICS:
        return _NONE, *nothing
    acronym = script.has_case and (text.isupper() or bool(_INNER_CAPITAL.search(text)))
    capital = acronym or (script.has_case and text[0].isupper())
    common = [code in common_in for code in COLUMN]
    return SCRIPT_NAMES.index(name), len(text), capital, acronym, any(common), common


def text_of(words: Words, which: NDArray[np.intp]) -> str:
    """Return some of the words, separated by blanks."""
    return " ".join(words.tokens[i].rstrip(f"{_OPERATORS} \t\n") for i in words.position_N[which])
