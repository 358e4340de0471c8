"""README.md of a model repository: metadata as YAML, and the card as Markdown."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from r1kit.report.card.facts import Facts
from r1kit.report.card.inputs import UNKNOWN, hub_repository
from r1kit.report.card.results import model_index
from r1kit.report.header import duration

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

TAGS = {"rl": "reinforcement-learning", "sft": "sft", "pretrain": "pretraining"}


def render_card(facts: Facts, licence: str | None) -> str:
    """Return the content of README.md.

    Args:
        facts: What is known of the model.
        licence: The licence of the model, an identifier of the hub. By default that of its base, if the licences of
            everything that it was trained on are known.
    """
    data = metadata(facts, licence)
    environment = Environment(
        loader=PackageLoader("r1kit.report"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"cell": _cell, "duration": duration}
    text = environment.get_template("model_card.md").render(
        facts=facts,
        name=facts.repository.partition("/")[2],
        licence=data.license,
        is_licence_given=licence is not None,
        unknown=UNKNOWN,
        code=facts.lineage["code"],
        machine=facts.lineage["machine"],
        question_argument=shlex.quote,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{text}"


def metadata(facts: Facts, licence: str | None) -> ModelCardData:
    """Return the metadata of the card."""
    from huggingface_hub import ModelCardData

    chosen = licence or _licence(facts)
    base = hub_repository(facts.base, "model") if facts.base else None
    repositories = [each.hub_id for each in facts.inputs if each.use.startswith("training")]
    kinds = dict.fromkeys(line.kind for line in facts.stages)
    optional: dict[str, Any] = {
        "license_name": UNKNOWN if chosen is None else None,
        "base_model": base,
        "base_model_relation": "finetune" if base else None,
        "datasets": sorted({name for name in repositories if name}) or None,
        "language": sorted(_languages(facts)) or None,
        "eval_results": model_index(facts.evals, facts.stage.name) or None,
    }
    return ModelCardData(
        license=chosen or "other",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["r1kit", "reasoning", *(TAGS[kind] for kind in kinds if kind in TAGS)],
        model_name=facts.repository.partition("/")[2],
        **{key: value for key, value in optional.items() if value is not None},
    )


def _licence(facts: Facts) -> str | None:
    """Return the base's licence if those of all inputs of the training are known; else None."""
    used = [each for each in facts.inputs if each.use != "evaluation"]
    models = [each.licence for each in used if each.use == "model"]
    return models[0] if models and all(each.licence != UNKNOWN for each in used) else None


def _languages(facts: Facts) -> set[str]:
    """Return the languages of the questions that the model was evaluated on."""
    summaries = (s for e in facts.evals.values() for s in e["benchmarks"].values())
    return {language for summary in summaries for language in summary.get("by_language", {}) if len(language) == 2}


def _cell(text: str) -> str:
    """Return text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ") or "-"
