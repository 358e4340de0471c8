"""A reader for the formulas of final answers, in LaTeX or plain text: characters to a tree, and no eval anywhere.

A formula is a number (Fraction), a symbol (str) or an `Apply`. What the tree is worth is for others to say: `algebra`
exactly, `probe` in floating point, `symbolic` with sympy inside the sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import NamedTuple

LONGEST = 4_000  # characters
MAX_DEPTH = 64
TALLEST = 8  # powers on powers

FUNCTIONS = (
    *("arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "coth", "sin", "cos", "tan", "cot", "sec", "csc"),
    *("exp", "log", "ln", "lg", "gcd", "lcm", "max", "min", "abs", "floor", "ceil", "erf"),
)
FUNCTION_LETTERS = frozenset("fghFGHO") | {"Gamma", "zeta"}  # f(0) is no product; x(x+1) is one
SYMBOLS = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar infty".split()
)

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3}(?![\w.]))?")
_RECURRING = re.compile(
    r"(\d*)\.(\d*)\\(?:overline|bar|dot)\{?(\d+)\}?(?:\\dot\{?(\d)\}?)?|(\d*)\.(\d*?)(\d)\7{2,}\.\.\."
)
_MIXED = re.compile(r"(\d+)(?: (\d+)/(\d+)(?!\d)|\\frac(?:\{(\d+)\}|(\d))(?:\{(\d+)\}|(\d)))")
_DIGITS = re.compile(r"\d+")
_NAME = re.compile(r"\\?[A-Za-z]+")
_SUBSCRIPT = re.compile(r"_(?:\{([^{}]*)\}|(\\[A-Za-z]+|\w))")
_TIMES = re.compile(r"(?:\*|\\cdot(?![a-z])|\\times(?![a-z])|\\ast(?![a-z])) ?| ")
_OVER = re.compile(r"/|\\div(?![a-z]) ?")
_OPENING = re.compile(r"[(\[{|]|\\\{|\\lfloor|\\lceil")
_PAIRS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil", "|": "|"}
_ROUNDED = {r"\lfloor": "floor", r"\lceil": "ceil", "|": "abs"}


class Apply(NamedTuple):
    """+ and * of any number of terms; ^ and root (radicand, degree); !, !!, choose; abs, floor, ceil; functions."""

    head: str
    args: tuple[Formula, ...]


Formula = Fraction | str | Apply


class Unreadable(ValueError):
    """Not a formula that can be read or computed here, or one that would cost too much."""


@lru_cache(maxsize=2048)
def parse(text: str) -> Formula:
    """The formula a text stands for. Raises Unreadable."""
    if len(text) > LONGEST:
        raise Unreadable("too long")
    if text.isalpha() and text.isascii() and len(text) > 2 and not _starts_function(text, spare=1):
        return text.lower()  # a word, not a product of letters
    reader = _Reader(text)
    formula = reader.sum()
    if reader.at < len(text):
        raise Unreadable(text[reader.at :])
    if "infty" in parts(formula) and formula not in ("infty", negative("infty")):
        raise Unreadable("infinity is no number to compute with")
    return formula


def parts(formula: Formula) -> Iterator[Formula | str]:
    """Every symbol, number, application and head in a formula."""
    yield formula
    if isinstance(formula, Apply):
        yield formula.head
        for arg in formula.args:
            yield from parts(arg)


def negative(formula: Formula) -> Formula:
    return -formula if isinstance(formula, Fraction) else Apply("*", (Fraction(-1), formula))


def power(base: Formula, exponent: Formula) -> Formula:
    return Apply("^", (base, exponent))


def inverse(formula: Formula) -> Formula:
    return 1 / formula if isinstance(formula, Fraction) and formula else power(formula, Fraction(-1))


def product(factors: list[Formula]) -> Formula:
    """With the numbers multiplied out."""
    numbers = [factor for factor in factors if isinstance(factor, Fraction)]
    if len(numbers) > 1:
        factors = [prod(numbers), *(factor for factor in factors if not isinstance(factor, Fraction))]
    return factors[0] if len(factors) == 1 else Apply("*", tuple(factors))


def _starts_function(name: str, spare: int) -> str | None:
    """The function `name` begins with, when at most `spare` letters follow: sinx is sin of x."""
    return next((f for f in FUNCTIONS if name.startswith(f) and len(name) <= len(f) + spare), None)


class _Reader:
    """Recursive descent; every method reads one construct from `self.at` on."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth, self.bars = text, 0, 0, 0

    def take(self, pattern: str | re.Pattern[str]) -> re.Match[str] | str | None:
        """Step over `pattern` if it is next."""
        if isinstance(pattern, str):
            found = pattern if self.text.startswith(pattern, self.at) else None
            self.at += len(pattern) if found else 0
            return found
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def sum(self) -> Formula:
        terms = []
        while not terms or self.peek() in ("+", "-"):
            minus = self.sign()
            term = self.product()
            terms.append(negative(term) if minus else term)
        return terms[0] if len(terms) == 1 else Apply("+", tuple(terms))

    def sign(self) -> bool:
        minus = False
        while self.peek() in ("+", "-"):
            minus ^= self.text[self.at] == "-"
            self.at += 1
        return minus

    def product(self) -> Formula:
        factors = [self.factor()]
        while True:
            if self.take(_OVER):
                factors.append(inverse(self.signed_factor()))
            elif self.take(_TIMES):
                factors.append(self.signed_factor())
            elif self.starts_factor():
                factors.append(self.factor())
            else:
                return product(factors)

    def starts_factor(self) -> bool:
        if self.peek() == "|":
            return not self.bars
        closing = self.text.startswith((r"\rfloor", r"\rceil", r"\}"), self.at)
        return not closing and (self.peek() in ("(", "[", "{", "\\") or self.peek().isalpha())

    def signed_factor(self) -> Formula:
        minus = self.sign()
        value = self.factor()
        return negative(value) if minus else value

    def factor(self) -> Formula:
        """An atom with its factorials, degree and percent signs, and its power."""
        value = self.atom()
        if marks := self.take(re.compile("!!?")):
            value = Apply(marks[0], (value,))
        tower = [value]
        while self.take("^"):
            tower.append(self.exponent())
        if len(tower) > TALLEST:
            raise Unreadable("too many powers on powers")
        while len(tower) > 1:  # from the top: 2^3^2 is 2^9
            exponent = tower.pop()
            tower[-1] = power(tower[-1], exponent)
        if self.take("°"):
            return product([tower[0], "pi", Fraction(1, 180)])
        return product([tower[0], Fraction(1, 100)]) if self.take("%") else tower[0]

    def exponent(self) -> Formula:
        minus = self.sign()
        digits = self.take(_DIGITS)
        value = Fraction(int(digits[0])) if digits else self.atom()
        return negative(value) if minus else value

    def atom(self) -> Formula:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        if self.peek().isdecimal() or self.peek() == ".":
            value = self.number()
        else:
            arguments = self.group()
            value = self.named() if arguments is None else self.only(arguments)
        self.depth -= 1
        return value

    def number(self) -> Formula:
        if mixed := self.take(_MIXED):  # "1 4/5" and "1\frac{4}{5}" are sums
            whole, over, under = int(mixed[1]), *(int(part) for part in mixed.groups()[1:] if part)
            if not under:
                raise Unreadable("division by zero")
            return whole + Fraction(over, under)
        if found := self.take(_RECURRING):
            whole, start, period = (found[5], found[6], found[7]) if found[7] else (found[1], found[2], found[3])
            period += found[4] or ""
            tail = Fraction(int(period), 10 ** len(period) - 1) / 10 ** len(start)
            return Fraction(f"{whole or 0}.{start}0") + tail
        if not (match := self.take(_NUMBER)):
            raise Unreadable(self.text[self.at :])
        if base := self.take(_SUBSCRIPT):  # 52_8: a numeral in another base is not computed with
            return f"{match[0]}_{base[1] or base[2]}"
        if self.take(re.compile(r" ?\d")):
            raise Unreadable("two numbers side by side")
        return Fraction(match[0])

    def group(self) -> tuple[Formula, ...] | None:
        """What stands in brackets: one formula, or a function's arguments between commas."""
        match = self.take(_OPENING)
        if not match:
            return None
        opening = match[0]
        outer, self.bars = self.bars, opening == "|"
        values = [self.sum()]
        while self.take(","):
            values.append(self.sum())
        if not self.take(_PAIRS[opening]):
            raise Unreadable("unbalanced")
        self.bars = outer
        return (Apply(_ROUNDED[opening], (self.only(values),)),) if opening in _ROUNDED else tuple(values)

    @staticmethod
    def only(values: tuple[Formula, ...] | list[Formula]) -> Formula:
        if len(values) != 1:
            raise Unreadable("a list where a value belongs")
        return values[0]

    def named(self) -> Formula:
        match = self.take(_NAME)
        if not match:
            raise Unreadable(self.text[self.at :])
        name, command = match[0].lstrip("\\"), match[0][0] == "\\"
        if name == "frac" and command:
            over = self.argument()
            return product([over, inverse(self.argument())])
        if name == "binom" and command:
            upper = self.argument()
            return Apply("choose", (upper, self.argument()))
        if name == "sqrt":
            return self.root(command)
        if name in FUNCTIONS:
            return self.function(name)
        if command:
            if name not in SYMBOLS:
                raise Unreadable(match[0])
            return self.symbol(name)
        start = _starts_function(name, spare=99) or ("pi" if name.startswith("pi") else name[0])
        self.at -= len(name) - len(start)
        return self.function(start) if start in FUNCTIONS else self.symbol(start)

    def symbol(self, name: str) -> Formula:
        while self.take("'"):
            name += "'"
        if subscript := self.take(_SUBSCRIPT):
            name += "_" + re.sub(r"[\\\s]", "", subscript[1] or subscript[2])
        if self.peek() == "(" and name.rstrip("'").split("_")[0] in FUNCTION_LETTERS:
            return Apply(name, self.group())
        return name

    def argument(self) -> Formula:
        r"""What a command applies to: a group, or like TeX one character: \frac12."""
        self.take(" ")
        digit = self.take(re.compile(r"\d"))
        return Fraction(int(digit[0])) if digit else self.atom()

    def root(self, command: bool) -> Formula:
        degree: Formula = Fraction(2)
        if self.take("["):
            degree = self.sum()
            if not self.take("]"):
                raise Unreadable("unbalanced")
        return Apply("root", (self.argument() if command else self.atom(), degree))

    def function(self, name: str) -> Formula:
        base = self.take(_SUBSCRIPT)
        exponent = self.exponent() if self.take("^") else None
        self.take(" ")
        arguments = self.group() if self.peek() in ("(", "[", "{", "|") else None
        if arguments is None:  # \sin 2x: all factors up to the next sign or operator
            factors = [self.factor()]
            while self.peek().isalpha() or self.text.startswith(("\\pi", "\\theta"), self.at):
                factors.append(self.factor())
            arguments = (product(factors),)
        if name in ("ln", "lg", "log"):
            base_text = (base[1] or base[2]) if base else {"lg": "10"}.get(name)
            value: Formula = Apply("log", (self.only(arguments), *((parse(base_text),) if base_text else ())))
        elif exponent == -1 and f"arc{name}" in FUNCTIONS:
            return Apply(f"arc{name}", arguments)
        elif name == "exp":
            value = power("e", self.only(arguments))
        else:
            value = Apply(name + (f"_{base[1] or base[2]}" if base else ""), arguments)
        return value if exponent is None else power(value, exponent)
