"""The limits of a model that the files of its run show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from r1kit.model.reference import bundled_models
from r1kit.report.ancestry import reads
from r1kit.report.collect import Run, Stage, is_number

TOY_PARAMETERS = 500_000_000  # below, a model is called a toy
ONE_LANGUAGE, CUT_OFF = 0.97, 0.02  # shares beyond which a limit is named


def limits_of(
    run: Run,
    stage: Stage,
    made_by: Sequence[Stage],
    parameters: int,
    base: str,
    evals: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Return one sentence for each limit.

    Args:
        run: The run.
        stage: The stage that made the model.
        made_by: It and the stages that it depends on.
        parameters: The size of the model.
        base: The model from outside the run that it was made from; "" for none.
        evals: The evaluations of the model and of its base, by stage.
    """
    return [*_of_training(run, made_by, parameters, base, evals), *_of_answers(stage.name, evals)]


def _of_training(
    run: Run, made_by: Sequence[Stage], parameters: int, base: str, evals: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    if parameters < TOY_PARAMETERS:
        yield f"With {parameters:,} parameters it is a toy to study training with, not a model to rely on."
    if not base or base in bundled_models():
        yield "It knows the kinds of problems that it was trained on and little else."
    trained = {name for each in made_by for name in reads(each.config, {}).get("prompts", [])}
    measured = {name for each in run.stages if each.name in evals for name in reads(each.config, {})["benchmarks"]}
    if trained & measured:
        yield "The evaluations use held-out problems of the sources that it was trained on, not other tasks."
    if not any(each.config.get("general") for each in made_by):
        yield "No stage trained it to be helpful or harmless."


def _of_answers(model: str, evals: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    summaries = {name: s for e in evals.values() if e.get("model") == model for name, s in e["benchmarks"].items()}
    for name, summary in summaries.items():
        language, cut_off = summary.get("language"), summary.get("truncated")
        if is_number(language) and language < ONE_LANGUAGE:
            yield f"It mixes languages: in {name}, {language:.0%} of the words are in the language of the question."
        if is_number(cut_off) and cut_off > CUT_OFF:
            yield f"In {name}, {cut_off:.1%} of its answers were cut off at the length limit."
    if not summaries:
        yield "No evaluation has measured this model."
