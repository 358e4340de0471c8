"""What every number means, in a sentence or two for somebody who sees it for the first time, with the usual remedy.

Keys are the names in metrics.jsonl; `*` stands for any part of a name, and `pretrain:loss` is the loss of a pretrain
stage, where it means something else than in an RL stage.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

EXPLAIN: dict[str, str] = {
    # Results of an evaluation.
    "pass@1": (
        "How often one answer is right: the mean over several samples of every problem. The range after it is the 95 "
        "% interval: other problems of the same kind would give a mean in there 19 times of 20. Two models whose "
        "ranges overlap widely may be equally good."
    ),
    "cons@*": (
        "Consensus: sample several answers, let them vote, take the most frequent. Far above pass@1 means that the "
        "model often knows the answer but does not reach it every time, which is what reinforcement learning can fix."
    ),
    "pass@*": (
        "Chance that at least one of several answers is right: what the model can reach at all. Reinforcement "
        "learning mostly moves pass@1 up towards it; where it is 0, no reward is ever earned and nothing can be "
        "learnt."
    ),
    "format_rate": "Share of answers that keep to the demanded form, <think>...</think><answer>...</answer>.",
    "readable": (
        "Share of answers that can be read with pleasure: not cut off, no running in circles, one language, no "
        "overlong paragraph, no code in the thought. The same filters choose what the second SFT learns from."
    ),
    "language": (
        "Language consistency: the share of a thought's words that are in the language of the question. Answers "
        "without a thought do not count."
    ),
    "mean_tokens": "Mean length of an answer in tokens.",
    "truncated": (
        "Share of answers that were cut off by the length limit. They count as wrong: above a few per cent, raise "
        "max_completion_length."
    ),
    # Along an RL stage.
    "eval/*/pass@1": (
        "Share of right answers to held-out problems, which are never trained on. This is the curve that matters: "
        "when the reward rises and this does not, the model is learning the training problems by heart."
    ),
    "eval/*/cons@*": (
        "The same problems answered by majority vote. The gap to pass@1 closes as the model becomes consistent."
    ),
    "eval/*/pass@*": "Chance that at least one of several answers to a held-out problem is right.",
    "eval/*/format_rate": (
        "Share of held-out answers in the demanded form. The form is easy and is usually learnt first."
    ),
    "eval/*/mean_tokens": "Mean length of the answers to held-out problems, in tokens.",
    "eval/*/truncated": "Share of held-out answers that were cut off by the length limit.",
    "reward": (
        "Mean total reward of the step's completions: what training maximises. It should rise and flatten. Flat from "
        "the start: see whether any reward part is ever above 0 and whether the groups have variance. A sudden fall: "
        "lower learning_rate."
    ),
    "reward_std": (
        "Spread of the rewards within a group of answers to the same question. GRPO learns from these differences "
        "alone; near 0 there is nothing left to learn from these problems."
    ),
    "rewards/*/mean": (
        "Mean of one part of the reward before it is weighted. A part that stays at 0 teaches nothing: look at some "
        "completions below and check that the verifier reads the answers."
    ),
    "completions/mean_length": (
        "Mean length of a completion in tokens. Nobody asks for longer answers: in R1-Zero they grow because thinking "
        "longer earns more reward. A tiny model on short sums need not grow."
    ),
    "completions/max_length": (
        "The longest completion of the step. A flat line at the limit means that answers are cut off."
    ),
    "completions/min_length": "The shortest completion of the step.",
    "completions/clipped_ratio": (
        "Share of completions cut off by max_completion_length. They rarely earn anything, so the model is taught to "
        "be brief; above about 10 %, raise the limit or set overlong_buffer."
    ),
    "completions/reflective_words": (
        "Words per completion that look back on what was written: wait, check, mistake, verify... The paper's sign of "
        "reflection; it rises only if the base model has the habit somewhere and it pays."
    ),
    "completions/other_language": (
        "Share of the words that are not in the language of the question. R1-Zero mixes languages on its own, because "
        "nothing rewards it for not doing so; the language-consistency reward is the remedy."
    ),
    "completions/repetition": (
        "Share of the 4-grams of tokens in an answer that it has written before. Working things out repeats a little; "
        "near 1 the model runs in circles."
    ),
    "completions/ungraded": (
        "Share of the completions that could not be graded because the grader itself failed. They are not scored 0: "
        "they leave their group's statistics and the loss."
    ),
    "ungraded_reason": "Why the first of the rollout's ungraded completions could not be graded.",
    "groups": (
        "Groups of answers that this rollout's updates learn from. With dynamic_sampling, groups without variance are "
        "drawn again; fewer than prompts_per_step x steps_per_rollout means that it gave up."
    ),
    "completions/language/*": (
        "Share of the words in this language. Questions of both kinds mixing into one language, or one answer into "
        "two, is the language mixing of R1-Zero; the language-consistency reward is its remedy."
    ),
    "frac_reward_zero_std": (
        "Share of groups in which every answer earned the same, all right or all wrong: they give no gradient. It is "
        "normal that it grows as problems become easy. Above about 80 %, use harder (or easier) problems or "
        "dynamic_sampling."
    ),
    "kl": (
        "How far the policy is from the reference model (0: the same). It rises slowly while the model learns and "
        "drops where the reference is refreshed. Rising fast while the reward falls means collapse: lower "
        "learning_rate or raise beta."
    ),
    "entropy": (
        "How undecided the model is about the next token, in nats. It falls as the model becomes sure of itself. At "
        "nearly 0 all answers of a group are alike and learning stops: raise temperature or epsilon_high. Rising "
        "without end is noise: lower learning_rate."
    ),
    "clip_ratio": (
        "Share of tokens whose probability has moved by more than epsilon since they were sampled; these get no "
        "further push. It is 0 with one update per rollout, because then nothing has moved yet."
    ),
    "loss": (
        "The loss starts at 0 in GRPO, and that is normal: the advantages of a group sum to zero and the ratio is 1 "
        "until the first update. It does not measure progress; watch the reward and the held-out accuracy."
    ),
    "grad_norm": (
        "Length of the gradient before it is clipped to max_grad_norm. Single peaks are harmless; a steady climb "
        "announces trouble: lower learning_rate."
    ),
    "skipped": (
        "1 where an update was left out because the loss or its gradient was NaN or infinite; weights and optimizer "
        "stay as they were. Three in a row stop the stage."
    ),
    "micro_batch_tokens": (
        "Tokens computed at once since memory ran out; it was halved until they fitted. The gradient is the same."
    ),
    "learning_rate": "Size of the optimiser's steps, after warm-up and schedule.",
    "sampling/logp_difference_mean": (
        "Mean difference between a token's log-probability when it was sampled and when it was trained on, before any "
        "update. Both should be the same model, so this should be rounding error: about 1e-6 in float32, 1e-2 in "
        "bfloat16."
    ),
    "sampling/logp_difference_max": (
        "The largest such difference of the step. A jump means that generation and training disagree (stale weights, "
        "another precision or template), and then the gradient is not that of the policy."
    ),
    "sampling/weights_lag": (
        "Updates between the weights that wrote the completions and those that are trained: 0, or the run is stopped."
    ),
    "alerts": "What the watchdogs saw at this step; the warnings at the top of the page list it with remedies.",
    "tokens": "Completion tokens sampled so far: what the run has cost, whatever the machine.",
    "time/rollout": "Seconds spent on sampling completions; usually the largest part.",
    "time/grade": "Seconds spent on checking the answers.",
    "time/update": "Seconds spent on the gradient step.",
    "time/data": "Seconds spent on waiting for the next batch; much of it means that the data is slow to read.",
    "time/alerts": "What the watchdogs saw that read the clock.",
    "time/eval": "Seconds spent on held-out problems.",
    "time/save": "Seconds spent on checkpoints.",
    "time/step": "Seconds of the step in all. What it has beyond the phases is bookkeeping.",
    # Supervised stages.
    "pretrain:loss": (
        "Mean negative log-probability of the next token, in nats: the lower, the better the model predicts text. It "
        "falls fast, then ever more slowly; a rise that stays means that learning_rate is too high."
    ),
    "sft:loss": (
        "Mean negative log-probability of the example answers' tokens, in nats: the lower, the closer the model "
        "imitates them."
    ),
    "preference:loss": (
        "Mean -log sigmoid of how clearly the better answer wins: 0.69 when the model knows nothing, 0 when it is sure "
        "and right."
    ),
    "eval/loss": (
        "The loss on records that are never trained on. Where it rises while the loss falls, the model learns by heart: "
        "fewer epochs, or more data."
    ),
    "eval/accuracy": (
        "How often the reward model is right about pairs (or labelled answers) it never saw; 50 % is guessing. Its 95 % "
        "interval runs from eval/accuracy_low to eval/accuracy_high."
    ),
    "eval/accuracy_*": "An end of the 95 % interval of eval/accuracy: other pairs would give a value in there mostly.",
    "eval/score_*": "Mean and standard deviation of the scores of held-out answers: RL reads scores on this scale.",
    "pretrain:grad_norm": (
        "Length of the gradient before it is clipped to max_grad_norm. It is large at first and settles."
    ),
    "tokens_per_second": "Training speed. A drop means that something else uses the machine.",
}


LEGEND = {"rl": {"reward": "reward", "length": "completions/mean_length", "loss": "loss"}}
LEGEND |= {kind: {"loss": "loss"} for kind in ("pretrain", "sft", "preference")}


def legend(kind: str) -> list[str]:
    """What the terminal says about the numbers of a stage of this kind: each one's first sentence."""
    return [f"  {name}: {explain(key, kind).split('. ')[0].rstrip('.')}." for name, key in LEGEND.get(kind, {}).items()]


def explain(metric: str, kind: str = "") -> str:
    """The explanation of `metric` as logged by a stage of this kind; "" when there is none."""
    for key in (f"{kind}:{metric}", metric):
        if key in EXPLAIN:
            return EXPLAIN[key]
    return next((text for key, text in EXPLAIN.items() if "*" in key and fnmatchcase(metric, key)), "")
