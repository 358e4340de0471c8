"""Mixing of languages when asked in a third one (paper, section 5: limitations).

python studies/third_language.py --seeds 0 1 2

DeepSeek-R1 is optimised for English and Chinese, and may reason in another language than the question's. Here R1-Zero,
with and without the language reward, is trained on English and Chinese questions; then the same held-out tasks are
asked in English, Chinese and German. Which languages are the words of the answers in, and what does it cost?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from actor import TRAINING, Actor, Scores, by_rule, problems
from study import main, markdown
from torch import Tensor
from value import TAG

from r1kit.data.prompt import Prompt
from r1kit.data.response import split_response
from r1kit.data.worlds.german import LANGUAGES, WORDS, multilingual_problems
from r1kit.evals.style import CJK, LATIN_WORD
from r1kit.hashing import derive_seed
from r1kit.rollout.score import score_groups
from r1kit.types import Completion

KINDS = (*LANGUAGES, "mixed", "no words")


@dataclass(frozen=True)
class Sizes:
    """How much is computed."""

    prompts_per_step: int = 32
    steps: int = 40  # of RL
    tasks: int = 60  # of each of the three families, in every language
    samples: int = 4  # of each question


TINY = Sizes(prompts_per_step=2, steps=1, tasks=5, samples=2)


def with_language(prompts: Sequence[Prompt], groups: Sequence[Sequence[Completion]], scored: Scores) -> Tensor:
    """Return accuracy + format + language (paper eq. 7)."""
    languages = score_groups(prompts, groups, {"language": 1.0})
    return by_rule(prompts, groups, scored) + by_rule(prompts, groups, languages)


def kind_of(text: str) -> str:
    """Return the language of the words of an answer: one of KINDS. Every word of sprout is in one language."""
    text = TAG.sub(" ", text)
    found = {"zh"} if CJK.search(text) else set()
    found |= {"de" if word.casefold() in WORDS else "en" for word in LATIN_WORD.findall(text)}
    return found.pop() if len(found) == 1 else "mixed" if found else "no words"


def measure(actor: Actor, sizes: Sizes, seed: int) -> dict[str, dict[str, float]]:
    """Return, by language of the question, the accuracy, the share of well-formed answers, and those of KINDS."""
    tasks = multilingual_problems(sizes.tasks)
    result = {}
    for language in LANGUAGES:
        answered = actor.answer([task[language] for task in tasks], sizes.samples, derive_seed("test", seed))
        texts = [completion.text for group in answered for completion in group.completions]
        kinds = Counter(map(kind_of, texts))
        result[language] = {
            "accuracy": fmean(right for group in answered for right in group.right),
            "well-formed": fmean(split_response(text, think_open=False).well_formed for text in texts),
            **{kind: kinds[kind] / len(texts) for kind in KINDS},
        }
    return result


def study(seed: int, sizes: Sizes) -> dict[str, Any]:
    """Run the study with one seed; return what `page` shows."""
    train = problems("train", TRAINING)
    base = Actor.load("sprout-base", prompts_per_step=sizes.prompts_per_step)
    zero, consistent = base.copy(), base.copy()
    zero.reinforce(train, sizes.steps, derive_seed("rl", seed))
    consistent.reinforce(train, sizes.steps, derive_seed("rl", seed), with_language)
    actors = {"base": base, "R1-Zero": zero, "R1-Zero, language reward": consistent}
    return {name: measure(actor, sizes, seed) for name, actor in actors.items()}


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the results of all seeds as Markdown."""
    columns = list(results[0]["base"]["en"])
    names = [f"words {column}" if column in LANGUAGES else column for column in columns]
    lines = [["model", "question", *names], ["---", "---", *["---:"] * len(columns)]]
    for model in results[0]:
        for language in LANGUAGES:
            means = (100 * fmean(result[model][language][column] for result in results) for column in columns)
            lines.append([model, language, *(f"{mean:.1f} %" for mean in means)])
    return markdown(lines)


if __name__ == "__main__":
    main("third_language", study, page, Sizes(), TINY)
