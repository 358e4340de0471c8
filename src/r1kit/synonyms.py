"""Suggestions for unknown names: similar names, and what TRL, verl, OpenRLHF and the field call the same thing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

_GROUP = (
    "group_size g n n_samples num_samples samples_per_prompt n_samples_per_prompt samples_per_problem rollout_n k "
    "num_return_sequences generations n_generations num_completions completions"
)
_BATCH = (
    "batch_size train_batch_size global_batch_size per_device_train_batch_size mini_batch_size ppo_mini_batch_size "
    "num_prompts batch bs"
)
_EPOCHS = "num_train_epochs num_epochs n_epochs max_epochs total_epochs epoch"
_LENGTH = "max_length max_len"
_DATASET = "dataset datasets dataset_name train_dataset train_data train_files train_file"

# Our name -> other names, in lower case with underscores. The allowed name that comes first in a table wins.
_NAMES: Mapping[str, str] = {
    # keys of stages
    "num_generations": f"{_GROUP} samples",
    "samples": f"{_GROUP} num_generations",
    "prompts_per_step": f"{_BATCH} rollout_batch_size",
    "sequences_per_step": f"{_BATCH} records_per_step",
    "steps_per_rollout": "num_iterations steps_per_generation updates_per_rollout num_mini_batches mu ppo_epochs",
    "micro_batch_tokens": (
        "micro_batch_size micro_train_batch_size ppo_micro_batch_size ppo_micro_batch_size_per_gpu "
        "ppo_max_token_len_per_gpu max_tokens_per_gpu gradient_accumulation_steps"
    ),
    "max_completion_length": (
        f"{_LENGTH} max_tokens max_new_tokens max_response_length response_length generate_max_len max_gen_len "
        "max_completion_tokens max_output_tokens cap"
    ),
    "context_length": (
        f"{_LENGTH} max_seq_length max_seq_len seq_length seq_len sequence_length block_size cutoff_len "
        "model_max_length max_tokens"
    ),
    "learning_rate": "lr actor_lr actor_learning_rate max_lr peak_lr",
    "lr_scheduler_type": "scheduler lr_scheduler lr_schedule lr_decay_style schedule warmup_style",
    "min_lr_ratio": "min_lr min_lr_rate lr_min",
    "warmup_steps": "warmup warmup_ratio lr_warmup_steps lr_warmup_ratio num_warmup_steps lr_warmup_steps_ratio",
    "weight_decay": "wd l2",
    "adam_beta1": "beta1 adam_betas betas",
    "adam_beta2": "beta2",
    "max_grad_norm": "grad_clip clip_grad clip_grad_norm gradient_clipping max_norm grad_norm_clip",
    "beta": "kl_coef kl_coeff kl_beta kl_weight kl_loss_coef init_kl_coef kl_penalty kl kl_ctrl",
    "epsilon": "clip clip_eps clip_epsilon clip_range cliprange clip_ratio clip_ratio_low eps_clip epsilon_low eps",
    "epsilon_high": "clip_high clip_eps_high clip_ratio_high eps_clip_high cliprange_high eps_high",
    "rollouts_ahead": (
        "async_level max_async_level async_train async_rollout async_grpo one_step_off max_staleness "
        "max_staleness_steps max_trajectory_age_steps"
    ),
    "critic": "value_model critic_model value_network value_head vf critic_lr critic_learning_rate",
    "gae_lambda": "lam lambd lambda gae gae_lam lam_gae td_lambda",
    "objective": "loss loss_type algorithm algo adv_estimator advantage_estimator policy_loss estimator",
    "ref_refresh_steps": "ref_model_sync_steps sync_ref_model ref_update_steps ref_sync_steps",
    "dynamic_sampling": "filter_groups dynamic_filtering",
    "overlong_buffer": "overlong_buffer_len overlong_buffer_length soft_punish_cache",
    "mask_truncated_completions": "overlong_filtering mask_truncated mask_overlong",
    "epochs": _EPOCHS,
    "steps": (
        f"{_EPOCHS} epochs max_steps num_steps n_steps total_steps train_steps training_steps num_train_steps "
        "total_training_steps iterations num_episodes updates"
    ),
    "save_every": "save_steps save_freq save_interval checkpoint_every checkpoint_steps",
    "eval_every": "eval_steps eval_freq eval_interval test_freq",
    "best_metric": "metric_for_best_model load_best_model_at_end greater_is_better keep_best save_best best_checkpoint",
    "log_rollouts_every": "log_completions logging_steps log_every log_steps",
    "prompts": f"{_DATASET} data prompt prompt_data problems questions",
    "data": f"{_DATASET} records prompts",
    "benchmarks": "benchmark eval_dataset eval_data val_files test_files eval_prompts evals tasks",
    "model": "model_name model_name_or_path model_path base_model pretrain pretrained policy checkpoint init",
    "rewards": "reward reward_funcs reward_fn reward_function reward_functions reward_weights",
    "template": "prompt_template chat_template",
    "temperature": "temp t",
    "system_prompt": "system system_message",
    "prompt_suffix": "suffix instruction postfix",
    "stop": "stop_strings stop_sequences stop_words stop_token",
    "dual_clip": "clip_ratio_c clip_c dual_clip_loss pg_clip_c",
    "importance_cap": "tis tis_imp_ratio_cap imp_ratio_cap vllm_importance_sampling_cap truncated_importance_sampling",
    "partial_credit": "partial_reward soft_score",
    "top_p": "topp nucleus",
    "top_k": "topk",
    "kind": "type stage_type",
    "keep": "best_of",
    # keys of sources, architectures, services and the recipe
    "source": "path file url dataset",
    "limit": "max_samples num_samples max_examples n size count",
    "hidden_size": "d_model n_embd dim width",
    "intermediate_size": "ffn_hidden_size d_ff ffn_dim mlp_size",
    "num_hidden_layers": "n_layer n_layers num_layers layers depth",
    "num_attention_heads": "n_head n_heads num_heads heads",
    "num_key_value_heads": "n_kv_heads num_kv_heads kv_heads",
    "vocab_size": "n_vocab vocabulary_size",
    "base_url": "url endpoint api_base address",
    "api_key_env": "api_key",
    "dtype": "bf16 fp16 precision torch_dtype",
    "seed": "random_seed rng_seed",
    "kv_cache_tokens": "max_total_tokens token_budget kv_cache_memory_bytes gpu_memory_utilization",
    "engine": "rollout_engine rollout_backend inference_engine use_vllm vllm backend",
    "max_concurrent": "max_num_seqs vllm_max_num_seqs concurrency concurrent",
    "track": (
        "report_to trackers tracker tracking logger loggers log_with integrations use_wandb use_tensorboard wandb "
        "wandb_project tensorboard tensorboard_dir mlflow trackio"
    ),
    "reward_workers": "num_workers workers",
    "reward_timeout": "timeout",
    "stage": "stages",
    "defaults": "default",
    # kinds of stages
    "rl": "grpo ppo rlvr reinforce reinforcement_learning dapo gspo",
    "sft": "finetune fine_tune finetuning fine_tuning train distill distillation instruct supervised",
    "evaluate": "eval evaluation test benchmark",
    "curate": "rejection_sampling filter generate synthesize",
    "preference": "reward_model rm reward_modeling dpo",
    "pretrain": "pretraining pre_train pre_training lm clm",
    # rewards, worlds, verifiers
    "accuracy": "correct correctness acc exact_match right",
    "format": "tags think think_format formatting",
    "language": "lang language_consistency",
    "arithmetic": "maths math sums",
    "math": "maths mathematics arithmetic",
    "code": "programming python coding",
    "ifeval": "instructions instruction_following instruction if",
    "choice": "multiple_choice mcq mmlu options",
    "knights": "logic knights_and_knaves",
    "json": "json_schema schema",
    "held_out": "test validation val dev val_size test_size eval_split validation_split",
    "train": "training",
    # trackers
    "tensorboard": "tb tensor_board tensorboardx",
    "wandb": "weights_and_biases weights_&_biases w&b",
    # templates and objectives
    "r1-zero": "r1_zero zero base r1",
    "chat": "chatml instruct",
    "none": "raw no plain",
    "dr_grpo": "drgrpo grpo_done_right",
}
SYNONYMS: Mapping[str, frozenset[str]] = {name: frozenset(others.split()) for name, others in _NAMES.items()}


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name of which `given` is a synonym, or else the most similar one, or None."""
    names = list(allowed)
    similar = difflib.get_close_matches(given, names, n=1)
    return synonym_of(given, names) or (similar[0] if similar else None)


def synonym_of(given: str, allowed: list[str]) -> str | None:
    """Return the allowed name that `given` is another name of, in upper or lower case; None if there is none."""
    plain = _plain(given)
    same = (name for name in allowed if _plain(name) == plain)
    return next(same, None) or next((name for name in allowed if plain in SYNONYMS.get(name, ())), None)


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")
