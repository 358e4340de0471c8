"""The text that sprout-base is pretrained on: problems solved well, badly and not at all, and other talk.

Two corpora, as in any base model's life: first one in which much is worked out, then one like the web, in which most
people only state an answer, wrong more often than right. The first gives the ability, the second takes the habit.

What a document says (language, quality of the reasoning) and how it is wrapped (plain, question and answer, dialogue,
tags) are drawn independently: if tags stood mostly around good reasoning they would select it, and the base would
already have the habit that reinforcement learning is there to find. Neither the R1-Zero template nor a held-out task
occurs in it; a test holds both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from r1kit.data.worlds import FAMILIES
from r1kit.data.worlds.talk import exchange, sentence
from r1kit.data.worlds.task import LEVELS, Slips, Task
from r1kit.errors import UserError

TALK_SHARE = 0.15
CHINESE_SHARE = 0.25
FAMILY_SHARES = {"arithmetic": 0.3, "countdown": 0.4, "logic": 0.3}  # countdown takes longest to learn


@dataclass(frozen=True, slots=True)
class Mixture:
    """How solutions are written, by share, and how many answers given without any work are wrong."""

    bare: float  # only an answer
    clean: float  # every step right
    careless: float  # steps go wrong, and what follows builds on them
    rechecked: float  # steps go wrong, are noticed ("wait, ...") and corrected
    bare_wrong: float


CORPORA = {
    "sprout-textbook": Mixture(bare=0.40, clean=0.32, careless=0.16, rechecked=0.12, bare_wrong=1 / 3),
    "sprout-web": Mixture(bare=0.82, clean=0.08, careless=0.06, rechecked=0.04, bare_wrong=0.75),
}
# In which language the steps are: the question's, the other, or both mixed line by line.
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
# A thought that is none, for tags around a bare answer.
EMPTY_THOUGHT = {"en": ("Easy.", "I know this.", "Let me see.", ""), "zh": ("简单。", "我知道。", "看一看。", "")}


def documents(corpus: str, seed: int) -> Iterator[str]:
    """Endless training documents, a pure function of corpus and seed."""
    if corpus not in CORPORA:
        raise UserError(f"unknown corpus {corpus!r}: choose from {', '.join(CORPORA)}")
    for index in count():
        yield document(Random(f"sprout:{seed}:{index}"), CORPORA[corpus])


def document(rng: Random, mixture: Mixture) -> str:
    language = "zh" if rng.random() < CHINESE_SHARE else "en"
    if rng.random() < TALK_SHARE:
        user, reply = exchange(rng, language)
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
    """A user's turn; sometimes other text stands before it, as in any web page."""
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
    """Tags used wrongly: half open, in the wrong order, without an answer."""
    broken = (
        "<think> {0} {1}",
        "{0} <answer> {1}",
        "<answer> {1} </answer>",
        "<think> {0} </think> {1}",
        "<answer> {1} </answer> <think> {0} </think>",
    )
    return _dialogue(rng, language, question) + " " + rng.choice(broken).format(work, answer)
