r"""Exact algebra on short formulas: enough to see that \sqrt{8} is 2\sqrt{2} and (x+1)^2 is x^2+2x+1.

A value is a quotient of two polynomials with rational coefficients. The variables ("atoms") are letters, words, square
roots of primes, i (the root of -1) and whatever is not expanded further, such as "sin(x)". Two values are equal when
cross-multiplication says so, exactly: no floats, no guessing. Work is counted in fuel, so time is bounded.
"""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from itertools import product
from typing import NamedTuple

FUEL = 5_000  # products of terms, weighted by their size
MAX_BITS = 4_000  # of a coefficient
MAX_POWER = 64  # of a sum; a single term may be raised further
ROOT = "√"  # the atom of a prime p is "√p": squares of it are replaced by p

Monomial = tuple[tuple[str, int], ...]  # (atom, exponent > 0), sorted
Poly = dict[Monomial, Fraction]  # without zero coefficients


class Unreadable(ValueError):
    """Not a formula that can be computed here, or one that would cost too much."""


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


def key(value: Value) -> str:
    """A name of bounded length for a value inside an atom. Equal names mean equal values; the converse can fail."""
    lead = value.den[max(value.den)]
    text = "/".join("+".join(f"{c / lead}{m}" for m, c in sorted(poly.items())) for poly in value)
    return text if len(text) < 80 else hashlib.sha256(text.encode()).hexdigest()


class Arithmetic:
    """The operations, sharing one supply of fuel."""

    def __init__(self) -> None:
        self.fuel = FUEL

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
        if exact is None or degree != 2:
            return atom(f"root{degree}({key(value)})")
        whole = exact.numerator * exact.denominator  # sqrt(p/q) = sqrt(pq)/q
        if abs(whole) > 10**18:
            raise Unreadable("root of a large number")
        self.burn(50)
        outside, inside, roots = 1, abs(whole), [-1] if whole < 0 else []
        for divisor in range(2, min(1_000, math.isqrt(inside)) + 1):
            while inside % divisor**2 == 0:
                inside //= divisor**2
                outside *= divisor
            if inside % divisor == 0:
                inside //= divisor
                roots.append(divisor)
        square = math.isqrt(inside)
        if square * square == inside:
            outside *= square
        else:
            roots.append(inside)
        monomial = tuple(sorted((f"{ROOT}{p}", 1) for p in roots))
        return Value(_clean({monomial: Fraction(outside, exact.denominator)}), ONE)

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
        if name.startswith(ROOT) and exponent > 1:
            factor *= int(name[1:]) ** (exponent // 2)
            exponents[name] = exponent % 2
    return tuple(sorted((name, exponent) for name, exponent in exponents.items() if exponent)), factor


def _bits(a: Poly) -> int:
    return max((c.numerator.bit_length() + c.denominator.bit_length() for c in a.values()), default=0)


def _clean(a: Poly) -> Poly:
    return {m: c for m, c in a.items() if c}
