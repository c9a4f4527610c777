"""The bodies of OpenAI-style answers, in vLLM's form."""

from __future__ import annotations

import json
from typing import Any

from .sampling import TokenLogprob


class TokenNames:
    """Tokens as text, decoded one by one (and remembered: there are as many as the vocabulary has entries)."""

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        self._names: dict[int, str] = {}

    def __getitem__(self, token_id: int) -> str:
        name = self._names.get(token_id)
        if name is None:
            name = self._names[token_id] = self._tokenizer.decode([token_id], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return name


def sse(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


SSE_DONE = b"data: [DONE]\n\n"


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": prompt_tokens + completion_tokens}


def chat_logprobs(entries: list[TokenLogprob], names: TokenNames, as_ids: bool) -> dict[str, Any]:
    def entry(token_id: int, logprob: float) -> dict[str, Any]:
        name = names[token_id]
        return {"token": f"token_id:{token_id}" if as_ids else name, "logprob": _finite(logprob), "bytes": list(name.encode())}

    content = []
    for item in entries:
        content.append({**entry(item.token_id, item.logprob), "top_logprobs": [entry(token, value) for token, value in item.top]})
    return {"content": content}


def completion_logprobs(
    entries: list[TokenLogprob | None], token_ids: list[int], names: TokenNames, offset: int, as_ids: bool
) -> dict[str, Any]:
    """`entries` may begin with None: the first token of an echoed prompt has no probability."""
    tokens, values, tops, offsets = [], [], [], []

    def label(token_id: int) -> str:
        return f"token_id:{token_id}" if as_ids else names[token_id]

    for token_id, item in zip(token_ids, entries, strict=True):
        tokens.append(label(token_id))
        offsets.append(offset)
        offset += len(names[token_id])
        if item is None:
            values.append(None)
            tops.append(None)
            continue
        values.append(_finite(item.logprob))
        tops.append({label(token): _finite(value) for token, value in [(item.token_id, item.logprob), *item.top]})
    return {"text_offset": offsets, "token_logprobs": values, "tokens": tokens, "top_logprobs": tops}


def prompt_logprobs(entries: list[TokenLogprob | None], names: TokenNames) -> list[dict[str, Any] | None]:
    """vLLM's `prompt_logprobs`: per prompt token, an object by token id."""
    result: list[dict[str, Any] | None] = []
    for item in entries:
        if item is None:
            result.append(None)
            continue
        ranked = {token: (value, rank) for rank, (token, value) in enumerate(item.top, start=1)}
        ranked[item.token_id] = (item.logprob, item.rank)
        result.append(
            {
                str(token): {"logprob": _finite(value), "rank": rank, "decoded_token": names[token]}
                for token, (value, rank) in ranked.items()
            }
        )
    return result


def _finite(value: float) -> float:
    # JSON has no -inf; vLLM writes the same floor.
    return max(value, -9999.0)
