"""Choosing the next token of one sequence, and the log-probabilities that go with it.

Log-probabilities are those of the model's own distribution, before temperature, penalties and cuts, as in vLLM.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SamplingOptions:
    """How one sequence is generated. The defaults are vLLM's."""

    max_tokens: int = 16
    min_tokens: int = 0
    temperature: float = 1.0
    """0 = greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 = no cut."""
    min_p: float = 0.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: dict[int, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    logprobs: int | None = None
    """Alternatives reported beside each generated token; None = no log-probabilities at all."""
    prompt_logprobs: int | None = None

    @property
    def changes_logits(self) -> bool:
        return self.presence_penalty != 0 or self.frequency_penalty != 0 or self.repetition_penalty != 1 or bool(self.logit_bias)


@dataclass(frozen=True)
class TokenLogprob:
    """A token with its log-probability (nats), its rank (1 = likeliest) and the likeliest alternatives."""

    token_id: int
    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...]


def adjust_logits(logits: Any, options: SamplingOptions, prompt_ids: list[int], output_ids: list[int], blocked: frozenset[int]) -> Any:
    """Penalties and biases of one row (a float32 vector), as vLLM and OpenAI define them."""
    import torch

    if not options.changes_logits and not blocked:
        return logits
    logits = logits.clone()
    if options.repetition_penalty != 1:
        seen = torch.tensor(sorted(set(prompt_ids) | set(output_ids)), device=logits.device)
        values = logits[seen]
        logits[seen] = torch.where(values > 0, values / options.repetition_penalty, values * options.repetition_penalty)
    if output_ids and (options.presence_penalty or options.frequency_penalty):
        tokens, counts = torch.tensor(output_ids, device=logits.device).unique(return_counts=True)
        logits[tokens] -= options.frequency_penalty * counts + options.presence_penalty
    for token, bias in options.logit_bias.items():
        logits[token] += bias
    if blocked:
        logits[list(blocked)] = float("-inf")
    return logits


def draw(logits: Any, options: SamplingOptions, generator: Any) -> int:
    """Draws one token from a float32 vector of logits."""
    import torch

    if options.temperature == 0:
        return int(logits.argmax())
    scaled = logits / options.temperature
    if options.top_k:
        kth = scaled.topk(min(options.top_k, scaled.numel())).values[-1]
        scaled = scaled.masked_fill(scaled < kth, float("-inf"))
    if options.min_p:
        probabilities = scaled.softmax(-1)
        scaled = scaled.masked_fill(probabilities < options.min_p * probabilities.max(), float("-inf"))
    if options.top_p < 1:
        ordered, index = scaled.softmax(-1).sort(descending=True)
        # The first token beyond the mass stays in: the set is the smallest one that reaches top_p.
        outside = (ordered.cumsum(-1) - ordered) >= options.top_p
        scaled = scaled.masked_fill(torch.zeros_like(outside).scatter(0, index, outside), float("-inf"))
    return int(torch.multinomial(scaled.softmax(-1), 1, generator=generator))


def token_logprob(log_probabilities: Any, token_id: int, count: int) -> TokenLogprob:
    """Reads one token's entry out of a vector of log-probabilities."""
    value = log_probabilities[token_id]
    rank = int((log_probabilities > value).sum()) + 1
    top: tuple[tuple[int, float], ...] = ()
    if count:
        values, ids = log_probabilities.topk(min(count, log_probabilities.numel()))
        top = tuple(zip(ids.tolist(), values.tolist(), strict=True))
    return TokenLogprob(token_id, float(value), rank, top)
