"""Whether two formulas are equal by sympy's rules. Runs inside the sandbox only: sympy may think for ever.

The text is read by our own reader; nothing here parses or evaluates text as code.
"""

from __future__ import annotations

from fractions import Fraction

import sympy

from r1kit.rewards.math.numeric import agree, sign_matters
from r1kit.rewards.math.parser import Formula, Unreadable, parse

DIGITS = 80  # to which numbers without variables must agree, less 20: no two answers of 2 kB come that close by chance

_NAMED = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "infty": sympy.oo}
_FUNCTIONS = {
    **{
        name: getattr(sympy, name)
        for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth")
    },
    **{f"arc{name}": getattr(sympy, f"a{name}") for name in ("sin", "cos", "tan")},
    **{"log": sympy.log, "abs": sympy.Abs, "floor": sympy.floor, "ceil": sympy.ceiling, "erf": sympy.erf},
    **{"max": sympy.Max, "min": sympy.Min, "gcd": sympy.gcd, "lcm": sympy.lcm, "Gamma": sympy.gamma},
    **{"!": sympy.factorial, "!!": sympy.factorial2, "choose": sympy.binomial, "zeta": sympy.zeta},
}


def equal(gold: str, answer: str) -> bool | None:
    """True when sympy shows it, False when numbers refute it, None when neither does or a formula cannot be read."""
    try:
        left, right = parse(gold), parse(answer)
    except Unreadable:
        return None
    if agree(left, right) is False:
        return False
    signed = sign_matters(left, right)
    value, other = expression(left, signed), expression(right, signed)
    difference = value - other
    if not difference.free_symbols:
        gap, size = (abs(sympy.N(number, DIGITS, maxn=4 * DIGITS)) for number in (difference, value))
        return bool(gap <= size * sympy.Float(10) ** (20 - DIGITS))
    rewrites = (sympy.expand, sympy.sqrtdenest, _in_exponentials, _taken_apart)  # cheapest first
    return True if any(rewrite(difference).is_zero for rewrite in rewrites) else None


def _in_exponentials(difference: sympy.Expr) -> sympy.Expr:
    """The numerator, with trigonometry as exponentials, which cancel by themselves."""
    return sympy.expand(sympy.together(difference.rewrite(sympy.exp)).as_numer_denom()[0])


def _taken_apart(difference: sympy.Expr) -> sympy.Expr:
    """With logarithms of products and factorials of sums taken apart."""
    gammas = sympy.expand_log(difference, force=True).rewrite(sympy.gamma)
    return sympy.expand(sympy.gammasimp(sympy.expand_func(gammas)))


def expression(formula: Formula, signed: bool) -> sympy.Expr:
    """A formula as sympy has it. Variables are real, and positive unless their sign matters (see `probe`)."""
    if isinstance(formula, Fraction):
        return sympy.Rational(formula.numerator, formula.denominator)
    if isinstance(formula, str):
        return (
            _NAMED[formula] if formula in _NAMED else sympy.Symbol(formula, **{"real" if signed else "positive": True})
        )
    args = [expression(arg, signed) for arg in formula.args]
    match formula.head:
        case "+":
            return sympy.Add(*args)
        case "*":
            return sympy.Mul(*args)
        case "^":
            return sympy.Pow(*args)
        case "root":
            return sympy.real_root(*args) if args[0].is_negative and args[1].is_odd else sympy.root(*args)
    return _FUNCTIONS.get(formula.head, sympy.Function(formula.head))(*args)
