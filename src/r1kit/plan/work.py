"""How much a stage samples and trains. Where only the data knows, the result is an upper bound, or unknown.

Lengths are assumed: on average a completion or record has MEAN_SHARE of its limit, and the longest reaches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from r1kit.config import RL, Curate, Evaluate, Preference, Pretrain, PromptSource, StageConfig, Supervised
from r1kit.config.stage import PROMPT_TOKENS
from r1kit.evals.named.sources import task_of
from r1kit.plan.benchmarks import benchmark_counts

# The paper's 804,745 records have 5,355 tokens on average where 32,768 are allowed (Table 5). R1-Zero's completions
# grow from about 500 to 10,000 tokens under the same limit (Figure 3 of its first version): the same share on average.
MEAN_SHARE = 0.16
ROWS: Mapping[tuple[str, str], int] = {  # rows of public datasets as their pages at the hub show them
    ("zwhe99/DeepMath-103K", "train"): 103_022,
    ("DigitalLearningGmbH/MATH-lighteval", "train"): 7_500,
    ("openai/gsm8k:main", "train"): 7_473,
    ("openai/gsm8k:main", "test"): 1_319,
    ("HuggingFaceH4/MATH-500", "test"): 500,
    ("HuggingFaceH4/aime_2024", "train"): 30,
    ("TIGER-Lab/MMLU-Pro", "test"): 12_032,
    ("HuggingFaceH4/ultrafeedback_binarized", "train_prefs"): 61_135,
    ("open-r1/Mixture-of-Thoughts:all", "train"): 349_317,
}


@dataclass(frozen=True, slots=True)
class Work:
    """Equal steps of a training stage, or one rollout of a stage that only samples."""

    longest: int
    """Tokens of the longest completion or record."""
    mean: float
    """Tokens of a completion or record on average."""
    steps: int = 0
    """Optimizer updates."""
    texts: int = 0
    """Completions or records of an update."""
    text_prompts: int = 0
    """Prompts of an update that are computed beside them."""
    rollouts: int = 0
    completions: int = 0
    """Of a rollout."""
    samples: int = 1
    """Completions of a prompt."""

    @property
    def step_tokens(self) -> float:
        """Tokens that an update trains on."""
        return self.texts * self.mean + self.text_prompts * PROMPT_TOKENS


def work(stage: StageConfig, stages: Mapping[str, StageConfig], mean: int | None = None) -> list[Work] | None:
    """Return what a stage does, one entry for each of its length limits; None if the size of its data is unknown.

    `stages` are those of the recipe, by name. Completions and records have `mean` tokens on average, at most their
    limit; by default MEAN_SHARE of it. Evaluations inside an rl stage are not counted.
    """
    if isinstance(stage, RL):
        return _rl(stage, mean)
    if isinstance(stage, Pretrain):
        tokens = stage.context_length
        return [Work(tokens, tokens, steps=stage.steps, texts=stage.sequences_per_step)]
    if isinstance(stage, Supervised):
        counts = [_records(name, stages) for name in stage.data]
        if None in counts:
            return None
        steps = stage.epochs * -(-sum(count for count in counts if count) // stage.sequences_per_step)
        texts = 2 if isinstance(stage, Preference) and stage.objective == "pairwise" else 1
        tokens = stage.context_length
        return [Work(tokens, _mean(tokens, mean), steps=steps, texts=texts * stage.sequences_per_step)]
    if isinstance(stage, Evaluate):
        if stage.endpoint:
            return []
        completions = benchmark_counts(stage).get("completions") or _completions(stage.samples, stage.sources())
    elif isinstance(stage, Curate):
        completions = _completions(stage.samples, stage.sampled_sources())
    else:
        return None
    if completions is None:
        return None
    longest = stage.max_completion_length
    return [Work(longest, _mean(longest, mean), rollouts=1, completions=completions, samples=stage.samples)]


def _rl(stage: RL, mean: int | None) -> list[Work]:
    counts = stage.counts()
    starts = sorted(start for start in stage.max_completion_length if start < stage.steps)
    parts = []
    for start, end in zip(starts, [*starts[1:], stage.steps], strict=True):
        longest = stage.max_completion_length[start]
        part = Work(
            longest,
            _mean(longest, mean),
            steps=end - start,
            texts=counts["completions_per_step"],
            text_prompts=stage.prompts_per_step,
            rollouts=-(-(end - start) // stage.steps_per_rollout),
            completions=min(counts["completions_per_rollout"], (end - start) * counts["completions_per_step"]),
            samples=stage.num_generations,
        )
        parts.append(part)
    return parts


def _mean(limit: int, given: int | None) -> float:
    return min(limit, MEAN_SHARE * limit if given is None else given)


def _records(name: str, stages: Mapping[str, StageConfig]) -> int | None:
    """Return the records of an earlier stage, at most, or of a dataset; None if they are unknown."""
    stage = stages.get(name)
    if not isinstance(stage, Curate):
        return ROWS.get((name, "train"))
    prompts = _completions(1, stage.sampled_sources())
    if prompts is None:
        return None
    each = {"records": min(stage.keep, stage.samples), "pairs": stage.samples // 2, "labels": stage.samples}
    own = prompts * each[stage.makes]
    return round(own / (1 - stage.data_share)) if stage.data else own


def _completions(samples: int, sources: list[tuple[tuple[str | int, ...], PromptSource]]) -> int | None:
    """Return the completions of all problems of these sources; None if one has an unknown number of problems."""
    sizes = [_problems(source) for _, source in sources]
    return None if None in sizes else samples * sum(size for size in sizes if size)


def _problems(source: PromptSource) -> int | None:
    task = task_of(source)
    known = ROWS.get((source.source, source.split)) if task is None else task.n
    limits = [number for number in (known, source.limit) if number is not None]
    return min(limits, default=None)
