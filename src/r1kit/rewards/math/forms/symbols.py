"""Tables of notation: Unicode characters, LaTeX synonyms, and words that name functions."""

from __future__ import annotations

import unicodedata

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ϵ": "epsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta", "ϑ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "µ": "mu", "ν": "nu", "ξ": "xi",
    "π": "pi", "ρ": "rho", "σ": "sigma", "ς": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi", "ϕ": "phi", "χ": "chi",
    "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "∆": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi",
    "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega", "\u2126": "Omega",
}  # fmt: skip
_COMMANDS = {
    "∞": "infty", "∅": "emptyset", "∇": "nabla", "∂": "partial", "ħ": "hbar", "ℏ": "hbar", "ℓ": "ell", "±": "pm",
    "∓": "mp", "∨": "lor", "∧": "land", "∀": "forall", "∩": "cap", "∖": "setminus", "≡": "equiv", "⌊": "lfloor",
    "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil", "→": "to", "⇒": "Rightarrow", "∑": "sum", "∏": "prod", "∫": "int",
    "∠": "angle", "△": "triangle", "√": "sqrt", "Ø": "emptyset", "⌀": "emptyset",
}  # fmt: skip
CHARACTERS = {character: f"\\{name} " for character, name in (_GREEK | _COMMANDS).items()}
CHARACTERS |= {"∛": r"\sqrt[3] ", "∜": r"\sqrt[4] ", "‖": "‖", "∥": "‖", "∴": ""}
CHARACTERS |= dict.fromkeys("−–‐‑‒﹣", "-") | dict.fromkeys("×⋅·∙∗•", "*") | dict.fromkeys("’‘′", "'")
CHARACTERS |= dict.fromkeys("≤⩽≦", "≤") | dict.fromkeys("≥⩾≧", "≥") | dict.fromkeys("“”", '"') | {"″": "''"}
CHARACTERS |= {"÷": "/", "、": ",", "。": ".", "º": "°", "⟨": "(", "⟩": ")", "…": "...", "￥": "¥", "∶": ":", "℃": "°C"}
CHARACTERS |= dict.fromkeys("«»「」『』", '"') | {"【": "[", "】": "]", "⁄": "/"}
CHARACTERS |= {chr(code): unicodedata.normalize("NFKC", chr(code)) for code in range(0x1D400, 0x1D6A4)}  # 𝑥, 𝐱
CHARACTERS |= {"ℝ": "R", "ℤ": "Z", "ℚ": "Q", "ℕ": "N", "ℂ": "C", "且": " and "}

_DROPPED = """left right middle displaystyle textstyle scriptstyle limits mathopen mathclose rm bf it big Big bigl bigr
Bigl Bigr bigg Bigg biggl biggr Biggl Biggr tiny small normalsize large Large LARGE huge Huge boldmath bfseries
therefore mathop mathbin mathrel mathord mathstrut strut ensuremath hfill hfil checkmark square Box blacksquare qed
pmb""".split()
SYNONYMS = {  # LaTeX commands and their normal form
    **dict.fromkeys(_DROPPED, ""),
    **dict.fromkeys("dfrac tfrac cfrac nicefrac sfrac flatfrac".split(), r"\frac"),
    **dict.fromkeys("dbinom tbinom".split(), r"\binom"),
    **dict.fromkeys("quad qquad".split(), " "),
    **dict.fromkeys("mid vert lvert rvert".split(), "|"),
    **dict.fromkeys("lVert rVert Vert".split(), "‖"),
    **dict.fromkeys("le leq leqslant".split(), "≤"),
    **dict.fromkeys("ge geq geqslant".split(), "≥"),
    **dict.fromkeys("ne neq".split(), "≠"),
    **dict.fromkeys("approx thickapprox simeq doteq".split(), "≈"),
    **dict.fromkeys("ldots dots cdots".split(), "..."),
    **dict.fromkeys("emptyset varnothing O".split(), r"\emptyset"),
    **dict.fromkeys("degree textdegree circ".split(), "°"),
    **dict.fromkeys("land wedge".split(), " and "),
    **dict.fromkeys("mod bmod".split(), r"\mod"),
    **{f"var{name}": f"\\{name}" for name in "phi theta epsilon rho sigma kappa".split()},
    "cup": "∪",
    "in": "∈",
    **dict.fromkeys("langle lparen".split(), "("),
    **dict.fromkeys("rangle rparen".split(), ")"),
    "lbrack": "[",
    "rbrack": "]",
    "lbrace": r"\{",
    "rbrace": r"\}",
    "vee": r"\lor",
    "bigcup": "∪",
    "bigcap": r"\cap",
    "lt": "<",
    "gt": ">",
    "prime": "'",
    "bar": r"\overline",
    "tg": r"\tan",
    "ctg": r"\cot",
    "cotg": r"\cot",
    "cosec": r"\csc",
    "arctg": r"\arctan",
    "arcctg": r"\arccot",
    "sh": r"\sinh",
    "ch": r"\cosh",
    "th": r"\tanh",
    "backslash": r"\setminus",
    "colon": ":",
    "longrightarrow": r"\to",
    **dict.fromkeys("implies Longrightarrow".split(), r"\Rightarrow"),
}
# Functions that are also written as words: \operatorname{tg}, \mathrm{Im}.
FUNCTION_WORDS = """arcsin arccos arctan arctg arcctg sinh cosh tanh coth sin cos tan cot sec csc cosec tg ctg cotg sh
ch th exp log ln lg gcd lcm max min lim cis Re Im arg sgn det tr rank mod bmod""".split()
