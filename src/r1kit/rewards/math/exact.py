r"""Exact algebra on short formulas: enough to see that \sqrt{8} is 2\sqrt{2} and (x+1)^2 is x^2+2x+1.

A value is a quotient of two polynomials with rational coefficients. Its variables ("atoms") are symbols, roots of
primes, i (the root of -1) and unexpanded terms such as "sin(x)". Cross-multiplication proves equality exactly, without
floats. It misses identities between atoms (sin and cos, nested roots): `numeric` and `sympy_guest` decide those.
Fuel is counted, so the time is bounded.
"""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from functools import reduce
from itertools import product
from typing import NamedTuple

from r1kit.rewards.math.formula import Apply, Formula, Unreadable

FUEL = 5_000  # term products, weighted by size
MAX_BITS = 4_000  # of a coefficient
MAX_POWER = 64  # of a sum; single terms may have higher powers
MAX_DEGREE = 12  # of a root
MAX_FACTORIAL = 500
SYMMETRIC = frozenset(("gcd", "lcm", "max", "min"))  # functions whose arguments have no order
ROOT = "√"  # the atom "√d:p" is the d-th root of p; its d-th power simplifies to p

Monomial = tuple[tuple[str, int], ...]  # (atom, exponent > 0), sorted
Poly = dict[Monomial, Fraction]  # without zero coefficients


class Value(NamedTuple):
    """A quotient of polynomials."""

    num: Poly
    den: Poly


def number(value: int | Fraction) -> Value:
    """Return a number as a value."""
    return Value(_clean({(): Fraction(value)}), ONE)


def atom(name: str) -> Value:
    """Return a variable as a value."""
    return Value({((name, 1),): Fraction(1)}, ONE)


ONE: Poly = {(): Fraction(1)}


def rational(value: Value) -> Fraction | None:
    """Return the value as a number, or None if it contains atoms."""
    if value.num.keys() | value.den.keys() <= {()}:
        return value.num.get((), Fraction(0)) / value.den[()]
    return None


def has_unique_form(value: Value) -> bool:
    """Return whether only symbols, numbers and i occur, so that cross-multiplication also refutes equality."""
    atoms = {name for poly in value for monomial in poly for name, _ in monomial} - {f"{ROOT}2:-1"}
    return not any(ROOT in name or "(" in name for name in atoms)


def value_key(value: Value) -> str:
    """Return a name of bounded length for a value. Equal names mean equal values; the converse can fail."""
    lead = value.den[max(value.den)]
    text = "/".join("+".join(f"{c / lead}{m}" for m, c in sorted(poly.items())) for poly in value)
    return text if len(text) < 80 else hashlib.sha256(text.encode()).hexdigest()


class Arithmetic:
    """Arithmetic on values with one shared budget of fuel."""

    def __init__(self) -> None:
        self.fuel = FUEL

    def value(self, formula: Formula) -> Value:
        """Evaluate a formula. Raises Unreadable without a value (1/0), or out of fuel."""
        self.burn(1)
        if isinstance(formula, Fraction):
            return number(formula)
        if isinstance(formula, str):
            return self.root(number(-1)) if formula == "i" else atom(formula)
        if formula.head == "root" and (power := _odd_root_of_power(formula)):
            return self.power(self.value(power[0]), number(power[1]))
        args = [self.value(arg) for arg in formula.args]
        match formula.head:
            case "+":
                return reduce(self.add, args)
            case "*":
                return reduce(self.mul, args)
            case "^":
                return self.power(*args)
            case "root":
                degree = rational(args[1])
                if degree is not None and degree.denominator == 1 and 2 <= degree <= MAX_DEGREE:
                    return self.root(args[0], int(degree))
                return self.power(args[0], self.div(number(1), args[1]))
        numbers = [exact for arg in args if (exact := rational(arg)) is not None]
        result = _rational_result(formula.head, numbers) if len(numbers) == len(args) else None
        names = sorted(map(value_key, args)) if formula.head in SYMMETRIC else map(value_key, args)
        return atom(f"{formula.head}({','.join(names)})") if result is None else number(result)

    def burn(self, amount: int) -> None:
        """Use fuel. Raises Unreadable when there is none left."""
        self.fuel -= amount
        if self.fuel < 0:
            raise Unreadable("too much work")

    def add(self, a: Value, b: Value) -> Value:
        """Return a + b."""
        if a.den == b.den:
            return Value(self._sum(a.num, b.num), a.den)
        return Value(self._sum(self._mul(a.num, b.den), self._mul(b.num, a.den)), self._mul(a.den, b.den))

    def mul(self, a: Value, b: Value) -> Value:
        """Return a * b."""
        return Value(self._mul(a.num, b.num), self._mul(a.den, b.den))

    def neg(self, a: Value) -> Value:
        """Return -a."""
        return Value({m: -c for m, c in a.num.items()}, a.den)

    def div(self, a: Value, b: Value) -> Value:
        """Return a / b. Raises Unreadable if b is zero."""
        if not b.num:
            raise Unreadable("division by zero")
        return self.mul(a, Value(b.den, b.num))

    def equal(self, a: Value, b: Value) -> bool:
        """Return whether a equals b by cross-multiplication."""
        return self._mul(a.num, b.den) == self._mul(b.num, a.den)

    def ratio(self, a: Value, b: Value) -> Fraction | None:
        """Return the number k != 0 with a = k * b, if there is one."""
        left, right = self._mul(a.num, b.den), self._mul(b.num, a.den)
        if not left or left.keys() != right.keys():
            return None
        first, *others = {left[m] / right[m] for m in left}
        return None if others else first

    def power(self, base: Value, exponent: Value) -> Value:
        """Return base ^ exponent."""
        e = rational(exponent)
        if e is None:
            return atom(f"({value_key(base)})^({value_key(exponent)})")
        if e.denominator != 1:
            return self.power(self.root(base, e.denominator), number(e.numerator))
        if e < 0:
            base = self.div(Value(ONE, ONE), base)
        n = abs(e.numerator)
        return Value(self._power(base.num, n), self._power(base.den, n))

    def root(self, value: Value, degree: int = 2) -> Value:
        """Return the root of a value, split into roots of primes if it is a number."""
        exact = rational(value)
        if exact is None and degree % 2 and value.den == ONE and value.num and value.num[max(value.num)] < 0:
            return self.neg(self.root(self.neg(value), degree))
        if exact is None or (exact < 0 and degree % 2 == 0 and degree > 2):
            return atom(f"root{degree}({value_key(value)})")
        radicand = exact.numerator * exact.denominator ** (degree - 1)  # root(p/q) = root(p q^(d-1))/q
        if abs(radicand) > 10**18:
            return atom(f"root{degree}({value_key(value)})")
        self.burn(50)
        result = number(Fraction(-1 if radicand < 0 and degree > 2 else 1, exact.denominator))
        if radicand < 0 and degree == 2:
            result = self.mul(result, atom(f"{ROOT}2:-1"))
        for prime, exponent in _factors(abs(radicand)):
            lowest = Fraction(exponent % degree, degree)
            result = self.mul(result, number(prime ** (exponent // degree)))
            if lowest:
                name = f"{ROOT}{lowest.denominator}:{prime}"
                result = self.mul(result, Value({((name, lowest.numerator),): Fraction(1)}, ONE))
        return result

    def _sum(self, a: Poly, b: Poly) -> Poly:
        self.burn(len(a) + len(b))
        return _clean({m: a.get(m, Fraction(0)) + b.get(m, Fraction(0)) for m in a.keys() | b.keys()})

    def _mul(self, a: Poly, b: Poly) -> Poly:
        bits, atoms = _bits(a) + _bits(b), max(map(len, (*a, *b)), default=0)
        self.burn(len(a) * len(b) * (1 + bits // 200 + atoms // 8))
        if bits > MAX_BITS:
            raise Unreadable("number too large")
        result: Poly = {}
        for (m, c), (n, d) in product(a.items(), b.items()):
            monomial, factor = _join(m, n)
            result[monomial] = result.get(monomial, Fraction(0)) + c * d * factor
        return _clean(result)

    def _power(self, a: Poly, n: int) -> Poly:
        if n > MAX_POWER and (len(a) > 1 or _bits(a) * n > MAX_BITS or n > MAX_BITS):
            raise Unreadable("power too high")
        result, square = ONE, a
        while n:
            if n & 1:
                result = self._mul(result, square)
            if n := n >> 1:
                square = self._mul(square, square)
        return result


def _odd_root_of_power(formula: Apply) -> tuple[Formula, Fraction] | None:
    """Split the odd root of an integer power, (x^2)^(1/3), into x and 2/3; None for any other root."""
    radicand, degree = formula.args
    if not (isinstance(radicand, Apply) and radicand.head == "^" and isinstance(degree, Fraction)):
        return None
    base, exponent = radicand.args
    if degree.denominator != 1 or not degree % 2 or not isinstance(exponent, Fraction) or exponent.denominator != 1:
        return None
    return base, exponent / degree


def _join(m: Monomial, n: Monomial) -> tuple[Monomial, int]:
    """Return the product of two monomials, and the integer factor from roots that became whole powers."""
    exponents = dict(m)
    for name, exponent in n:
        exponents[name] = exponents.get(name, 0) + exponent
    factor = 1
    for name, exponent in exponents.items():
        if name.startswith(ROOT):
            degree, base = map(int, name[1:].split(":"))
            factor *= base ** (exponent // degree)
            exponents[name] = exponent % degree
    return tuple(sorted((name, exponent) for name, exponent in exponents.items() if exponent)), factor


def _factors(n: int) -> list[tuple[int, int]]:
    """Factor n into (factor, exponent). Factors up to 1000 are prime; the rest is only tested for a square."""
    factors = []
    for divisor in range(2, min(1_000, math.isqrt(n)) + 1):
        exponent = 0
        while n % divisor == 0:
            n, exponent = n // divisor, exponent + 1
        if exponent:
            factors.append((divisor, exponent))
    square = math.isqrt(n)
    if n > 1:
        factors.append((square, 2) if square * square == n else (n, 1))
    return factors


def _rational_result(head: str, args: list[Fraction]) -> Fraction | None:
    """Evaluate a function of rational numbers; None if the result is not known to be rational."""
    first, all_integers = args[0], all(arg.denominator == 1 for arg in args)
    match head:
        case "abs" if len(args) == 1:
            return abs(first)
        case "floor" | "ceil" if len(args) == 1:
            return Fraction(math.floor(first) if head == "floor" else math.ceil(first))
        case "max" | "min":
            return max(args) if head == "max" else min(args)
        case "gcd" | "lcm" if all_integers:
            return Fraction((math.gcd if head == "gcd" else math.lcm)(*map(int, args)))
        case "!" | "!!" if all_integers and 0 <= first <= MAX_FACTORIAL:
            return Fraction(math.prod(range(int(first), 0, -len(head))))
        case "choose" if all_integers and args[1] >= 0 and 0 <= first <= MAX_FACTORIAL:
            return Fraction(math.comb(*map(int, args)))
        case "log":
            return _logarithm(*args)
    return None


def _logarithm(value: Fraction, base: Fraction | None = None) -> Fraction | None:
    if base is None or value <= 0 or base <= 1:
        return Fraction(0) if value == 1 else None
    nearest = round(math.log(value) / math.log(base)) if value.numerator.bit_length() < MAX_BITS else MAX_BITS
    return Fraction(nearest) if abs(nearest) < MAX_BITS // 8 and base**nearest == value else None


def _bits(a: Poly) -> int:
    return max((c.numerator.bit_length() + c.denominator.bit_length() for c in a.values()), default=0)


def _clean(a: Poly) -> Poly:
    return {m: c for m, c in a.items() if c}
