"""The pretraining text of sprout-base: problems with correct, wrong or no worked solutions, and general text.

There are three corpora, used one after the other. In sprout-textbook many problems are worked out, so the model learns
how, between facts and talk; sprout-exercises has little but problems. In sprout-web, as on the web, most documents only
state an answer, usually a wrong one, so the model stops working problems out by default.

Content (language, quality of the reasoning) and format (plain, question and answer, dialogue, tags) are drawn
independently. If tags surrounded mostly good reasoning, prompting with tags would select it, and reinforcement
learning would have nothing left to find. Neither the R1-Zero template nor any held-out task occurs in the corpora
(tests/unit/data/test_corpus.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from r1kit.data.worlds import FAMILIES
from r1kit.data.worlds.general import corpus_exchange, sentence
from r1kit.data.worlds.task import LEVELS, Slips, Task
from r1kit.errors import UserError

CHINESE_SHARE = 0.25
FAMILY_SHARES = {"arithmetic": 0.27, "countdown": 0.38, "logic": 0.35}  # arithmetic is the easiest to learn


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares of the styles in which problems are answered."""

    bare: float  # only an answer
    clean: float  # all steps correct
    careless: float  # errors that later steps build on
    rechecked: float  # errors that are corrected in the next line ("wait, ...")
    bare_wrong: float  # share of wrong answers among the bare ones
    general: float  # share of documents without a problem


CORPORA = {
    "sprout-textbook": Mixture(0.40, clean=0.32, careless=0.16, rechecked=0.12, bare_wrong=1 / 3, general=0.22),
    "sprout-exercises": Mixture(0.30, clean=0.40, careless=0.17, rechecked=0.13, bare_wrong=1 / 3, general=0.10),
    "sprout-web": Mixture(0.82, clean=0.08, careless=0.06, rechecked=0.04, bare_wrong=0.75, general=0.22),
}
# Language of the steps: the question's, the other one, or one drawn for each line.
STEP_LANGUAGES = {"same": 0.80, "other": 0.08, "mixed": 0.12}
OTHER = {"en": "zh", "zh": "en"}

DIALOGUE = {"en": ("User: {}\nAssistant:", "User: {} Assistant:"), "zh": ("用户：{}\n助手：", "User: {} Assistant:")}
EXERCISE = {
    "en": ("Question: {}\nAnswer:", "Q: {} A:", "Problem: {}\nSolution:"),
    "zh": ("问题：{}\n答案：", "问：{}答：", "题目：{}\n解："),
}
CONCLUSION = {
    "en": ("The answer is {}.", "Answer: {}", "So it is {}.", "\\boxed{{{}}}", "{}"),
    "zh": ("答案是{}。", "答：{}", "所以是{}。", "\\boxed{{{}}}", "{}"),
}
# Filler for think tags when the answer is bare.
EMPTY_THOUGHT = {"en": ("Easy.", "I know this.", "Let me see.", ""), "zh": ("简单。", "我知道。", "看一看。", "")}


def documents(corpus: str, seed: int) -> Iterator[str]:
    """Yield training documents without end, a pure function of corpus and seed."""
    if corpus not in CORPORA:
        raise UserError(f"unknown corpus {corpus!r}: choose from {', '.join(CORPORA)}")
    for index in count():
        yield document(Random(f"sprout:{seed}:{index}"), CORPORA[corpus])


def document(rng: Random, mixture: Mixture) -> str:
    """Draw one document: small talk, or a training problem with an answer in a random style and format."""
    language = "zh" if rng.random() < CHINESE_SHARE else "en"
    if rng.random() < mixture.general:
        user, reply = corpus_exchange(rng, language)
        return _dialogue(rng, language, user) + " " + reply
    family = FAMILIES[rng.choices(list(FAMILY_SHARES), weights=list(FAMILY_SHARES.values()))[0]]
    task = family.make(rng, rng.choice(LEVELS))
    while task.held_out:
        task = family.make(rng, task.level)
    lines, answer = _solution(rng, mixture, task, language)
    question = family.question(task, rng, language)
    wrap = rng.choices((_tagged, _spoken, _written, _sloppy), weights=(0.22, 0.36, 0.34, 0.08))[0]
    return wrap(rng, language, question, "\n".join(lines), _localise(answer, language))


def _solution(rng: Random, mixture: Mixture, task: Task, language: str) -> tuple[list[str], str]:
    family = FAMILIES[task.family]
    styles = ("bare", "clean", "careless", "rechecked")
    style = rng.choices(styles, weights=[getattr(mixture, style) for style in styles])[0]
    if style == "bare":
        return [], family.guess(task, rng) if rng.random() < mixture.bare_wrong else task.answer
    mix = rng.choices(list(STEP_LANGUAGES), weights=list(STEP_LANGUAGES.values()))[0]

    def languages() -> str:
        if mix == "mixed":
            return rng.choice((language, OTHER[language]))
        return language if mix == "same" else OTHER[language]

    return family.work(task, rng, languages, Slips(rng, careless=style != "clean", rechecks=style == "rechecked"))


def _localise(answer: str, language: str) -> str:
    return "没有" if answer == "none" and language == "zh" else answer


def _dialogue(rng: Random, language: str, user: str) -> str:
    """Return a user's turn, sometimes preceded by unrelated sentences, as on a web page."""
    before = [sentence(rng, language) for _ in range(rng.choice((0, 0, 0, 1, 2, 4)))]
    return " ".join([*before, rng.choice(DIALOGUE[language]).format(user)])


def _tagged(rng: Random, language: str, question: str, work: str, answer: str) -> str:
    thought = work or rng.choice(EMPTY_THOUGHT[language])
    gap = rng.choice((" ", "\n"))
    body = f"<think>{gap}{thought}{gap}</think>{gap}<answer>{gap}{answer}{gap}</answer>"
    return _dialogue(rng, language, question) + " " + body


def _spoken(rng: Random, language: str, question: str, work: str, answer: str) -> str:
    conclusion = rng.choice(CONCLUSION[language]).format(answer)
    return _dialogue(rng, language, question) + " " + "\n".join(filter(None, (work, conclusion)))


def _written(rng: Random, language: str, question: str, work: str, answer: str) -> str:
    lead = rng.choice(EXERCISE[language]).format(question)
    return lead + " " + "\n".join(filter(None, (work, rng.choice(CONCLUSION[language]).format(answer))))


def _sloppy(rng: Random, language: str, question: str, work: str, answer: str) -> str:
    """Wrap in malformed tags: unclosed, in the wrong order, or without an answer."""
    broken = (
        "<think> {0} {1}",
        "{0} <answer> {1}",
        "<answer> {1} </answer>",
        "<think> {0} </think> {1}",
        "<answer> {1} </answer> <think> {0} </think>",
    )
    return _dialogue(rng, language, question) + " " + rng.choice(broken).format(work, answer)
