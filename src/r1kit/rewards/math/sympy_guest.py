"""Decide with sympy whether two formulas are equal. Runs inside the sandbox only, as sympy may not terminate.

Our own parser reads the text; nothing here evaluates text as code.
"""

from __future__ import annotations

from fractions import Fraction

import sympy  # type: ignore[import-untyped]  # ships no type stubs

from r1kit.rewards.math.formula import Apply, Formula, Unreadable, subterms
from r1kit.rewards.math.numeric import agree, sign_matters
from r1kit.rewards.math.parser import parse

DIGITS = 80  # of precision; equal numbers agree to 60. Unequal answers of 2 kB never come that close by chance

_NAMED = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "infty": sympy.oo, "infinite": sympy.oo}
_FUNCTIONS = {
    name: getattr(sympy, name) for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth")
}
_FUNCTIONS |= {f"arc{name}": getattr(sympy, f"a{name}") for name in ("sin", "cos", "tan", "cot")}
_FUNCTIONS |= {"log": sympy.log, "abs": sympy.Abs, "floor": sympy.floor, "ceil": sympy.ceiling, "erf": sympy.erf}
_FUNCTIONS |= {"max": sympy.Max, "min": sympy.Min, "gcd": sympy.gcd, "lcm": sympy.lcm, "Gamma": sympy.gamma}
_FUNCTIONS |= {"!": sympy.factorial, "!!": sympy.factorial2, "choose": sympy.binomial, "zeta": sympy.zeta}


def equal(gold: str, answer: str) -> bool | None:
    """Return True if sympy proves equality, False if numbers refute it, None if undecided or unreadable."""
    try:
        left, right = parse(gold), parse(answer)
    except Unreadable:
        return None
    if agree(left, right) is False:
        return False
    signed = sign_matters(left, right)
    value, other = to_sympy(left, signed), to_sympy(right, signed)
    difference = value - other
    if not difference.free_symbols:
        gap, size = (abs(sympy.N(number, DIGITS, maxn=4 * DIGITS)) for number in (difference, value))
        return bool(gap <= size * sympy.Float(10) ** (20 - DIGITS))
    rewrites = (sympy.expand, sympy.sqrtdenest, _expand_exponentials, _expand_functions)  # cheapest first
    return True if any(rewrite(difference).is_zero for rewrite in rewrites) else None


def _expand_exponentials(difference: sympy.Expr) -> sympy.Expr:
    """Return the expanded numerator with trigonometric functions as exponentials, which cancel."""
    return sympy.expand(sympy.together(difference.rewrite(sympy.exp)).as_numer_denom()[0])


def _expand_functions(difference: sympy.Expr) -> sympy.Expr:
    """Expand logarithms of products and factorials of sums."""
    gammas = sympy.expand_log(difference, force=True).rewrite(sympy.gamma)
    return sympy.expand(sympy.gammasimp(sympy.expand_func(gammas)))


def _index(formula: Apply) -> sympy.Symbol:
    """Return the index of a sum, which the parser named after the number of sums inside."""
    depth = sum(term in ("sum", "prod") for term in subterms(formula.args[0]))
    return sympy.Symbol(f"#{depth}", integer=True)


def to_sympy(formula: Formula, signed: bool) -> sympy.Expr:
    """Convert a formula to sympy. Variables are real if `signed`, else positive (see `numeric.sign_matters`)."""
    if isinstance(formula, Fraction):
        return sympy.Rational(formula.numerator, formula.denominator)
    if isinstance(formula, str):
        if formula[0] == "#":
            return sympy.Symbol(formula, integer=True)
        assumption = "real" if signed else "positive"
        return _NAMED[formula] if formula in _NAMED else sympy.Symbol(formula, **{assumption: True})
    args = [to_sympy(arg, signed) for arg in formula.args]
    match formula.head:
        case "+":
            return sympy.Add(*args)
        case "*":
            return sympy.Mul(*args)
        case "^":
            return sympy.Pow(*args)
        case "sum" | "prod":
            index = _index(formula)
            return (sympy.summation if formula.head == "sum" else sympy.product)(args[0], (index, *args[1:]))
        case "root":
            return sympy.real_root(*args) if args[0].is_negative and args[1].is_odd else sympy.root(*args)
    return _FUNCTIONS.get(formula.head, sympy.Function(formula.head))(*args)
