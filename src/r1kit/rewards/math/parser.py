"""Parse the formulas of final answers, in LaTeX or plain text, into the trees of `formula`. Nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from r1kit.rewards.math.formula import (
    MAX_DEPTH,
    Apply,
    Formula,
    Unreadable,
    inverse,
    negative,
    power,
    product,
    renamed,
    sorted_terms,
    subterms,
)

MAX_CHARACTERS = 4_000
MAX_POWER_TOWER = 8  # stacked exponents

FUNCTIONS = (
    *("arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "coth", "sin", "cos", "tan", "cot", "sec", "csc"),
    *("arccot", "exp", "log", "ln", "lg", "gcd", "lcm", "max", "min", "abs", "floor", "ceil", "erf", "cis"),
)
FUNCTION_LETTERS = frozenset("fghFGHO") | {
    "Gamma",
    "zeta",
    "Re",
    "Im",
    "arg",
    "sgn",
}  # f(0) is a call, x(x+1) a product
SYMBOLS = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "Re Im arg sgn nabla partial upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar infty".split()
)

# Inside a formula, 2e+1 contains Euler's number; a complete text 2e+1 is a decimal (`value` also tries the other).
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:(?:[eE]|E[+-])\d{1,3}(?![\w.]))?")
_SCIENTIFIC = re.compile(r"-?(?:\d+\.?\d*|\.\d+)e[+-]\d{1,3}")
_RECURRING = re.compile(
    r"(\d*)\.(\d*)\\(?:overline|bar|dot)\{?(\d+)\}?(?:\\dot\{?(\d)\}?)?|(\d*)\.(\d*?)(\d)\7{2,}\.\.\."
)
_MIXED = re.compile(r"(\d+)(?: (\d+)/(\d+)(?!\d)|\\frac(?:\{(\d+)\}|(\d))(?:\{(\d+)\}|(\d)))")
_DIGITS, _DIGIT, _NEXT_DIGIT = re.compile(r"\d+"), re.compile(r"\d"), re.compile(r" ?\d")
_FACTORIAL = re.compile("!!?")
_NAME = re.compile(r"\\?[A-Za-z]+")
_SUBSCRIPT = re.compile(r"_(?:\{([^{}]*)\}|(\\[A-Za-z]+|\w))")
_LETTERS = re.compile(r"\{([^{}]*)\}")
_COMBINATIONS = re.compile(r"_(\w|\{[\w+-]+\})\^(\w|\{\w+\})")  # C_n^k: n choose k
_RANGE = re.compile(r"_\{([A-Za-z])=([^{}]*)\}\^")
_TIMES = re.compile(r"(?:\*|\\cdot(?![a-z])|\\times(?![a-z])|\\ast(?![a-z])) ?| ")
_OVER = re.compile(r"/|\\div(?![a-z]) ?")
_ARGUMENTS = re.compile(r"[(\[{|]|\\\{")
_OPENING = re.compile(r"[(\[{|]|\\\{|\\lfloor|\\lceil")
_PAIRS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil", "|": "|"}
_ROUNDED = {r"\lfloor": "floor", r"\lceil": "ceil", "|": "abs"}


@lru_cache(maxsize=2048)
def parse(text: str) -> Formula:
    """Parse a text into a formula. Raises Unreadable."""
    if len(text) > MAX_CHARACTERS:
        raise Unreadable("too long")
    if text.isalpha() and text.isascii() and len(text) > 2 and not _function_prefix(text, max_extra=1):
        return text.lower()  # a word, not a product of letters
    if _SCIENTIFIC.fullmatch(text):
        return Fraction(text)
    parser = _Parser(text)
    formula = parser.sum()
    if parser.at < len(text):
        raise Unreadable(text[parser.at :])
    if "infty" in subterms(formula) and formula not in ("infty", negative("infty")):
        raise Unreadable("infinity inside a formula")
    return formula


def _function_prefix(name: str, max_extra: int) -> str | None:
    """Return the function that `name` starts with, if at most `max_extra` letters follow: sinx is sin of x."""
    return next((f for f in FUNCTIONS if name.startswith(f) and len(name) <= len(f) + max_extra), None)


def _recurring_decimal(match: re.Match[str]) -> Fraction:
    r"""Return the value of 0.1\overline{6}, 0.1\dot{6} or 0.1666..."""
    first = 5 if match[7] else 1
    whole, start, period = match[first], match[first + 1], match[first + 2] + (match[4] or "")
    tail: Fraction = Fraction(int(period), 10 ** len(period) - 1) / 10 ** len(start)
    return Fraction(f"{whole or 0}.{start}0") + tail


class _Parser:
    """Recursive-descent parser: every method parses one construct at position `self.at`."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth, self.bars = text, 0, 0, 0

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Consume `pattern` if it comes next."""
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match

    def take(self, literal: str) -> bool:
        """Consume `literal` if it comes next; return whether it did."""
        present = self.text.startswith(literal, self.at)
        self.at += len(literal) * present
        return present

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def sum(self) -> Formula:
        terms: list[Formula] = []
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
            if self.match(_OVER):
                factors.append(inverse(self.signed_factor()))
            elif self.match(_TIMES):
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
        """Parse an atom with its factorials, powers, and degree or percent sign."""
        value = self.atom()
        if marks := self.match(_FACTORIAL):
            value = Apply(marks[0], (value,))
        tower = [value]
        while self.take("^"):
            tower.append(self.exponent())
        if len(tower) > MAX_POWER_TOWER:
            raise Unreadable("too many powers on powers")
        while len(tower) > 1:  # right-associative: 2^3^2 is 2^9
            exponent = tower.pop()
            tower[-1] = power(tower[-1], exponent)
        if self.take("°"):
            return product([tower[0], "pi", Fraction(1, 180)])
        return product([tower[0], Fraction(1, 100)]) if self.take("%") else tower[0]

    def exponent(self) -> Formula:
        minus = self.sign()
        digits = self.match(_DIGITS)
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
        if mixed := self.match(_MIXED):  # "1 4/5" and "1\frac{4}{5}" are mixed numbers
            numerator, denominator = (int(part) for part in mixed.groups()[1:] if part)
            if not denominator:
                raise Unreadable("division by zero")
            return int(mixed[1]) + Fraction(numerator, denominator)
        if recurring := self.match(_RECURRING):
            return _recurring_decimal(recurring)
        if not (match := self.match(_NUMBER)):
            raise Unreadable(self.text[self.at :])
        if base := self.match(_SUBSCRIPT):  # 52_8: a numeral in another base is a symbol
            return f"{match[0]}_{base[1] or base[2]}"
        if self.match(_NEXT_DIGIT):
            raise Unreadable("two numbers side by side")
        return Fraction(match[0])

    def group(self) -> tuple[Formula, ...] | None:
        """Parse brackets around one formula, or around arguments between commas; None if no bracket comes next."""
        match = self.match(_OPENING)
        if not match:
            return None
        opening = match[0]
        outer, self.bars = self.bars, opening == "|"
        self.take(" ")
        values = [self.sum()]
        while self.take(","):
            values.append(self.sum())
        if not self.take(_PAIRS[opening]):
            raise Unreadable("unbalanced")
        self.bars = outer
        return (Apply(_ROUNDED[opening], (self.only(values),)),) if opening in _ROUNDED else tuple(values)

    def pair(self) -> tuple[Formula, ...] | None:
        """Parse a group of two formulas; None, at the same position, if it is none."""
        start = self.at
        group = self.group()
        if group is None or len(group) != 2:
            self.at = start
            return None
        return group

    @staticmethod
    def only(values: Sequence[Formula]) -> Formula:
        if len(values) != 1:
            raise Unreadable("a list instead of one value")
        return values[0]

    def named(self) -> Formula:
        match = self.match(_NAME)
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
        if command and name in ("sum", "prod"):
            return self.series(name)
        if command and name in ("overline", "vector", "cross"):
            return self.decorated(name)
        if name in FUNCTIONS:
            return self.function(name)
        if command:
            if name not in SYMBOLS:
                raise Unreadable(match[0])
            return self.symbol(name)
        start = _function_prefix(name, max_extra=99) or ("pi" if name.startswith("pi") else name[0])
        self.at -= len(name) - len(start)
        return self.function(start) if start in FUNCTIONS else self.symbol(start)

    def series(self, name: str) -> Formula:
        r"""Parse \sum_{k=a}^{b} or \prod with its body; the index gets a name of its own, so k and i are equal."""
        limits = self.match(_RANGE)
        if not limits:
            raise Unreadable(name)
        first = parse(limits[2])
        last = "infinite" if self.take("\\infty") or self.take("{\\infty}") else self.exponent()
        self.take(" ")
        body = self.product()
        depth = sum(term in ("sum", "prod") for term in subterms(body))
        return Apply(name, (renamed(body, limits[1], f"#{depth}"), first, last))

    def decorated(self, name: str) -> Formula:
        r"""Parse \overline{AB} (a segment, or a conjugate), \vector{AB} or \cross{a}{b} as one symbol."""
        letters = [
            match[1] for match in (self.match(_LETTERS), self.match(_LETTERS) if name == "cross" else None) if match
        ]
        if len(letters) != 1 + (name == "cross"):
            raise Unreadable(name)
        if name == "overline" and not re.fullmatch("[A-Z]{2}", letters[0]):
            return f"overline_{letters[0].replace(' ', '')}"
        ends = letters if name == "cross" else list(letters[0])
        symbol = f"{name}_{''.join(sorted(ends))}"
        return negative(symbol) if ends > sorted(ends) and name != "overline" else symbol

    def symbol(self, name: str) -> Formula:
        if name == "C" and (pair := _COMBINATIONS.match(self.text, self.at)):
            upper, lower = (parse(part.strip("{}")) for part in pair.groups())
            chosen = isinstance(upper, Fraction) and isinstance(lower, Fraction) and upper > 2 and upper >= lower
            if not isinstance(upper, Fraction) or chosen:
                self.at = pair.end()
                return Apply("choose", (upper, lower))
        if name == "C" and self.peek() == "(" and (arguments := self.pair()):
            return Apply("choose", arguments)
        while self.take("'"):
            name += "'"
        if subscript := self.match(_SUBSCRIPT):
            name += "_" + sorted_terms(re.sub(r"[\\\s]", "", subscript[1] or subscript[2]))
        if name.rstrip("'").split("_")[0] in FUNCTION_LETTERS and self.peek() == "(" and (arguments := self.group()):
            return Apply(name, arguments)
        return name

    def argument(self) -> Formula:
        r"""Parse the argument of a command: a group, or one character as in \frac12."""
        self.take(" ")
        digit = self.match(_DIGIT)
        return Fraction(int(digit[0])) if digit else self.atom()

    def root(self, command: bool) -> Formula:
        degree: Formula = Fraction(2)
        if self.take("["):
            degree = self.sum()
            if not self.take("]"):
                raise Unreadable("unbalanced")
        return Apply("root", (self.argument() if command else self.atom(), degree))

    def function(self, name: str) -> Formula:
        base = self.match(_SUBSCRIPT)
        exponent = self.exponent() if self.take("^") else None
        self.take(" ")
        arguments = self.group() if _ARGUMENTS.match(self.text, self.at) else None
        if arguments is None:  # \sin 2x takes all factors up to the next sign or operator
            factors = [self.factor()]
            while self.peek().isalpha() or self.text.startswith(("\\pi", "\\theta"), self.at):
                factors.append(self.factor())
            arguments = (product(factors),)
        if name in ("ln", "lg", "log"):
            base_text = (base[1] or base[2]) if base else {"lg": "10"}.get(name)
            value: Formula = Apply("log", (self.only(arguments), *((parse(base_text),) if base_text else ())))
        elif exponent == -1 and f"arc{name}" in FUNCTIONS:
            return Apply(f"arc{name}", arguments)
        elif name == "cis":
            angle = self.only(arguments)
            value = Apply("+", (Apply("cos", (angle,)), product(["i", Apply("sin", (angle,))])))
        elif name == "exp":
            value = power("e", self.only(arguments))
        else:
            value = Apply(name + (f"_{base[1] or base[2]}" if base else ""), arguments)
        return value if exponent is None else power(value, exponent)
