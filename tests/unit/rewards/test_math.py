"""Mathematical answers: which are equal and which are not, by value, notation and structure."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1kit.errors import UserError
from r1kit.rewards import services
from r1kit.rewards.math import sympy_guest
from r1kit.rewards.math.check import check, equivalent
from r1kit.rewards.math.notation import normalise
from r1kit.rewards.math.structure import structure_of
from r1kit.rewards.math.units import split_unit

# One line per gold answer: the gold answer, then the answers to check against it.
EQUAL = r"""
16 | 16.0 | +16 | $16$ | {16} | (16) | [16] | \text{16}
16 | 016 | １６ | 1.6 \times 10^1 | \sqrt{256} | \frac{32}{2} | ≈16
16 | 16 dollars | \$16 | $16 | US\$16 | 16元 | ￥16
16 | 16\text{ cm}^2 | 16^\circ | 16 个 | 16 m/s | 16 years old | 16\text{ ways}
16 | 16. | **16** | x = 10 + 6 = 16 | 10+6=16 | 16\% | Answer: 16 | x=16
1000 | 1,000 | 1 000 | 1{,}000 | 1,\!000 | 1\,000 | 1e3 | 1_000 | 1{,}000.0 | 10^3=1000
120000 | 12 万 | 12万元 | 1.2e5 | 1.2*10^5 | 1.2\cdot10^{5} | 十二万
25 | 二十五 | 二十五个 | x=25
-7 | 负七 | −7 | －7
3.5 | 三点五 | 3\frac{1}{2} | 3 1/2 | 7/2 | 3½ | 3.50
\frac{1}{2} | 0.5 | .5 | 1/2 | \frac12 | \dfrac{1}{2} | \tfrac12
\frac{1}{2} | \frac{2}{4} | 50\% | 二分之一 | {1 \over 2} | \\frac{1}{2}
-\frac{9}{5} | -1.8 | -1\frac{4}{5} | −9/5 | -1 4/5 | \frac{-9}{5} | \frac{9}{-5}
\frac{1}{3} | 0.\overline{3} | 0.333... | 0.\dot{3} | 0.3333 | 三分之一 | \frac13 \approx 0.33
27\% | 27 | 0.27 | 27 percent | 百分之二十七 | ２７％
90^\circ | 90 | 90° | 90 degrees | \frac{\pi}{2} | 90度
\frac{\pi}{2} | 90^\circ | 0.5\pi | π/2 | 1.5708
100 cm | 1 m | 1000 mm | 100 | 100厘米
\$0.50 | 50 cents | 0.5 | $0.50 | 0.50 dollars
36 km/h | 10 m/s | 36
15 cm^2 | 15 square centimeters | 15 \mathrm{cm^2} | 15 cm² | 15平方厘米 | 15 | 0.0015 m^2
2\sqrt{2} | \sqrt{8} | \sqrt8 | 2√2 | \frac{4}{\sqrt{2}} | 8^{1/2} | 2 * sqrt(2) | 2.828427
\sqrt[3]{\frac{5}{12}} | (\frac{5}{12})^{1/3}
\sqrt[3]{2} | 2^{\frac13} | \sqrt[6]{4}
x^2+2x+1 | (x+1)^2 | 1 + 2x + x^{2} | x(x+2)+1 | y=x^2+2x+1 | x**2+2*x+1 | x²+2x+1
\frac{x+2}{7} | \frac{x}{7}+\frac{2}{7} | (x+2)/7
1+2i | 2i+1 | (1+2i)^2/(1+2i) | i(2-i) | 1+2\mathrm{i}
5\pi | 5π | \pi 5
\ln(a+1) | \ln(1+a) | \ln (a + 1) | \log(1+a)
\frac{\sqrt{2}v^2_0}{g} | \frac{v_0^2\sqrt 2}{g}
x=5 | 5 | x = 5.0 | 5=x
y=2x+1 | 2x+1=y | 2x - y + 1 = 0 | 2x+1
x^2+y^2=1 | 1-x^2-y^2=0 | 2x^2 = 2-2y^2
x<1 | -x > -1 | 1 > x | (-\infty,1)
x \ge 3 | x≥3 | 3 \le x | x >= 3 | [3,\infty) | x \geqslant 3 | \{x \mid x \ge 3\}
x \ne 2 | x != 2 | (-\infty,2)\cup(2,\infty) | \mathbb{R} \setminus \{2\}
x \in [-2,7] | [-2,7] | -2 \le x \le 7 | 7 ≥ x ≥ -2
(-\infty,3]\cup(5,\infty) | (5, \infty) \cup \left(-\infty, 3\right] | (5,+\infty)∪(-∞,3] | x \le 3 \text{ or } x > 5
\mathbb{R} | (-\infty,+\infty)
(1,\frac{1}{2}) | (1, 0.5) | \left( 1, \frac{1}{2} \right) | (x,y)=(1,1/2) | x=1, y=0.5 | （1，1/2） | {1, 0.5}
x=5, y=3 | y=3, x=5 | (5,3) | 5, 3 | \begin{cases}x=5\\y=3\end{cases}
\{1,2,3\} | {3,2,1} | 2, 1, 3 | 1, 2 \text{ and } 3 | 3;2;1 | 1、2、3 | x=1 or x=2 or x=3 | x \in \{1,2,3\}
3\pm2\sqrt{2} | 3+2\sqrt2, 3-\sqrt8 | \{3-2\sqrt2, 3+2\sqrt2\} | x = 3 ± 2√2
(1,2),(3,4) | (3,4),(1,2) | \{(1,2),(3,4)\} | (1,2) and (3,4)
\emptyset | \varnothing | \{\} | ∅
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{bmatrix}1&2\\3&4.0\\\end{bmatrix} | [[1,2],[3,4]]
\text{Evelyn} | evelyn | \textbf{Evelyn}
\text{(A)} | A | (A) | A. | (A) 42 | Option A | 选A | \textbf{(A) }42
(C) Cecile | C | (C) | Cecile
52_8 | 52_{8}
5 \pmod{7} | 5 | x \equiv 5 \pmod 7
1,22 | 1.22
\boxed{1} \text{ and } \boxed{2} | 1,2
a_{n} = 2n + 1 | 2n+1
|AB|=3 | 3
\frac{AB}{CD}=3 | 3
\int_0^1 f(x) dx | \int_0^{1} f(x)\,dx
\$5 million | 5000000 | 5,000,000 | 5 \text{ million} | \$5 million dollars | 0.005 billion
121 | one hundred twenty-one | one hundred and twenty-one | \text{One hundred twenty-one}
3:4 | 6:8 | 3/4 | 0.75 | \frac{3}{4}
3 \times 10^5 | 3 x 10^5 | 300000 | 3e5 | 3 × 10⁵
2 m^3 | 2000 L | 2000 liters | 2000000 mL
-\$5 | -5 | \$-5 | -5 dollars
8:15 \text{ a.m.} | 8:15 am | 8:15 AM
\infty | inf | +\infty | infinity
(-\infty, 3) | (-inf, 3) | x < 3
\mathbb{R} | \text{all real numbers} | (-\infty, \infty)
\begin{pmatrix} 1 \\ 3 \end{pmatrix} | (1, 3) | \langle 1, 3 \rangle
\{(0,1)\} | (0,1)
\text{circle} | a circle | A Circle
5 | \boxed{5}
"""
DIFFERENT = r"""
xy=1 | 1
5 | 5\text{ 67} | x+5-x+1
x+1 | x+10^{300}-10^{300}
a | A
5 | 6 | -5 | 5x | x | ? | 5, 6 | 5;6 | 55 | 5 6 | .5 | 0.05 | 5.00001 | 4.99999
5 | 5 \text{ or } 6 | 5 \text{ (or maybe 6)} | 5 \text{ or maybe six} | 5 or six | {5,6}
5 | 5 \lor 6 | 5 \pm 1 | 5 \neq 6 | \phantom{5}
5 | 5 million | 5 squared | 5 and a half | 5 万 | 5 5 | 5-6 | 5\approx 6 | 5 xy | 5 vs 6 | 5=6 | 6=5 | x=5=6
5 | 5 wait 6 | 5 \le x \le 6 | (5,5) | [5,5] | \infty-\infty | \frac{0}{0} | 5=5 | 5 if True else 6
5 | 2+3 | 10/2 | x=2+3 | 5\cdot 1 | 5!/4! | 5^1 | \sqrt{20+5} | \frac{10}{1+1}
1 | True | 1=1 | x=x | 0=0 | \frac{x}{x}
0 | \infty-\infty | 1-1 | x-x | 0/0
12 | 1 2 | (1,2) | 1,2 | 1;2
\frac{1}{3} | 0.33 | 0.333 | 0.3334 | \frac13 \approx 0.34
\pi | 3.14 | 22/7 | \frac{355}{113} | 180
0.0000001 | 0 | 0.0000002
10000000000000001 | 10000000000000000 | 1e16
100 cm | 1 cm | 100 m | 100 kg
\$5 | 5 cents | €5
36 km/h | 36 m/s
10:30 \text{ a.m.} | 10:30 \text{ p.m.}
50\% | 5 | 0.05 | 500\%
25 | 52 | 二十四 | 25万 | 二十五或二十六
2\vec{a} | 2 | 2\vec{b}
x=5 | 0=0 | y=5 | x=6 | x
x=5, y=3 | y=5, x=3 | 5=y, 3=x | (3,5) | 3, 5
x^2+y^2=1 | x^2+y^2=2 | 1
a^2+b=0 | 0
x<5 | x\le 5 | x>5 | 5 | x<6
(1,2) | (2,1) | [1,2] | \{1,2\} | 1 | (1,2,3)
\{1,2\} | 1 | 1,2,3 | 1,1
1,1,2 | 1,2 | 1,2,2
[0,9) | [0,1) | [0,9] | (0,9)
(1,234) | 1234
\pm 7 | 7 | 7, 7
\text{east} | seat | eats | east west
\text{Yes} | No | Yes or no | True
xyz^2 | (xyz)^2
f(0) | 0 | f
\sin 2x | x\sin 2 | \sin x
|x| | x | -x
x^2-4 | x^2+4 | (x-2)^2 | x^2-4=0
3+4i | 3-4i | 3+4 | 7i
52_8 | 52 | 42 | 52_9
5 \pmod{7} | 5 \pmod{8} | 6 \pmod 7
3^{2025} | 2^{2025}
5 | 5 hundredths | five six | \boxed{5} \boxed{6}
2 | 2 million | two hundred
3:30 | 1:10 | 7:60 | 3/30
2 m^3 | 2 L | 2 m^2
-\$5 | \$5 | 5
\infty | -inf | info
(1,3) | \begin{pmatrix} 3 \\ 1 \end{pmatrix}
\{(0,1),(1,0)\} | (0,1)
a | the a
12:00 | 1:00
A | B | A, B | A or B | (A)(B) | A. or B. | ABCD
(C) Cecile | A | (A) Cecile | (D) Cecile | Bob
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | \begin{pmatrix} 1 & 2 \end{pmatrix} | \begin{pmatrix} 2 \\ 1 \end{pmatrix}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | 1,2,3,4 | \begin{vmatrix} 1 & 2 \\ 3 & 4 \end{vmatrix} | -2
\boxed{1} \text{ and so on until the end of it all } \boxed{2} | 1,2
"""
SYMBOLIC = r"""
\sec^2(y) | \tan^2(y)+1
\sin^2 x | 1-\cos^2 x | \frac{1-\cos 2x}{2}
\log_2 3 | \frac{\ln 3}{\ln 2} | \log_4 9
\binom{n}{2} | \frac{n(n-1)}{2}
n! | n \cdot (n-1)!
2^{n+1}-2 | 2(2^n-1)
|x-1| | |1-x| | \sqrt{(x-1)^2}
e^{-x}(1+x) | \frac{1+x}{e^x}
2+\sqrt{3} | \sqrt{7+4\sqrt3}
96-10\sqrt{21} | \frac{6\sqrt{1789-240\sqrt{21}}+8\sqrt{1236-240\sqrt{21}}}{5}
"""


def table(text: str) -> Iterator[tuple[str, str]]:
    for line in text.strip().splitlines():
        gold, *answers = (cell.strip() for cell in line.split(" | "))
        yield from ((gold, answer) for answer in answers)


@pytest.mark.parametrize(("gold", "answer"), list(table(EQUAL)))
def test_equal_answers_are_right(gold, answer):
    assert check(gold, answer) == ("right", "right")


@pytest.mark.parametrize(("gold", "answer"), list(table(DIFFERENT)))
def test_different_answers_are_not_right(gold, answer):
    assert check(gold, answer).status in ("wrong", "unparseable", "over_limit")


@pytest.mark.parametrize(("gold", "answer"), list(table(SYMBOLIC)))
def test_sympy_proves_identities_and_refutes_others(gold, answer):
    gold, answer = normalise(gold), normalise(answer)
    assert sympy_guest.equal(gold, answer)
    assert not sympy_guest.equal(gold, f"{answer}+1")


def test_sympy_runs_inside_the_sandbox_only(sandbox, monkeypatch):
    monkeypatch.setattr(services, "sandbox", lambda: sandbox)
    before = sys.modules.get("sympy")
    assert check(r"\sec^2(y)", r"\tan^2(y)+1").status == "right"
    assert check(r"\{1,\cos 2x\}", r"1-2\sin^2 x, 1").status == "right"
    assert check(r"\sqrt{x}", r"\sqrt{x+10^{-13}}").status in ("wrong", "unparseable")  # too close for floating point
    assert sys.modules.get("sympy") is before


def test_a_missing_sandbox_gives_an_infra_error(monkeypatch):
    def missing():
        raise UserError("no tier works here")

    monkeypatch.setattr(services, "sandbox", missing)
    assert check(r"\cos 3x", r"4\cos^3x-3\cos x").status == "infra_error"
    assert check(r"\cos 3x", r"4\cos^3x-2\cos x").status == "wrong"  # refuted without the sandbox


@pytest.mark.parametrize("answer", ["2+3", "10/2", r"\sqrt{20+5}", "5!/4!"])
def test_the_reason_says_that_an_equal_computation_is_not_worked_out(answer):
    ruling = check("5", answer)
    assert ruling.status == "wrong" and "not worked out" in ruling.reason
    assert "not worked out" not in check("6", answer).reason


@pytest.mark.parametrize(("gold", "answer"), [("1, 2", r"\{,\}"), (r"\{,\}", "1, 2"), ("1, 2", r"\{\text{}\}")])
def test_a_set_without_members_equals_no_list(gold, answer):
    assert check(gold, answer).status in ("wrong", "unparseable")


@pytest.mark.parametrize(
    ("answer", "other", "same"),
    [("1/2", "0.5", True), ("x=5", "5", True), (r"\{1,2\}", "2, 1", True), ("(1,2)", "(2,1)", False),
     (r"\sin 2x", r"2\sin x\cos x", True), (r"\sin 2x", r"2\sin x", False), ("x" * 301, "x" * 301 + " ", False)],
)  # fmt: skip
def test_equivalence_needs_no_sympy(answer, other, same, monkeypatch):
    monkeypatch.setattr(services, "sandbox", pytest.fail)
    assert equivalent(answer, other) is equivalent(other, answer) is same


@pytest.mark.parametrize(
    ("text", "kind", "parts"),
    [
        ("x+1", "value", ["x+1"]),
        ("1,2", "list", ["1", "2"]),
        (r"\{1,2\}", "set", ["1", "2"]),
        ("(1,2]", "(]", ["1", "2"]),
        ("(1,2)∪(3,4)", "union", ["(1,2)", "(3,4)"]),
        ("[[1,2],[3,4]]", "matrix [2, 2]", ["1", "2", "3", "4"]),
        (r"3\pm 1", "list", ["3+1", "3-1"]),
    ],
)
def test_structure_has_a_kind_and_parts(text, kind, parts):
    assert structure_of(text) == (kind, parts)


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("5 km/h", "5", "length time^-1"),
        ("15 cm^2", "15", "length^2"),
        ("2 m^3", "2", "length^3"),
        ("90°", "90", "angle"),
        ("5 apples", "5", None),
        ("5 or more", "5 or more", None),
        (r"\sin 45°", r"\sin 45°", None),
    ],
)
def test_units_are_split_from_numbers(text, number, unit):
    value, parsed = split_unit(text)
    assert (value, parsed and parsed.dimension) == (number, unit)


NUMBERS = st.fractions(max_denominator=99)


@given(NUMBERS, NUMBERS)
def test_fractions_compare_exactly(a, b):
    written = f"\\frac{{{b.numerator}}}{{{b.denominator}}}" if b.denominator > 1 else str(b)
    assert (check(str(a), written).status == "right") == (a == b)


POLYNOMIALS = st.lists(st.integers(-9, 9).filter(bool), min_size=2, max_size=4)


@given(POLYNOMIALS, st.integers(0, 3), st.integers(1, 5), st.randoms(use_true_random=False))
def test_polynomials_compare_by_coefficient_in_any_notation(coefficients, changed, by, random):
    def write(numbers, plain, spaced):
        terms = [f"\\frac{{{c}}}{{7}}*x^{{{power}}}*\\sqrt{{y}}" for power, c in enumerate(numbers, 1)]
        random.shuffle(terms)
        text = "+".join(terms)
        for old, new in ((r"\frac", r"\dfrac"), ("*", r"\cdot "), (r"\dfrac", r"\tfrac")) if not plain else ():
            text = text.replace(old, new) if random.random() < 0.5 else text
        if plain:
            text = re.sub(r"\\frac\{(-?\d+)\}\{7\}", r"(\1/7)", text).replace(r"\sqrt{y}", "sqrt(y)")
        return text.replace("+", " + ").replace("{", "{ ") if spaced else text

    gold = write(coefficients, plain=False, spaced=False)
    assert check(gold, write(coefficients, random.random() < 0.5, random.random() < 0.5)).status == "right"
    mutated = [c + by * (i == changed % len(coefficients)) for i, c in enumerate(coefficients)]
    assert check(gold, write(mutated, random.random() < 0.5, False)).status == "wrong"
