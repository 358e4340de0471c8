r"""Exact algebra on short formulas: enough to see that \sqrt{8} is 2\sqrt{2} and (x+1)^2 is x^2+2x+1.

A value is a quotient of two polynomials with rational coefficients. The variables ("atoms") are symbols, roots of
primes, i (the root of -1) and whatever is not expanded further, such as "sin(x)". When cross-multiplication says that
two values are equal, they are, exactly: no floats, no guessing. When it does not, identities between atoms may still
make them equal (sin and cos, nested roots); that is for `probe` and `symbolic`. Fuel is counted, so time is bounded.
"""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from functools import reduce
from itertools import product
from typing import NamedTuple

from r1kit.rewards.math.parser import Formula, Unreadable

FUEL = 5_000  # products of terms, weighted by their size
MAX_BITS = 4_000  # of a coefficient
MAX_POWER = 64  # of a sum; a single term may be raised further
MAX_DEGREE = 12  # of a root
LARGEST_FACTORIAL = 500
ROOT = "√"  # the atom of the d-th root of p is "√d:p": its d-th power is replaced by p

Monomial = tuple[tuple[str, int], ...]  # (atom, exponent > 0), sorted
Poly = dict[Monomial, Fraction]  # without zero coefficients


class Value(NamedTuple):
    num: Poly
    den: Poly


def number(value: int | Fraction) -> Value:
    return Value(_clean({(): Fraction(value)}), ONE)


def atom(name: str) -> Value:
    return Value({((name, 1),): Fraction(1)}, ONE)


ONE: Poly = {(): Fraction(1)}


def rational(value: Value) -> Fraction | None:
    """The value as a number, when it is one."""
    if value.num.keys() | value.den.keys() <= {()}:
        return value.num.get((), Fraction(0)) / value.den[()]
    return None


def is_settled(value: Value) -> bool:
    """Whether only symbols, numbers and i occur: such values are equal exactly when cross-multiplication says so."""
    atoms = {name for poly in value for monomial in poly for name, _ in monomial} - {f"{ROOT}2:-1"}
    return not any(ROOT in name or "(" in name for name in atoms)


def key(value: Value) -> str:
    """A name of bounded length for a value inside an atom. Equal names mean equal values; the converse can fail."""
    lead = value.den[max(value.den)]
    text = "/".join("+".join(f"{c / lead}{m}" for m, c in sorted(poly.items())) for poly in value)
    return text if len(text) < 80 else hashlib.sha256(text.encode()).hexdigest()


class Arithmetic:
    """The operations, sharing one supply of fuel."""

    def __init__(self) -> None:
        self.fuel = FUEL

    def value(self, formula: Formula) -> Value:
        """What a formula is worth. Raises Unreadable: no value (1/0), or too much work."""
        self.burn(1)
        if isinstance(formula, Fraction):
            return number(formula)
        if isinstance(formula, str):
            return self.root(number(-1)) if formula == "i" else atom(formula)
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
        exact = [rational(arg) for arg in args]
        known = None if None in exact else _known(formula.head, exact)
        return atom(f"{formula.head}({','.join(map(key, args))})") if known is None else number(known)

    def burn(self, amount: int) -> None:
        self.fuel -= amount
        if self.fuel < 0:
            raise Unreadable("too much work")

    def add(self, a: Value, b: Value) -> Value:
        if a.den == b.den:
            return Value(self._sum(a.num, b.num), a.den)
        return Value(self._sum(self._mul(a.num, b.den), self._mul(b.num, a.den)), self._mul(a.den, b.den))

    def mul(self, a: Value, b: Value) -> Value:
        return Value(self._mul(a.num, b.num), self._mul(a.den, b.den))

    def neg(self, a: Value) -> Value:
        return Value({m: -c for m, c in a.num.items()}, a.den)

    def div(self, a: Value, b: Value) -> Value:
        if not b.num:
            raise Unreadable("division by zero")
        return self.mul(a, Value(b.den, b.num))

    def equal(self, a: Value, b: Value) -> bool:
        return self._mul(a.num, b.den) == self._mul(b.num, a.den)

    def ratio(self, a: Value, b: Value) -> Fraction | None:
        """The number k other than 0 with a = k b, if there is one."""
        left, right = self._mul(a.num, b.den), self._mul(b.num, a.den)
        if not left or left.keys() != right.keys():
            return None
        first, *others = {left[m] / right[m] for m in left}
        return None if others else first

    def power(self, base: Value, exponent: Value) -> Value:
        e = rational(exponent)
        if e is None:
            return atom(f"({key(base)})^({key(exponent)})")
        if e.denominator != 1:
            return self.power(self.root(base, e.denominator), number(e.numerator))
        if e < 0:
            base = self.div(Value(ONE, ONE), base)
        n = abs(e.numerator)
        return Value(self._power(base.num, n), self._power(base.den, n))

    def root(self, value: Value, degree: int = 2) -> Value:
        exact = rational(value)
        if exact is None or (exact < 0 and degree % 2 == 0 and degree > 2):
            return atom(f"root{degree}({key(value)})")
        whole = exact.numerator * exact.denominator ** (degree - 1)  # root(p/q) = root(p q^(d-1))/q
        if abs(whole) > 10**18:
            return atom(f"root{degree}({key(value)})")
        self.burn(50)
        result = number(Fraction(-1 if whole < 0 and degree > 2 else 1, exact.denominator))
        if whole < 0 and degree == 2:
            result = self.mul(result, atom(f"{ROOT}2:-1"))
        for prime, exponent in _factors(abs(whole)):
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


def _join(m: Monomial, n: Monomial) -> tuple[Monomial, int]:
    """The product of two monomials, and the whole number that squared roots leave behind."""
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
    """(factor, exponent) with product n. Factors below 1000 are prime; the rest stays whole unless it is a square."""
    found = []
    for divisor in range(2, min(1_000, math.isqrt(n)) + 1):
        exponent = 0
        while n % divisor == 0:
            n, exponent = n // divisor, exponent + 1
        if exponent:
            found.append((divisor, exponent))
    square = math.isqrt(n)
    if n > 1:
        found.append((square, 2) if square * square == n else (n, 1))
    return found


def _known(head: str, args: list[Fraction]) -> Fraction | None:
    """A function of rational numbers whose value is rational."""
    first, whole = args[0], all(arg.denominator == 1 for arg in args)
    match head:
        case "abs" | "floor" | "ceil" if len(args) == 1:
            return Fraction({"abs": abs, "floor": math.floor, "ceil": math.ceil}[head](first))
        case "max" | "min":
            return max(args) if head == "max" else min(args)
        case "gcd" | "lcm" if whole:
            return Fraction((math.gcd if head == "gcd" else math.lcm)(*map(int, args)))
        case "!" | "!!" if whole and 0 <= first <= LARGEST_FACTORIAL:
            return Fraction(math.prod(range(int(first), 0, -len(head))))
        case "choose" if whole and 0 <= args[1] and 0 <= first <= LARGEST_FACTORIAL:
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
