"""A fingerprint of what an adapter says: proof, on any engine, that what is served is what was trained.

Greedy answers to a few prompts with the log-probability of each generated token. An engine that serves the same weights gives
the same figures (vLLM on a CPU: within 0.0001 nats); one that serves the base or another adapter differs by whole nats.

    {"prompts": [{"messages": [...], "output": "...", "token_ids": [...], "logprobs": [...]}]}
"""

from __future__ import annotations

from .chat import ChatCodec

PROMPTS = 8
MAX_NEW_TOKENS = 24


def record(model, codec: ChatCodec, rows: list[dict], *, batch_size: int = 8) -> dict:
    """Fingerprint of the model as its adapters are set, on evenly spaced rows' conversations."""
    import torch

    from .scoring import continue_greedily

    step = max(1, len(rows) // PROMPTS)
    conversations = [row["messages"] for row in rows[::step][:PROMPTS]]
    prompts = codec.prompts(conversations)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            answers = continue_greedily(model, codec, prompts, [[] for _ in prompts], MAX_NEW_TOKENS, batch_size)
            entries = [
                {"messages": messages, "output": codec.decode(answer), "token_ids": answer, "logprobs": log_probs(model, prompt, answer)}
                for messages, prompt, answer in zip(conversations, prompts, answers)
            ]
    finally:
        model.train(was_training)
    return {"prompts": entries}


def log_probs(model, prompt: list[int], answer: list[int]) -> list[float]:
    """Log-probability (nats) of each answer token given what comes before it."""
    import torch

    ids = torch.tensor([prompt + answer], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    chosen = torch.log_softmax(logits, dim=-1).gather(-1, ids[0, len(prompt) :, None].to(logits.device))
    return [round(value, 6) for value in chosen.squeeze(-1).tolist()]


def largest_difference(one: dict, two: dict) -> float:
    """Largest difference in nats between two fingerprints of the same prompts; infinite where the tokens differ."""
    worst = 0.0
    for mine, theirs in zip(one["prompts"], two["prompts"], strict=True):
        if mine["token_ids"] != theirs["token_ids"]:
            return float("inf")
        worst = max(worst, max((abs(a - b) for a, b in zip(mine["logprobs"], theirs["logprobs"], strict=True)), default=0.0))
    return worst
