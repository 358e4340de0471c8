"""The meaning of every metric, for readers who see it for the first time, and what to do when it looks wrong.

Keys are the names in metrics.jsonl and results.json. `*` matches any part of a name. A key with a stage kind, such as
`pretrain:loss`, takes precedence in stages of that kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

EVALUATION = {
    "pass@1": (
        "Probability that a single answer is correct: the mean over several samples of every problem. The range is the "
        "95 % confidence interval; if it overlaps widely with another model's, the difference may be chance."
    ),
    "cons@*": (
        "Accuracy of majority voting (consensus): the most frequent of several sampled answers counts. Far above "
        "pass@1, the model often knows the answer but does not give it every time; reinforcement learning can fix that."
    ),
    "pass@*": (
        "Probability that at least one of several sampled answers is correct: an upper bound of what the model can "
        "reach. Reinforcement learning mostly moves pass@1 towards it. If it is 0, no answer ever earns a reward, and "
        "the model cannot learn."
    ),
    "format_rate": "Share of answers in the required format, `<think>...</think><answer>...</answer>`.",
    "readable": (
        "Share of readable answers: not truncated, not repetitive, in one language, without overlong paragraphs or "
        "code in the reasoning. The same filters select the training data of the second SFT stage."
    ),
    "language": (
        "Language consistency: the share of words in the reasoning that are in the language of the question. Answers "
        "without reasoning are left out."
    ),
    "mean_tokens": "Mean length of an answer in tokens.",
    "mean_thinking_tokens": "Mean number of tokens up to the last `</think>`; all tokens of thinking that is cut off.",
    "mean_answer_tokens": "Mean number of tokens after the last `</think>`.",
    "truncated": (
        "Share of answers cut off by the length limit. They count as wrong. Above a few per cent, raise "
        "max_completion_length."
    ),
    "unparsed": "Share of answers in which the grader found none to grade. They count as wrong.",
    "prompt_*": (
        "IFEval: share of prompts with all instructions followed. Loose also accepts a reply whose first line, last "
        "line or asterisks stand in the way; strict does not."
    ),
    "instruction_*": "IFEval: share of all instructions that were followed, strict or loose as for prompts.",
    "win_rate": (
        "Share of replies to the non-reasoning prompts (general) that are preferred to R1-Zero's reply to the same "
        "prompt; a tie counts half. In the sprout worlds a rule compares both with the reference reply. A base model "
        "can score high, because it answers plainly, while R1-Zero writes every reply in the format of reasoning."
    ),
    "win_rate_base": "As `win_rate`, compared with the base model's replies.",
    "gain": "Accuracy of majority voting minus pass@1: what voting adds to a single answer.",
}
HELD_OUT = {
    "eval/*/pass@1": (
        "Share of correct answers to held-out problems, which are never trained on. This is the curve that matters: if "
        "the reward rises and this does not, the model memorises the training problems."
    ),
    "eval/*/cons@*": (
        "Accuracy of majority voting on the held-out problems. Its distance to pass@1 shrinks as the model becomes "
        "consistent."
    ),
    "eval/*/pass@*": "Probability that at least one of several answers to a held-out problem is correct.",
    "eval/*/format_rate": (
        "Share of held-out answers in the required format. The format is easy and usually learnt first."
    ),
    "eval/*/mean_tokens": "Mean length of the answers to held-out problems, in tokens.",
    "eval/*/truncated": "Share of held-out answers cut off by the length limit.",
}
REWARDS = {
    "reward": (
        "Mean total reward of the step's completions: what training maximises. It should rise, then flatten. Flat from "
        "the start: check that some reward part is above 0 and that groups have variance. A sudden fall: lower "
        "learning_rate."
    ),
    "reward_std": (
        "Standard deviation of the rewards within a group, the answers to one question. GRPO learns only from these "
        "differences; near 0, these problems teach nothing more."
    ),
    "rewards/*/mean": (
        "Mean of one part of the reward, before its weight. A part that stays at 0 teaches nothing: read some "
        "completions below and check that the verifier finds the answers."
    ),
    "frac_reward_zero_std": (
        "Share of groups in which all answers earned the same reward, all correct or all wrong; they give no gradient. "
        "It is normal that it grows as problems become easy. Above about 80 %, use harder (or easier) problems or "
        "dynamic_sampling."
    ),
    "groups": (
        "Groups of answers in this rollout. With dynamic_sampling, groups without variance are replaced by new ones; "
        "fewer than prompts_per_step x steps_per_rollout means that not enough could be found. Then groups without "
        "variance fill the last update."
    ),
}
COMPLETIONS = {
    "completions/mean_length": (
        "Mean length of a completion in tokens. No reward asks for length: in R1-Zero completions grow because longer "
        "reasoning earns more reward. A tiny model on short sums may not grow."
    ),
    "completions/max_length": (
        "Length of the longest completion of the step. A flat line at the limit means that completions are truncated."
    ),
    "completions/min_length": "Length of the shortest completion of the step.",
    "completions/clipped_ratio": (
        "Share of completions cut off by max_completion_length. They rarely earn a reward, so the model learns to be "
        "brief. Above about 10 %, raise the limit or set overlong_buffer."
    ),
    "episodes/turns": (
        "Turns of the policy per episode, where an environment answers it. At 1, it never uses the environment; at its "
        "limit, episodes are cut off."
    ),
    "episodes/environment_tokens": (
        "Tokens per episode that the environment wrote. They are read, count towards max_completion_length, and are "
        "never trained on."
    ),
    "completions/reflective_words": (
        "Words per completion that signal reflection, such as wait, check, mistake or verify, as the paper counts "
        "them. It rises only if the base model reflects sometimes and reflection earns reward."
    ),
    "completions/other_language": (
        "Share of words that are not in the language of the question. R1-Zero mixes languages because no reward "
        "discourages it; the language-consistency reward does."
    ),
    "completions/language/*": (
        "Share of words in this language. A change without a change of the questions means that the model mixes "
        "languages, as R1-Zero does; the language-consistency reward prevents it."
    ),
    "completions/repetition": (
        "Share of the 4-grams of tokens in a completion that repeat earlier ones. Some repetition is normal in worked "
        "solutions; near 1, the model writes loops."
    ),
    "completions/ungraded": (
        "Share of completions that could not be graded because the grader failed. They do not score 0: they leave "
        "their group's statistics and the loss."
    ),
    "ungraded_reason": "Why the first ungraded completion of the rollout could not be graded.",
}
UPDATE = {
    "kl": (
        "Divergence of the policy from the reference model in nats per token; 0 means equal. It rises slowly during "
        "learning and drops when the reference is refreshed. A fast rise while the reward falls is a collapse: lower "
        "learning_rate or raise beta."
    ),
    "entropy": (
        "Uncertainty of the model about the next token, in nats. It falls as the model becomes confident. Near 0, all "
        "answers of a group are equal and learning stops: raise temperature or epsilon_high. A steady rise is noise: "
        "lower learning_rate."
    ),
    "clip_ratio": (
        "Share of tokens whose probability has moved out of the clip range in the direction of their advantage; they "
        "get no further gradient. With one update per rollout it is 0, because nothing has moved yet. In cispo, all "
        "tokens whose weight is clipped; they keep their gradient."
    ),
    "dual_clip_ratio": (
        "Share of tokens with a negative advantage whose probability has grown beyond dual_clip; they get no gradient."
    ),
    "importance_capped": (
        "Share of tokens whose importance weight was lowered to importance_cap. More than a few per cent mean that the "
        "policy has moved far from the one that sampled, or that engine and learner disagree: lower steps_per_rollout "
        "or learning_rate."
    ),
    "loss": (
        "The loss starts at 0 in GRPO, and that is normal: the advantages of a group sum to zero, and the ratio is 1 "
        "until the first update. In PPO it is not 0, as advantages differ from token to token. It does not measure "
        "progress; watch the reward and the held-out accuracy."
    ),
    "grad_norm": (
        "Norm of the gradient before it is clipped to max_grad_norm. Single peaks are harmless. A steady climb often "
        "precedes divergence: lower learning_rate."
    ),
    "skipped": (
        "1 if the update was skipped because the loss or its gradient was NaN or infinite; weights and optimizer state "
        "are unchanged. Three in a row stop the stage."
    ),
    "micro_batch_tokens": (
        "Tokens in a micro-batch after memory ran out: halved until a micro-batch fits. The gradient is the same."
    ),
    "learning_rate": "Step size of the optimizer, after warm-up and schedule.",
    "sampling/logp_difference_mean": (
        "Mean difference between a token's log-probability in sampling and in training, before any update. Both use "
        "the same weights, so only rounding errors should remain: about 1e-6 in float32, 1e-2 in bfloat16."
    ),
    "sampling/logp_difference_max": (
        "The largest such difference of the step. A jump means that sampling and training disagree (old weights, "
        "another precision or template), so the gradient is not that of the policy."
    ),
    "sampling/weights_lag": (
        "Updates between the weights that sampled the completions and those that the first update on them trains: 0, "
        "or up to steps_per_rollout with rollouts_ahead. Anything above stops the run."
    ),
    "alerts": "Alerts of the watchdogs in this step. The warnings at the top of the page list them with remedies.",
    "tokens": "Completion tokens sampled so far: the cost of the run, independent of the machine.",
}
CRITIC = {
    "critic/explained_variance": (
        "How much of the variance of the returns the critic's values explain, when the rollout is new: 1 is perfect, 0 "
        "no better than a constant. It should rise above 0 within some tens of steps. Below 0, the critic misleads the "
        "policy: lower critic.learning_rate, or raise gae_lambda to 1."
    ),
    "critic/loss": (
        "Half the mean squared difference between the critic's values and the returns, in units of the reward squared. "
        "It falls as the critic learns, and rises where the policy changes faster than the critic."
    ),
    "critic/clip_ratio": (
        "Share of tokens whose value has moved by more than epsilon since the rollout was new. With one update per "
        "rollout it is 0. Above about 20 %, lower critic.learning_rate or steps_per_rollout."
    ),
    "critic/grad_norm": "Norm of the critic's gradient before it is clipped to critic.max_grad_norm.",
    "critic/learning_rate": "Step size of the critic's optimizer, after warm-up and schedule.",
}
TIME = {
    "time/rollout": (
        "Seconds of sampling completions, usually the largest part of a step. With rollouts_ahead, only those that the "
        "update waits for."
    ),
    "time/grade": (
        "Seconds that the update waits for grades after the last completion was sampled. What is graded meanwhile does "
        "not count."
    ),
    "time/reward_models": "Seconds of reward models; part of time/grade.",
    "time/overlapped/*": (
        "Seconds of sampling and grading beside the updates on the rollout before (rollouts_ahead). They cost no time, "
        "except where both need the same cores."
    ),
    "time/update": "Seconds of the gradient update, with the reference model, and in PPO of the critic's.",
    "time/values": "Seconds in which the critic of PPO values a new rollout.",
    "time/reference": "Seconds of the reference model's forward passes; part of time/update.",
    "time/data": "Seconds of waiting for the next batch. Large values mean that reading the data is slow.",
    "time/alerts": "Alerts of the watchdogs that read the clock.",
    "time/eval": "Seconds of evaluating held-out problems.",
    "time/save": "Seconds of saving checkpoints.",
    "time/step": "Seconds of the complete step. The part beyond the phases is bookkeeping.",
    "tokens_per_second": "Training speed. A drop means that another program uses the machine.",
}
SUPERVISED = {
    "pretrain:loss": (
        "Mean negative log-probability of the next token, in nats; lower is better. It falls fast, then ever more "
        "slowly. A lasting rise means that learning_rate is too high."
    ),
    "pretrain:grad_norm": "Norm of the gradient before it is clipped to max_grad_norm. It starts large, then settles.",
    "sft:loss": (
        "Mean negative log-probability of the tokens of the example answers, in nats; the lower, the closer the model "
        "imitates them."
    ),
    "preference:loss": (
        "Mean -log sigmoid of the score difference between the better and the worse answer: 0.69 for a model that "
        "guesses, near 0 for one that is confident and correct."
    ),
    "eval/loss": (
        "The loss on records that are never trained on. If it rises while the loss falls, the model memorises the "
        "training records: use fewer epochs or more data."
    ),
    "eval/accuracy": (
        "Share of held-out pairs (or labelled answers) that the reward model ranks correctly; guessing gives 50 %. Its "
        "95 % confidence interval runs from eval/accuracy_low to eval/accuracy_high."
    ),
    "eval/accuracy_*": "A bound of the 95 % confidence interval of eval/accuracy.",
    "eval/score_*": "Mean and standard deviation of the scores of held-out answers: the scale of this reward in RL.",
}
GROUPS = {
    "Evaluation results": EVALUATION,
    "Held-out problems during an RL stage": HELD_OUT,
    "Rewards": REWARDS,
    "Completions": COMPLETIONS,
    "The update": UPDATE,
    "The critic (PPO)": CRITIC,
    "Time": TIME,
    "Supervised stages": SUPERVISED,
}
EXPLANATIONS = {metric: text for group in GROUPS.values() for metric, text in group.items()}


def explain(metric: str, kind: str = "") -> str:
    """Return the explanation of a metric as logged by a stage of this kind; "" if there is none."""
    for key in (f"{kind}:{metric}", metric):
        if key in EXPLANATIONS:
            return EXPLANATIONS[key]
    return next((text for key, text in EXPLANATIONS.items() if "*" in key and fnmatchcase(metric, key)), "")


def legend(short_names: Mapping[str, str], kind: str) -> list[str]:
    """Return one line for each metric that the progress bar shows: the first sentence of its explanation.

    `short_names` maps the name in the progress bar to the metric.
    """
    return [f"  {name}: {_first_sentence(explain(metric, kind))}" for name, metric in short_names.items()]


def _first_sentence(text: str) -> str:
    return f"{text.split('. ')[0].rstrip('.')}."
