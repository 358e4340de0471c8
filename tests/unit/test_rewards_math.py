import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1kit.rewards.extract import extract_answer
from r1kit.rewards.math import canonical, equivalent, refute

VECTORS = Path(__file__).parents[3] / "shared/data/vectors/math_equivalence.jsonl"

EQUAL = r"""
16 | 16.0 | +16 | $16$ | {16} | (16) | \text{16} | 016 | １６ | 1.6 \times 10^1
16 | 16 dollars | \$16 | 16\text{ cm}^2 | 16^\circ | 16 个 | 16元
1000 | 1,000 | 1 000 | 1{,}000 | 1,\!000 | 1\,000 | 1e3
\frac{1}{2} | 0.5 | .5 | 1/2 | \frac12 | \dfrac{1}{2} | \tfrac12 | \frac{2}{4} | 50\%
-\frac{9}{5} | -1.8 | -1\frac{4}{5} | −9/5 | -1 4/5
2\sqrt{2} | \sqrt{8} | \sqrt8 | 2√2 | \frac{4}{\sqrt{2}} | 8^{1/2}
x^2+2x+1 | (x+1)^2 | 1 + 2x + x^{2} | x(x+2)+1 | y=x^2+2x+1
\frac{x+2}{7} | \frac{x}{7}+\frac{2}{7}
1+2i | 2i+1 | (1+2i)^2/(1+2i) | i(2-i)
5\pi | 5π | \pi 5
\sqrt[3]{\frac{5}{12}} | (\frac{5}{12})^{1/3}
\ln(a+1) | \ln(1+a) | \ln (a + 1)
x=5 | 5 | x = 5.0 | 5=x
x^2+y^2=1 | 1-x^2-y^2=0 | 2x^2 = 2-2y^2
x<1 | -x > -1 | 1 > x
x \in [-2,7] | [-2,7] | -2 \le x \le 7 | 7 ≥ x ≥ -2
(-\infty,3]\cup(5,\infty) | (5, \infty) \cup \left(-\infty, 3\right] | (5,+\infty)∪(-∞,3]
(1,\frac{1}{2}) | (1, 0.5) | \left( 1, \frac{1}{2} \right) | (x,y)=(1,1/2)
\{1,2,3\} | {3,2,1} | 2, 1, 3 | 1, 2 \text{ and } 3 | 3;2;1
3\pm2\sqrt{2} | 3+2\sqrt2, 3-\sqrt8 | \{3-2\sqrt2, 3+2\sqrt2\}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{bmatrix}1&2\\3&4.0\\\end{bmatrix}
\text{Evelyn} | evelyn | \textbf{Evelyn}
\text{(A)} | A | (A)
52_8 | 52_{8}
27\% | 27 | 0.27 | 27 percent
"""
DIFFERENT = r"""
5 | 6 | -5 | 5x | x | ? | 5, 6 | 5;6
5 | 5 \text{ or } 6 | 5 \text{ (or maybe six)} | 5 or six | {5,6} | 5 \lor 6 | 5 \pm 1 | 5 \neq 6 | \phantom{5}
5 | 5 million | 5 squared | 5 and a half | 5 万 | 5 5 | 5-6 | 5\approx 6
5 | (5,5) | [5,5] | \infty-\infty | \frac{0}{0} | 5=5
5 | 2+3 | 10/2 | \frac{10}{2} | \sqrt{25} | x=2+3 | 5\cdot 1 | 5!/4!
1 | True | 1=1 | x=x
0 | \infty-\infty | 1-1
12 | 1 2 | (1,2) | 1,2 | 1;2
\frac{1}{3} | 0.33 | 0.3333333333
0.0000001 | 0
x=5 | 0=0 | y=5
x=5, y=3 | y=5, x=3 | 5=y, 3=x
x^2+y^2=1 | x^2+y^2=2 | 1
x<5 | x\le 5 | x>5
(1,2) | (2,1) | [1,2] | \{1,2\} | 1
\{1,2\} | 1 | 1,2,3 | 1,1
[0,9) | [0,1) | [0,9] | (0,9)
(1,234) | 1234
\pm 7 | 7
\text{east} | seat | eats
xyz^2 | (xyz)^2
f(0) | 0 | f
\sin 2x | x\sin 2
52_8 | 52
3^{2025} | 2^{2025}
12:00 | 1:00
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | \begin{pmatrix} 1 & 2 \end{pmatrix} | \begin{pmatrix} 2 \\ 1 \end{pmatrix}
"""
BOMBS = [
    "9^{9^{9^{9}}}",
    "x^" * 900 + "2",
    "2" + "^2" * 900,
    "(" * 60 + "1" + ")" * 60,
    "{" * 2000,
    "9" * 1001,
    "9" * 1000,
    "((9!)!)!",
    "\\sqrt" * 390 + "2",
    "\\sin " * 400 + "x",
    "-" * 1900 + "5",
    "(a+b+c+d+e)" * 180,
    "(a+b+c)^{64}",
    "1e999*" * 390 + "1",
    "(" * 30 + "x+1" + ")^2" * 30,
    "\\sqrt{(1+" * 40 + "x" + ")^8}" * 40,
    "\\frac{1}{x+" * 60 + "1" + "}" * 60,
    "1 a" * 600,
    "+".join(f"\\frac{{1}}{{x+{i}}}" for i in range(100)),
    "*".join(f"({c}+1)" for c in "abcdefghjklmnopqrstuvwxyz"),
    "\\text{a}" * 280,
    ",1" * 1000,
    "a=" * 900 + "b",
    "\\pm1" * 400,
    "\\{" * 30 + "1" + "\\}" * 30,
    "\\sqrt{999999999999999989}+" * 70 + "1",
    "\\begin{pmatrix}" + "1&" * 900 + "\\end{pmatrix}",
    "().__class__.__bases__[0].__subclasses__()",
    "\x00\ue000\ue001",
    "∪" * 999,
]


def table(text):
    for line in text.strip().splitlines():
        gold, *answers = (cell.strip() for cell in line.split(" | "))
        yield from ((gold, answer) for answer in answers)


@pytest.mark.parametrize(("gold", "answer"), list(table(EQUAL)))
def test_equal(gold, answer):
    assert refute(gold, answer) is None


@pytest.mark.parametrize(("gold", "answer"), list(table(DIFFERENT)))
def test_different(gold, answer):
    assert not equivalent(gold, answer)


def test_limits_name_themselves():
    assert "2001 characters" in refute("5", "5" + " " * 2000)
    assert "1000 digits" in refute("5", "9" * 1001)
    assert "64 brackets" in refute("5", "(" * 65 + "5" + ")" * 65)
    assert "empty" in refute("5", "  ")


@pytest.mark.parametrize("bomb", BOMBS)
def test_hostile_answers_are_refused_in_time(bomb):
    started = time.process_time()
    for gold in ("5", "x^2+1", "(1,2)", "\\{1,2,3\\}"):
        assert not equivalent(gold, bomb)
    canonical(bomb)
    equivalent(bomb, bomb)
    assert time.process_time() - started < 0.5  # for six calls on a busy machine


PIECES = r"1 2 x y i ( ) [ ] { } , ; + - * / ^ = < _ ! % . 和 & | \frac \sqrt \pm \cup \text \sin \{ \} \\ $ and"
pieces = st.sampled_from([*PIECES.split(), " "])


@given(st.lists(pieces, max_size=40).map("".join))
def test_any_text_gets_a_verdict_and_equals_itself_unless_blank(text):
    assert equivalent(text, text) == bool(text.strip())
    assert isinstance(canonical(text), str)


@given(st.fractions(max_denominator=99), st.fractions(max_denominator=99))
def test_numbers_are_compared_exactly(a, b):
    assert equivalent(str(a), f"\\frac{{{b.numerator}}}{{{b.denominator}}}" if b.denominator > 1 else str(b)) == (
        a == b
    )


@pytest.mark.skipif(not VECTORS.exists(), reason="needs shared data")
def test_agreement_with_the_unit_tests_of_other_graders():
    """Nothing they refuse is paid. What they pay and this grader does not is prose, approximation and calculus."""
    rows = [json.loads(line) for line in VECTORS.open()]
    verdicts = [
        (row["expected"], equivalent(*(extract_answer(row[side]) or row[side] for side in ("gold", "pred"))))
        for row in rows
    ]
    assert (False, True) not in verdicts
    assert sum(expected == verdict for expected, verdict in verdicts) >= 175 and len(rows) == 251
