"""A reader for the formulas of final answers, in LaTeX or plain text. No eval: one pass over the characters."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache

from r1kit.rewards.algebra import Arithmetic, Unreadable, Value, atom, key, number, rational

MAX_DEPTH = 64
LARGEST_FACTORIAL = 100
FUNCTIONS = re.compile("(?:arc)?(?:sin|cos|tan)|cot|sec|csc|ln|log|exp|sinh|cosh|tanh")
FUNCTION_LETTERS = frozenset("fghFGHO")  # f(0) is no product; x(x+1) is one
SYMBOLS = re.compile(
    "alpha|beta|gamma|delta|(?:var)?epsilon|zeta|eta|(?:var)?theta|iota|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|upsilon|"
    "(?:var)?phi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Phi|Psi|Omega|ell|hbar"
)

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3}(?![\w.]))?")
_MIXED = re.compile(r"(\d+)(?: (\d+)/(\d+)|\\frac(?:\{(\d+)\}|(\d))(?:\{(\d+)\}|(\d)))")
_DIGITS = re.compile(r"\d+")
_NAME = re.compile(r"\\?[A-Za-z]+")
_SUBSCRIPT = re.compile(r"_(?:\{([\w, ]*)\}|(\w))")
_TIMES = re.compile(r"(?:\*|\\cdot(?![a-z])|\\times(?![a-z])) ?| ")
_OVER = re.compile(r"/|\\div(?![a-z]) ?")


def same_value(a: str, b: str) -> bool:
    """Whether two formulas have the same value; False also when one of them cannot be read."""
    left, right = read(a), read(b)
    try:
        return left is not None and right is not None and Arithmetic().equal(left, right)
    except Unreadable:
        return False


def factor_between(a: str, b: str) -> Fraction | None:
    """The number k other than 0 with a = k b, when both formulas can be read and there is one."""
    left, right = read(a), read(b)
    try:
        return Arithmetic().ratio(left, right) if left and right else None
    except Unreadable:
        return None


def number_of(text: str) -> Fraction | None:
    """The value of a formula that is a rational number."""
    value = read(text)
    return rational(value) if value else None


def formula_name(text: str) -> str | None:
    """A name that formulas of one value share, as far as it is easily seen."""
    value = read(text)
    return key(value) if value else None


@lru_cache(maxsize=1024)
def read(text: str) -> Value | None:
    """The value of a formula, or None when it is not one this reader knows."""
    try:
        return _Reader(text).whole()
    except Unreadable:
        return None


class _Reader:
    """Recursive descent; every method reads one construct from `self.at` on."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0
        self.do = Arithmetic()

    def whole(self) -> Value:
        value = self.sum()
        if self.at < len(self.text):
            raise Unreadable(self.text[self.at :])
        return value

    def take(self, pattern: str | re.Pattern[str]) -> re.Match[str] | str | None:
        """Step over `pattern` if it is next."""
        if isinstance(pattern, str):
            found = pattern if self.text.startswith(pattern, self.at) else None
            self.at += len(pattern) if found else 0
            return found
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match

    def sum(self) -> Value:
        negative = self.sign()
        total = self.product()
        total = self.do.neg(total) if negative else total
        while self.peek() in ("+", "-"):
            negative = self.sign()
            term = self.product()
            total = self.do.add(total, self.do.neg(term) if negative else term)
        return total

    def sign(self) -> bool:
        negative = False
        while self.peek() in ("+", "-"):
            negative ^= self.text[self.at] == "-"
            self.at += 1
        return negative

    def product(self) -> Value:
        total = self.factor()
        while True:
            if self.take(_OVER):
                total = self.do.div(total, self.signed_factor())
            elif self.take(_TIMES):
                total = self.do.mul(total, self.signed_factor())
            elif self.peek() in ("(", "[", "{", "\\") or self.peek().isalpha():
                total = self.do.mul(total, self.factor())
            else:
                return total

    def signed_factor(self) -> Value:
        negative = self.sign()
        value = self.factor()
        return self.do.neg(value) if negative else value

    def factor(self) -> Value:
        """An atom with its factorials and its power."""
        value = self.atom()
        while self.take("!"):
            n = rational(value)
            if n is None or n.denominator != 1 or not 0 <= n <= LARGEST_FACTORIAL:
                raise Unreadable("factorial")
            value = number(math.factorial(int(n)))
        tower = [value]
        while self.take("^"):
            tower.append(self.exponent())
        while len(tower) > 1:  # from the top: 2^3^2 is 2^9
            exponent = tower.pop()
            tower[-1] = self.do.power(tower[-1], exponent)
        return tower[0]

    def exponent(self) -> Value:
        negative = self.sign()
        digits = self.take(_DIGITS)
        value = number(int(digits[0])) if digits else self.atom()
        return self.do.neg(value) if negative else value

    def atom(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        value = self.number() or self.group() or self.named()
        self.depth -= 1
        return value

    def number(self) -> Value | None:
        if mixed := self.take(_MIXED):  # "1 4/5" and "1\frac{4}{5}" are sums
            whole, over, under = int(mixed[1]), *(int(part) for part in mixed.groups()[1:] if part)
            if not under:
                raise Unreadable("division by zero")
            return number(whole + Fraction(over, under))
        if not (match := self.take(_NUMBER)):
            return None
        if base := self.take(_SUBSCRIPT):  # 52_8: a numeral in another base is not computed with
            return atom(f"{match[0]}_{base[1] or base[2]}")
        if self.take(re.compile(r" ?\d")):
            raise Unreadable("two numbers side by side")
        return number(Fraction(match[0]))

    def group(self) -> Value | None:
        for opening, closing in ("()", "[]", "{}"):
            if self.take(opening):
                value = self.sum()
                if not self.take(closing):
                    raise Unreadable("unbalanced")
                return value
        return None

    def named(self) -> Value:
        match = self.take(_NAME)
        if not match:
            raise Unreadable(self.text[self.at :])
        name = match[0].lstrip("\\")
        if name == "frac" and match[0][0] == "\\":
            over = self.argument()
            return self.do.div(over, self.argument())
        if name == "sqrt":
            return self.square_root()
        if FUNCTIONS.fullmatch(name):
            return self.function(name)
        if match[0][0] == "\\" or name == "pi":
            if not SYMBOLS.fullmatch(name):
                raise Unreadable(match[0])
            return self.variable(name)
        if len(name) > 2:
            if self.peek() in ("^", "_"):
                raise Unreadable("a power of a word, or of the last letter of a product?")
            return atom(name.lower())
        self.at -= len(name) - 1
        return self.do.root(number(-1)) if name[0] == "i" else self.variable(name[0])

    def variable(self, name: str) -> Value:
        subscript = self.take(_SUBSCRIPT)
        if name in FUNCTION_LETTERS and self.peek() == "(":
            return self.function(name)
        return atom(f"{name}_{subscript[1] or subscript[2]}" if subscript else name)

    def argument(self) -> Value:
        r"""What a command applies to: a group, or like TeX one character: \frac12."""
        self.take(" ")
        digit = self.take(re.compile(r"\d"))
        return number(int(digit[0])) if digit else self.atom()

    def square_root(self) -> Value:
        degree = self.take(re.compile(r"\[(\d)\]"))
        return self.do.root(self.argument(), int(degree[1]) if degree else 2)

    def function(self, name: str) -> Value:
        base = self.take(_SUBSCRIPT)
        power = self.exponent() if self.take("^") else None
        self.take(" ")
        argument = self.group()
        if argument is None:  # \sin 2x: all factors up to the next sign or operator
            argument = self.factor()
            while self.peek().isalpha() or self.text.startswith("\\pi", self.at):
                argument = self.do.mul(argument, self.factor())
        value = atom(f"{name}{base[0] if base else ''}({key(argument)})")
        return self.do.power(value, power) if power else value

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]
