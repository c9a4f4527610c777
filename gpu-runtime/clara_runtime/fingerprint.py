"""A fingerprint of what an adapter says: proof, on any engine, that what is served is what was trained.

Greedy answers to a few prompts with the log-probability of each generated token, and the base's own answers to the same prompts.
An engine that serves the same weights gives the same figures (vLLM on a CPU: within 0.0001 nats); one that serves the base or
another adapter differs by whole nats. The base's answers tell how far the engine's arithmetic is from the trainer's.

    {"prompts": [{"messages": [...], "answer": {"text", "token_ids", "logprobs"}, "base": {…}, "shift": 1.9}]}
"""

from __future__ import annotations

from .chat import ChatCodec

PROMPTS = 8
CANDIDATES = 24
MAX_NEW_TOKENS = 24


def record(model, codec: ChatCodec, rows: list[dict], *, batch_size: int = 8) -> dict:
    """Fingerprint of a PEFT model as its adapters are set: of evenly spaced rows' conversations, those that the adapter changes most."""
    import torch

    step = max(1, len(rows) // CANDIDATES)
    conversations = _distinct([row["messages"] for row in rows[::step][:CANDIDATES]])
    prompts = codec.prompts(conversations)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            answers = _answers(model, codec, prompts, batch_size)
            with model.disable_adapter():
                shifts = [_mean_difference(answer["logprobs"], log_probs(model, prompt, answer["token_ids"])) for prompt, answer in zip(prompts, answers)]
                chosen = sorted(sorted(range(len(prompts)), key=lambda at: -shifts[at])[:PROMPTS])
                base = _answers(model, codec, [prompts[at] for at in chosen], batch_size)
    finally:
        model.train(was_training)
    return {
        "prompts": [
            {"messages": conversations[at], "answer": answers[at], "base": base_answer, "shift": round(shifts[at], 6)}
            for at, base_answer in zip(chosen, base)
        ]
    }


def log_probs(model, prompt: list[int], answer: list[int]) -> list[float]:
    """Log-probability (nats) of each answer token given what comes before it."""
    import torch

    ids = torch.tensor([prompt + answer], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    chosen = torch.log_softmax(logits, dim=-1).gather(-1, ids[0, len(prompt) :, None].to(logits.device))
    return [round(value, 6) for value in chosen.squeeze(-1).tolist()]


def _answers(model, codec: ChatCodec, prompts: list[list[int]], batch_size: int) -> list[dict]:
    from .scoring import continue_greedily

    answers = continue_greedily(model, codec, prompts, [[] for _ in prompts], MAX_NEW_TOKENS, batch_size)
    return [
        {"text": codec.decode(answer), "token_ids": answer, "logprobs": log_probs(model, prompt, answer)}
        for prompt, answer in zip(prompts, answers)
    ]


def _mean_difference(one: list[float], two: list[float]) -> float:
    return sum(abs(a - b) for a, b in zip(one, two, strict=True)) / max(1, len(one))


def _distinct(conversations: list[list[dict]]) -> list[list[dict]]:
    found: dict[str, list[dict]] = {}
    for conversation in conversations:
        found.setdefault(repr(conversation), conversation)
    return list(found.values())
