"""Formula trees: a formula is a number (Fraction), a symbol (str) or an operator or function applied to formulas.

`parser` builds trees from text. `exact` evaluates them exactly, `numeric` in floating point, `sympy_guest` with sympy
inside the sandbox, which is why this module imports so little.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import prod
from typing import NamedTuple

MAX_DEPTH = 64  # nested brackets


class Apply(NamedTuple):
    """An operator or function applied to arguments.

    Heads: + and * of any number of terms; ^; root (radicand, degree); !, !!, choose; abs, floor, ceil; function names.
    """

    head: str
    args: tuple[Formula, ...]


Formula = Fraction | str | Apply


class Unreadable(ValueError):
    """Raised for text that is not a readable formula, or a formula too expensive to evaluate."""


def subterms(formula: Formula) -> Iterator[Formula]:
    """Yield the formula, every subformula and the head of every application."""
    yield formula
    if isinstance(formula, Apply):
        yield formula.head
        for arg in formula.args:
            yield from subterms(arg)


def negative(formula: Formula) -> Formula:
    """Return the negated formula."""
    return -formula if isinstance(formula, Fraction) else Apply("*", (Fraction(-1), formula))


def power(base: Formula, exponent: Formula) -> Formula:
    """Return base ^ exponent."""
    return Apply("^", (base, exponent))


def inverse(formula: Formula) -> Formula:
    """Return 1 / formula."""
    return 1 / formula if isinstance(formula, Fraction) and formula else power(formula, Fraction(-1))


def product(factors: Sequence[Formula]) -> Formula:
    """Return the product, with all numbers multiplied into one."""
    numbers = [factor for factor in factors if isinstance(factor, Fraction)]
    if len(numbers) > 1:
        factors = [Fraction(prod(numbers)), *(factor for factor in factors if not isinstance(factor, Fraction))]
    return factors[0] if len(factors) == 1 else Apply("*", tuple(factors))


def sorted_terms(subscript: str) -> str:
    """Return a subscript with its terms in order: i+j and j+i are equal."""
    if "+" not in subscript and subscript.count("-") < 2:
        return subscript
    terms = re.findall(r"[+-]?[^+-]+", subscript)
    return "".join(sorted(term if term[0] in "+-" else f"+{term}" for term in terms))


def renamed(formula: Formula, old: str, new: str) -> Formula:
    """Return the formula with one symbol renamed, also in subscripts."""
    if isinstance(formula, Apply):
        return Apply(formula.head, tuple(renamed(arg, old, new) for arg in formula.args))
    if not isinstance(formula, str):
        return formula
    name, _, subscript = formula.partition("_")
    changed = re.sub(rf"(?<![A-Za-z]){old}(?![A-Za-z])", new, subscript)
    return (new if name == old else name) + ("_" + sorted_terms(changed) if subscript else "")
