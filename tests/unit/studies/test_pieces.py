"""The parts of the studies: steps, labels by rollouts, search trees, and what is chosen."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import ROOT

from r1kit.types import Completion, Problem

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _studies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "studies"))


@pytest.fixture(scope="module")
def actor() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "studies"))
        from actor import Actor

    return Actor.load("sprout-base", prompts_per_step=2, num_generations=2)


def completion(actor: Any, text: str) -> Completion:
    token_ids = (*actor.tokenizer(text, add_special_tokens=False)["input_ids"], actor.tokenizer.eos_token_id)
    return Completion("p", 0, token_ids, (), text, "stop")


def prompt(actor: Any, question: str, answer: str) -> Any:
    return actor.prompts([Problem("p", question, answer)])[0]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("<think>\n3+4=7\n7*2=14\n</think>\n<answer>\n14\n</answer>", ["3+4=7", "7*2=14", "14"]),
        ("<think> 3+4=7 </think> <answer> 7 </answer>", ["3+4=7", "7"]),
        ("7", ["7"]),
        ("<think>\n\n</think>", [""]),
    ],
)
def test_steps_are_lines_with_words(actor: Any, text: str, steps: list[str]) -> None:
    from value import TAG, step_ends

    tokens = completion(actor, text).token_ids
    ends = step_ends(tokens, actor.tokenizer)
    assert ends[-1] == len(tokens)
    pieces = [tokens[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    texts = [actor.tokenizer.decode(piece, skip_special_tokens=True) for piece in pieces]
    assert [TAG.sub("", text).strip() for text in texts] == steps


def test_a_step_is_labelled_by_the_share_of_right_rollouts(actor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from actor import Branch, Graded
    from prm import label_steps

    asked = prompt(actor, "What is 3+4?", "7")
    solution = completion(actor, "<think>\n3+4=8\n</think>\n<answer>\n8\n</answer>")
    drawn = [completion(actor, f"<answer> {answer} </answer>") for answer in ("7", "8", "7", "7")]
    begun: list[Branch] = []

    def complete(branches: list[Branch], samples: int, seed: int) -> list[list[Completion]]:
        begun.extend(branches)
        return [drawn[:samples] for _ in branches]

    monkeypatch.setattr(actor, "complete", complete)
    (example,) = label_steps(actor, [Graded(asked, [solution] * 1, [False], ("8",))], rollouts=4, seed=0)
    assert [branch.tokens for branch in begun] == [solution.token_ids[: example.ends[0]]]
    assert example.targets == [0.75, 0.0]  # of the first step; of the solution, which is wrong


def test_a_value_model_learns_its_labels(actor: Any) -> None:
    from actor import Branch
    from value import Example, ValueModel

    asked = prompt(actor, "What is 3+4?", "7")
    right, wrong = (completion(actor, f"3+4={n}").token_ids for n in (7, 8))
    examples = [Example(Branch(asked, t), [2, len(t)], [0.5, y]) for t, y in ((right, 1.0), (wrong, 0.0))] * 400
    model = ValueModel(actor)
    assert model.values(examples[:1]) == [[0.5, 0.5]]  # the head is zero
    model.fit(examples, seed=0)
    (first, good), (second, bad) = model.values([Example(Branch(asked, t), [2, len(t)]) for t in (right, wrong)])
    assert good > 0.8 and bad < 0.2 and first == pytest.approx(second, abs=1e-4)  # a prefix does not see what follows
    single = [model.values([Example(Branch(asked, t), [len(t)])])[0][0] for t in (right, wrong)]
    assert single == pytest.approx([good, bad], abs=1e-5)  # nor one document another


def test_best_of_n_takes_the_highest_value() -> None:
    from actor import Graded
    from value import best_of

    answered = [Graded(None, [], [True, False, False, True, True], ())]  # type: ignore[arg-type]
    values = torch.tensor([[0.1, 0.9, 0.2, 0.8, 1.0]])
    assert best_of(values, answered, 1) == [pytest.approx(0.6)]
    assert best_of(values, answered, 2) == [0.5]  # wrong of the first two, right of the next; the last has no partner
    assert best_of(values, answered, 4) == [0.0]


def test_visits_and_values_are_backed_up_and_bound_the_choice() -> None:
    from tree import EXPLORATION, Node

    root = Node()
    root.children = [Node(parent=root) for _ in range(2)]
    for child, value in zip(root.children, (0.8, 0.2), strict=True):
        child.add(value)
    child = root.children[0]
    child.children = [Node(parent=child, is_end=True)]
    child.children[0].add(0.1)
    assert (root.visits, root.value) == (3, pytest.approx((0.8 + 0.2 + 0.1) / 3))
    assert (child.visits, child.value) == (2, pytest.approx(0.45))
    assert child.bound() == pytest.approx(0.45 + EXPLORATION * math.sqrt(math.log(3) / 2))
    assert list(root.ends()) == child.children and child.children[0].path() == [child, child.children[0]]


def test_search_expands_within_its_limit_and_grades_ends(actor: Any) -> None:
    from tree import search
    from value import ValueModel

    prompts = [prompt(actor, "What is 3+4?", "7"), prompt(actor, "Compute 8*2.", "16")]
    roots = search(actor, ValueModel(actor), prompts, width=3, simulations=5, seed=0, knows_answers=True)

    def nodes(node: Any) -> list[Any]:
        return [node, *(below for child in node.children for below in nodes(child))]

    for root in roots:
        below = nodes(root)[1:]
        assert max(len(node.children) for node in [root, *below]) <= 3
        assert root.visits >= len(below) >= 2
        for node in below:
            start = node.parent.tokens
            assert node.tokens[: len(start)] == start and len(node.tokens) > len(start)
            assert len({child.tokens for child in node.children}) == len(node.children)
            if node.is_end:
                assert not node.children and node.value in (0.0, 1.0)
            else:
                assert node.completion.text.count("\n") > 0


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<think> B lies </think>", "en"),
        ("<think> B说谎 </think>", "zh"),
        ("<think> B lügt, A is honest", "mixed"),
        ("B lügt", "de"),
        ("<think> 3+4=7 </think> <answer> 7 </answer>", "no words"),
    ],
)
def test_words_are_told_apart(text: str, kind: str) -> None:
    from third_language import kind_of

    assert kind_of(text) == kind


def test_studies_stay_small() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in Path(ROOT / "studies").glob("*.py")}
    assert max(lengths.values()) <= 250, lengths


def test_selection_leads_are_within_groups(tmp_path: Path) -> None:
    from selection import page, selection

    def row(prompt: str, text: str, right: float) -> str:
        kept = {"prompt_id": prompt, "completion": text, "language": "en", "parts": {"accuracy": right}}
        return json.dumps(kept) + "\n"

    groups = [("a", "wait, 3", 0.0), ("a", "it is 4", 1.0), ("a", "it is 5", 0.0), ("b", "wait 4", 1.0)]
    file = tmp_path / "step_000001.jsonl"
    file.write_text("".join(row(*each) for each in groups))
    found = selection(file)
    assert found["a word of reflection"] == {"share": 0.5, "leads": [-0.5]}, "prompt b has nothing to compare with"
    assert found["words of another language"] == {"share": 0.0, "leads": []}
    assert "| 1 | 50.0 % | -50 ± 0 | 2 | 0.0 % |  | 0 |" in page([{"1": found}, {"1": found}])


def test_preferences_count_replies_by_sort_of_prompt(tmp_path: Path) -> None:
    from preferences import of_run

    def write(stage: str, *replies: str) -> None:
        data = tmp_path / f"stages/{stage}/data"
        data.mkdir(parents=True)
        about = {"benchmark": "general", "prompt_id": "p"}
        asked = {"question": "How are you?", "answer": "I am fine."}
        rows = [{**about, **asked, "completion": f"<answer> {reply} </answer>"} for reply in replies]
        (data / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (data / "problems.jsonl").write_text(json.dumps({**about, "family": "chat"}) + "\n")

    write("r1_eval", "I am fine.", "I am fine.", "", "I am fine.")
    write("dev3_eval", "", "I am fine.", "I am fine.", "")
    assert of_run(tmp_path) == {"chat": {"prompts": 1, "wins": 0.5, "ties": 0.25, "losses": 0.25}}
    (tmp_path / "stages/dev3_eval/data/samples.jsonl").write_text("")
    with pytest.raises(ValueError, match="shorter"):
        of_run(tmp_path)
    with pytest.raises(ValueError, match="no results of a stage r1_eval: pass finished runs of sprout-r1"):
        of_run(tmp_path / "stages")


def test_figures_are_means_over_steps(tmp_path: Path) -> None:
    from figures import figure

    stage = tmp_path / "stages/zero"
    stage.mkdir(parents=True)
    (stage / "metrics.jsonl").write_text("".join(f'{{"step": {step}, "kl": {step}.0}}\n' for step in range(1, 6)))
    assert figure(tmp_path, "zero", "kl", (2, 3)) == 2.5
    with pytest.raises(ValueError, match="no reward in steps 1 to 5"):
        figure(tmp_path, "zero", "reward", (1, 5))
    with pytest.raises(ValueError, match="no stage 'sft'; its stages: zero"):
        figure(tmp_path, "sft", "kl", (1, 5))
    with pytest.raises(ValueError, match="its stages: none: it is not a run"):
        figure(tmp_path / "stages", "sft", "kl", (1, 5))
