"""Numeric probing: evaluate formulas at a few fixed points in floating point, to refute equality cheaply.

Equal values prove nothing, so `agree` never decides that an answer is right. The number of steps is bounded.
"""

from __future__ import annotations

import cmath
import hashlib
import math
from collections.abc import Callable, Collection, Sequence
from fractions import Fraction

from r1kit.rewards.math.formula import Apply, Formula, Unreadable, subterms

POINTS = 4
MAX_TERMS = 40  # of a sum or product
SERIES = ("sum", "prod")
MAX_ARGUMENT = 1e6  # of a function: the sine of a larger float is meaningless
TOLERANCE = 1e-11  # relative to the largest intermediate value
# Variables may be negative only in formulas with these functions; elsewhere they are lengths, counts and so on.
SIGNED = {"abs", "floor", "ceil", "max", "min"}
CONSTANTS = {"pi": cmath.pi, "e": cmath.e, "i": 1j}
_COMPLEX: dict[str, Callable[..., complex]] = {
    name: getattr(cmath, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "log")
}
_COMPLEX |= {f"arc{name}": getattr(cmath, f"a{name}") for name in ("sin", "cos", "tan")}
_COMPLEX |= {"cot": lambda x: 1 / cmath.tan(x), "sec": lambda x: 1 / cmath.cos(x), "csc": lambda x: 1 / cmath.sin(x)}
_COMPLEX |= {
    "coth": lambda x: 1 / cmath.tanh(x),
    "arccot": lambda x: cmath.atan(1 / x),
    "abs": lambda x: complex(abs(x)),
}
_REAL: dict[str, Callable[..., float]] = {"floor": math.floor, "ceil": math.ceil, "max": max, "min": min}
_REAL |= {"erf": math.erf, "Gamma": math.gamma}


def agree(a: Formula, b: Formula, closely: bool = False) -> bool | None:
    """Return whether two formulas agree at every point where both have a value.

    False is certain, True is not; None means that no point gives both a value. With `closely`, the tolerance is
    relative to the values themselves, so equal formulas in which digits cancel may be told apart.
    """
    signed, integers, compared = sign_matters(a, b), _bounds(a) | _bounds(b), None
    for index in range(POINTS):
        left, right = _Evaluator(index, signed, integers), _Evaluator(index, signed, integers)
        try:
            results = left.value(a), right.value(b)
            difference = abs(results[0] - results[1])
        except (ArithmeticError, ValueError, TypeError, Unreadable):
            difference = None  # one of them has no value at this point
        if difference is None:
            continue
        scale = max(map(abs, results)) if closely else max(left.largest, right.largest)
        if not difference <= TOLERANCE * scale:
            return False
        compared = True
    return compared


def sign_matters(*formulas: Formula) -> bool:
    """Return whether a formula has a function that depends on the sign of its variables."""
    return not SIGNED.isdisjoint(term for formula in formulas for term in subterms(formula) if isinstance(term, str))


def _bounds(formula: Formula) -> set[str]:
    """Return the variables in the bounds of sums and products, which stand for integers."""
    if not isinstance(formula, Apply):
        return set()
    names: set[str] = set().union(*map(_bounds, formula.args))
    return names.union(*map(free_symbols, formula.args[1:])) if formula.head in SERIES else names


def real_number(formula: Formula) -> float | None:
    """Return the value of a formula without variables, if it is real."""
    try:
        value = _Evaluator(0, False, frozenset(), constants_only=True).value(formula)
    except (ArithmeticError, ValueError, TypeError, Unreadable):
        return None
    return value.real if abs(value.imag) <= 1e-12 * abs(value) and math.isfinite(value.real) else None


def free_symbols(formula: Formula) -> set[str]:
    """Return the variables of a formula."""
    if isinstance(formula, Apply):
        return set().union(*map(free_symbols, formula.args))
    return {formula} - CONSTANTS.keys() if isinstance(formula, str) else set()


class _Evaluator:
    """Evaluates formulas at one point and records the largest intermediate value."""

    def __init__(self, index: int, signed: bool, integers: Collection[str] = (), constants_only: bool = False) -> None:
        self.index, self.signed, self.integers, self.constants_only = index, signed, integers, constants_only
        self.indices: dict[str, float] = {}  # of the sums that are being evaluated
        self.largest = 0.0

    def value(self, formula: Formula) -> complex:
        result = self._value(formula)
        self.largest = max(self.largest, abs(result))
        return result

    def _value(self, formula: Formula) -> complex:
        if isinstance(formula, Fraction):
            return complex(formula)
        if isinstance(formula, str):
            return CONSTANTS[formula] if formula in CONSTANTS else self.coordinate(formula)
        if formula.head in SERIES:
            return self.series(formula)
        args = [self.value(arg) for arg in formula.args]
        match formula.head:
            case "+":
                return sum(args)
            case "*":
                return math.prod(args)
            case "^":
                return _power(args[0], args[1], formula.args[1])
            case "root":
                return _root(*args)
        return _apply(formula, args)

    def series(self, formula: Apply) -> complex:
        """Return the value of a sum or product between integer bounds."""
        body, *bounds = formula.args
        first, last = (self.value(bound).real for bound in bounds)
        if first % 1 or last % 1 or last - first > MAX_TERMS:
            raise Unreadable("bounds of a sum")
        name = f"#{sum(term in SERIES for term in subterms(body))}"
        values = []
        for index in range(int(first), int(last) + 1):
            self.indices[name] = index
            values.append(self.value(body))
        return sum(values) if formula.head == "sum" else math.prod(values)

    def coordinate(self, name: str) -> float:
        """Return a variable's value: in (0.3, 2.7), or negated, fixed by the name and the point's index."""
        if name in self.indices:
            return self.indices[name]
        if "#" in name:
            raise Unreadable(name)
        if name in self.integers and not self.constants_only:
            return float(3 + (self.index + len(name) + ord(name[0])) % 4)
        if self.constants_only or name == "infty":
            raise Unreadable(name)
        digest = hashlib.sha256(f"{name}:{self.index}".encode()).digest()
        size = 0.3 + 2.4 * int.from_bytes(digest[:6], "big") / 2**48
        return -size if self.signed and digest[6] & 1 else size


def _power(base: complex, exponent: complex, formula: Formula) -> complex:
    is_negative = base.imag == 0 and base.real < 0
    if is_negative and isinstance(formula, Fraction) and formula.denominator % 2 and formula.denominator > 1:
        return _root(base, complex(formula.denominator)) ** formula.numerator  # of the real cube root
    return base**exponent


def _root(radicand: complex, degree: complex) -> complex:
    odd = degree.imag == 0 and degree.real % 2 == 1
    if odd and radicand.imag == 0 and radicand.real < 0:  # the real root, as school mathematics defines it
        return -((-radicand) ** (1 / degree))
    return radicand ** (1 / degree)


def _apply(formula: Apply, args: Sequence[complex]) -> complex:
    if any(abs(arg) > MAX_ARGUMENT for arg in args):
        raise Unreadable("too large for floating point")
    if formula.head in _COMPLEX:
        return _COMPLEX[formula.head](*args)
    if any(arg.imag for arg in args):
        raise Unreadable("not real")
    real = [arg.real for arg in args]
    match formula.head:
        case "!":
            return complex(math.gamma(real[0] + 1))
        case "choose":
            n, k = real
            return complex(math.gamma(n + 1) / (math.gamma(k + 1) * math.gamma(n - k + 1)))
        case name if name in _REAL:
            return complex(_REAL[name](*real))
    raise Unreadable(formula.head)
