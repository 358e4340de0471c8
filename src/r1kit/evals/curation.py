"""From judged samples to a data set: choose, deduplicate, mix, and say what became of every sample. Pure functions.

A row is what JSON can hold of an answer, or of two that were compared: prompt_id, prompt, domain, samples (how many
answers it is about), tokens (sampled for it), length (in tokens, of what it offers), that itself (response, or chosen
and rejected), and `reason`, which is "" as long as nothing speaks against it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from r1kit.evals.contamination import squeeze
from r1kit.evals.filters import REASONS
from r1kit.hashing import derive_seed

Row = dict[str, Any]


def choose(samples: Iterable[Row], keep: int, seed: int) -> list[Row]:
    """The samples in their order, at most `keep` of each prompt still without reason.

    A record that was there before, but for case and white space, is a duplicate. Among the rest of a prompt the seed
    decides: to prefer short or long ones would teach more than the answers.
    """
    rows, seen = [], set()
    alive: dict[str, list[int]] = defaultdict(list)
    for row in samples:
        if not row["reason"]:
            said = squeeze(row["prompt"]), squeeze(row["response"])
            if said in seen:
                row = {**row, "reason": "duplicate"}
            else:
                seen.add(said)
                alive[row["prompt_id"]].append(len(rows))
        rows.append(row)
    for prompt_id, indices in alive.items():
        ranked = sorted(indices, key=lambda i: derive_seed("choose", seed, prompt_id, rows[i]["sample"]))
        for i in ranked[keep:]:
            rows[i] = {**rows[i], "reason": "surplus"}
    return rows


def mix(others: Sequence[Row], kept: int, share: float, seed: int) -> list[Row]:
    """As many of the others that nothing speaks against as make up `share` of all records, or all there are.

    The seed decides which; they stay in their order.
    """
    fit = [i for i, row in enumerate(others) if not row["reason"]]
    wanted = round(kept * share / (1 - share))
    drawn = sorted(fit, key=lambda i: derive_seed("mix", seed, i))[:wanted]
    return [others[i] for i in sorted(drawn)]


def card_of(samples: Sequence[Row], mixed: Sequence[Row]) -> dict[str, Any]:
    """Counts by reason and by domain, as the paper's Table 5 and what it took to get there."""
    domains = list(dict.fromkeys(row["domain"] for row in samples))
    kept = [row for row in samples if not row["reason"]]
    return {
        "prompts": len({row["prompt_id"] for row in samples}),
        "sampled": sum(row["samples"] for row in samples),
        "sampled_tokens": sum(row["tokens"] for row in samples),
        "kept": len(kept),
        "mixed_in": len(mixed),
        "records": len(kept) + len(mixed),
        "rejected": _reasons(samples),
        "by_domain": {domain: _domain([row for row in samples if row["domain"] == domain]) for domain in domains},
        "mixed_in_by_domain": dict(Counter(row["domain"] for row in mixed)),
    }


def _domain(samples: Sequence[Row]) -> dict[str, Any]:
    lengths = [row["length"] for row in samples if not row["reason"]]
    return {
        "prompts": len({row["prompt_id"] for row in samples}),
        "sampled": sum(row["samples"] for row in samples),
        "kept": len(lengths),
        "mean_tokens": fmean(lengths) if lengths else None,
        "rejected": _reasons(samples),
    }


def _reasons(samples: Sequence[Row]) -> dict[str, int]:
    counts = Counter(row["reason"] for row in samples)
    return {reason: counts[reason] for reason in REASONS if counts[reason]}


def card_text(card: Mapping[str, Any]) -> str:
    """The card for people, as Markdown."""
    made, reasons = card["made"], list(card["rejected"])
    mixed = "no other data mixed in"
    if count := card["mixed_in"]:
        share = f"{count / card['records']:.0%}; asked for: {made['data_share']:.0%}"
        mixed = f"{count} records of other data mixed in ({share})"
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
    for domain, row in card["by_domain"].items():
        tokens = "" if row["mean_tokens"] is None else f"{row['mean_tokens']:.1f}"
        cells = [domain, row["prompts"], row["sampled"], row["kept"], tokens]
        lines.append("| " + " | ".join(map(str, cells + [row["rejected"].get(reason, 0) for reason in reasons])) + " |")
    if card["mixed_in"]:
        lines += ["", "| mixed in | records |", "|---|---|"]
        lines += [f"| {domain} | {count} |" for domain, count in card["mixed_in_by_domain"].items()]
    return "\n".join(lines) + "\n"
