"""Turn judged samples into a data set: choose, deduplicate, mix in other data, and count. Pure functions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NotRequired, TypedDict, cast

from r1kit.evals.contamination import normalize
from r1kit.evals.filters import REASONS
from r1kit.hashing import derive_seed
from r1kit.types import Problem


class Review(TypedDict):
    """The verdict on one sampled answer, or on two that were compared.

    Holds `response`, or `chosen` and `rejected` for a pair.
    """

    sample: NotRequired[int]  # index within the prompt's group; of a pair, the first answer's
    samples: int  # sampled answers that it covers
    tokens: int  # sampled for it
    response: NotRequired[str]  # rewritten, if there is a rewriter
    episode: NotRequired[list[Mapping[str, str]]]  # all messages of an episode, whose last part is `response`
    chosen: NotRequired[str]
    rejected: NotRequired[str]
    difference: NotRequired[float]  # how much better `chosen` is, from 0 to 2
    reason: str  # a filters.Reason against it, or ""
    why: NotRequired[str]  # details of the reason
    original: NotRequired[str]  # the response before it was rewritten
    rewritten: NotRequired[str]  # what a rewriter made, if that is rejected
    safe: NotRequired[bool]
    benchmark: NotRequired[str]  # that it overlaps with


class Row(Review):
    """One line of a block, of kept.jsonl or of rejected.jsonl: a review and its prompt."""

    prompt_id: str
    prompt: NotRequired[str]
    messages: NotRequired[
        list[Mapping[str, Any]]
    ]  # a conversation: instead of prompt and response, or before `episode`
    tools: NotRequired[list[Mapping[str, Any]]]  # that the prompt offers
    domain: str
    language: NotRequired[str]
    level: NotRequired[int]
    length: int  # tokens of its texts


def make_row(problem: Problem, review: Review, length: int) -> Row:
    """Return the row of a review of completions of `problem`.

    Args:
        problem: The problem that was sampled.
        review: The review.
        length: Tokens of its texts.
    """
    row = {
        "prompt_id": problem.id,
        "prompt": problem.question,
        "domain": problem.family or "other",
        "language": problem.language,
        "level": problem.level,
        **({"messages": [*problem.messages]} if problem.messages else {}),
        **({"tools": [*problem.tools]} if problem.tools else {}),
        **review,
        "length": length,
    }
    return cast(Row, row)


class DomainCounts(TypedDict):
    """The counts of one domain on a data card."""

    prompts: int
    sampled: int
    kept: int
    mean_tokens: float | None  # of kept rows; None without any
    rejected: dict[str, int]  # by reason


class Counts(TypedDict):
    """The counts on a data card, as in the paper's Table 5, and what it took to get there."""

    prompts: int
    sampled: int
    sampled_tokens: int
    kept: int
    mixed_in: int
    records: int
    rejected: dict[str, int]  # by reason
    by_domain: dict[str, DomainCounts]
    mixed_in_by_domain: dict[str, int]


class Made(TypedDict):
    """How a data set was made."""

    temperature: float
    makes: str
    samples: int
    data_share: float
    ngram: int
    stage: str
    model: str
    seed: int
    benchmarks: list[str]
    rewriter: str | None
    judge: str | None


class Card(Counts):
    """The data card of a curate stage."""

    made: Made


def texts_of(review: Review) -> list[str]:
    """Return what was sampled, with what an environment wrote in between."""
    if "episode" in review:
        return [message["content"] for message in review["episode"]]
    return [str(review[key]) for key in ("response", "chosen", "rejected") if key in review]


def choose(rows: Iterable[Row], keep: int, seed: int) -> list[Row]:
    """Return the rows in order, with a reason against duplicates and against all but `keep` of each prompt.

    A duplicate differs from an earlier row in case and white space at most. The seed decides which rows of a prompt
    stay: a preference for short or long ones would bias the data.
    """
    chosen: list[Row] = []
    seen = set()
    fit_by_prompt: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        if not row["reason"]:
            text = normalize(row["prompt"]), normalize("\n".join(texts_of(row)))
            if text in seen:
                row = {**row, "reason": "duplicate"}
            else:
                seen.add(text)
                fit_by_prompt[row["prompt_id"]].append(len(chosen))
        chosen.append(row)
    for prompt_id, indices in fit_by_prompt.items():
        ranked = sorted(indices, key=lambda i: derive_seed("choose", seed, prompt_id, chosen[i]["sample"]))
        for i in ranked[keep:]:
            chosen[i] = {**chosen[i], "reason": "surplus"}
    return chosen


def mix(others: Sequence[Row], kept: int, share: float, seed: int) -> list[Row]:
    """Sample accepted extra rows up to `share` of all records, or all of them if there are fewer.

    The seed decides which. They keep their order.
    """
    fit = [i for i, row in enumerate(others) if not row["reason"]]
    wanted = round(kept * share / (1 - share))
    drawn = sorted(fit, key=lambda i: derive_seed("mix", seed, i))[:wanted]
    return [others[i] for i in sorted(drawn)]


def count(rows: Sequence[Row], mixed: Sequence[Row]) -> Counts:
    """Count rows by reason and by domain.

    Args:
        rows: All judged rows.
        mixed: The extra rows that were mixed in.
    """
    domains = list(dict.fromkeys(row["domain"] for row in rows))
    kept = [row for row in rows if not row["reason"]]
    return {
        "prompts": len({row["prompt_id"] for row in rows}),
        "sampled": sum(row["samples"] for row in rows),
        "sampled_tokens": sum(row["tokens"] for row in rows),
        "kept": len(kept),
        "mixed_in": len(mixed),
        "records": len(kept) + len(mixed),
        "rejected": _by_reason(rows),
        "by_domain": {domain: _count_domain([row for row in rows if row["domain"] == domain]) for domain in domains},
        "mixed_in_by_domain": dict(Counter(row["domain"] for row in mixed)),
    }


def _count_domain(rows: Sequence[Row]) -> DomainCounts:
    lengths = [row["length"] for row in rows if not row["reason"]]
    return {
        "prompts": len({row["prompt_id"] for row in rows}),
        "sampled": sum(row["samples"] for row in rows),
        "kept": len(lengths),
        "mean_tokens": fmean(lengths) if lengths else None,
        "rejected": _by_reason(rows),
    }


def _by_reason(rows: Sequence[Row]) -> dict[str, int]:
    counts = Counter(row["reason"] for row in rows)
    return {reason: counts[reason] for reason in REASONS if counts[reason]}


def card_text(card: Card) -> str:
    """Return the data card as Markdown."""
    made, reasons = card["made"], list(card["rejected"])
    mixed = "no other data mixed in"
    if records := card["mixed_in"]:
        share = f"{records / card['records']:.0%}; asked for: {made['data_share']:.0%}"
        mixed = f"{records} records of other data mixed in ({share})"
    lines = [
        f"# {made['stage']}: {card['records']} {made['makes']}",
        "",
        f"{card['sampled']} answers of `{made['model']}` to {card['prompts']} prompts, {made['samples']} each at "
        f"temperature {made['temperature']}, seed {made['seed']}; {card['kept']} kept, {mixed}.",
        f"Rewritten by: {made['rewriter'] or 'nobody'}. Decontaminated against: "
        f"{', '.join(made['benchmarks']) or 'nothing'} ({made['ngram']} words in a row).",
        "",
        "| domain | prompts | samples | kept | mean tokens |" + "".join(f" {reason} |" for reason in reasons),
        "|---" * (5 + len(reasons)) + "|",
    ]
    for domain, counts in card["by_domain"].items():
        tokens = "" if counts["mean_tokens"] is None else f"{counts['mean_tokens']:.1f}"
        cells = [domain, str(counts["prompts"]), str(counts["sampled"]), str(counts["kept"]), tokens]
        cells += [str(counts["rejected"].get(reason, 0)) for reason in reasons]
        lines.append("| " + " | ".join(cells) + " |")
    if card["mixed_in"]:
        lines += ["", "| mixed in | records |", "|---|---|"]
        lines += [f"| {domain} | {number} |" for domain, number in card["mixed_in_by_domain"].items()]
    return "\n".join(lines) + "\n"
