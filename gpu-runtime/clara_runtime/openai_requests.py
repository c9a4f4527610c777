"""Reading the bodies of OpenAI-style requests: what vLLM accepts, with one message per mistake.

Unknown fields are ignored, as vLLM does; those that would change the answer and are not supported are refused.
"""

from __future__ import annotations

import math
from typing import Any

from .http_errors import HttpError
from .sampling import SamplingOptions

Body = dict[str, Any]
MAX_LOGPROBS = 20


def bad(message: str, param: str | None = None) -> HttpError:
    return HttpError(400, message, param=param)


def number(body: Body, name: str, default: float, low: float, high: float, low_open: bool = False) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise bad(f"{name} must be a number, got {value!r:.60}", name)
    if value > high or value < low or (low_open and value == low):
        raise bad(f"{name} must be {'above' if low_open else 'at least'} {low:g} and at most {high:g}, got {value:g}", name)
    return float(value)


def integer(body: Body, name: str, default: int | None, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad(f"{name} must be an integer, got {value!r:.60}", name)
    if not low <= value <= high:
        raise bad(f"{name} must be between {low} and {high}, got {str(value)[:30]}", name)
    return value


def boolean(body: Body, name: str, default: bool) -> bool:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise bad(f"{name} must be true or false, got {value!r:.60}", name)
    return value


def text(body: Body, name: str, default: str | None = None) -> str:
    value = body.get(name, default)
    if not isinstance(value, str):
        raise bad(f"{name} must be a string", name)
    return value


def sampling_options(body: Body, defaults: Body, vocabulary: int, is_chat: bool) -> SamplingOptions:
    """Everything but `max_tokens`' default, which depends on the prompt. `defaults`: the model's own generation settings."""
    if integer(body, "n", 1, 1, 1_000) != 1 or integer(body, "best_of", 1, 1, 1_000) != 1:
        raise bad("n must be 1: this engine gives one answer to a request; send the request again for another", "n")
    for name in ("use_beam_search", "echo_tool_calls"):
        if body.get(name):
            raise bad(f"{name} is not supported", name)
    if (body.get("response_format") or {"type": "text"}) != {"type": "text"}:
        raise bad("response_format other than text is not supported by this engine", "response_format")
    if body.get("tools"):
        raise bad("tools are not supported by this engine", "tools")
    if is_chat:
        wanted = integer(body, "top_logprobs", 0, 0, MAX_LOGPROBS)
        logprobs = wanted if boolean(body, "logprobs", False) else None
        if wanted and logprobs is None:
            raise bad("top_logprobs needs logprobs: true", "top_logprobs")
    else:
        logprobs = integer(body, "logprobs", None, 0, MAX_LOGPROBS)
    top_k = integer(body, "top_k", defaults.get("top_k", 0), -1, 2**31)
    return SamplingOptions(
        max_tokens=_max_tokens(body) or 0,
        min_tokens=integer(body, "min_tokens", 0, 0, 2**31) or 0,
        temperature=number(body, "temperature", defaults.get("temperature", 1.0), 0, 100),
        top_p=number(body, "top_p", defaults.get("top_p", 1.0), 0, 1, low_open=True),
        top_k=max(top_k or 0, 0),
        min_p=number(body, "min_p", 0, 0, 1),
        seed=integer(body, "seed", None, -(2**63), 2**63 - 1),
        presence_penalty=number(body, "presence_penalty", 0, -2, 2),
        frequency_penalty=number(body, "frequency_penalty", 0, -2, 2),
        repetition_penalty=number(body, "repetition_penalty", defaults.get("repetition_penalty", 1.0), 0, 100, low_open=True),
        logit_bias=_logit_bias(body, vocabulary),
        stop=_stop(body),
        stop_token_ids=frozenset(_token_ids(body.get("stop_token_ids") or [], vocabulary, "stop_token_ids")),
        include_stop_str_in_output=boolean(body, "include_stop_str_in_output", False),
        ignore_eos=boolean(body, "ignore_eos", False),
        skip_special_tokens=boolean(body, "skip_special_tokens", True),
        logprobs=logprobs,
        prompt_logprobs=integer(body, "prompt_logprobs", None, 0, MAX_LOGPROBS),
    )


def _max_tokens(body: Body) -> int | None:
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    return integer(body, name, None, 1, 2**31)


def _stop(body: Body) -> tuple[str, ...]:
    value = body.get("stop")
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise bad("stop must be a string or a list of strings", "stop")
    if len(stops) > 16 or any(len(stop) > 1_000 for stop in stops):
        raise bad("stop takes at most 16 strings of at most 1000 characters", "stop")
    if not all(stops):
        raise bad("stop must not contain an empty string", "stop")
    return tuple(stops)


def _logit_bias(body: Body, vocabulary: int) -> dict[int, float]:
    value = body.get("logit_bias")
    if not value:
        return {}
    if not isinstance(value, dict) or len(value) > 1_024:
        raise bad("logit_bias must be an object of at most 1024 token ids", "logit_bias")
    biases: dict[int, float] = {}
    for token in value:
        if not token.isascii() or not token.isdigit() or len(token) > 9 or int(token) >= vocabulary:
            raise bad(f"logit_bias: {token[:30]!r} is not a token id of this model", "logit_bias")
        biases[int(token)] = number(value, token, 0, -100, 100)
    return biases


def _token_ids(value: Any, vocabulary: int, param: str) -> list[int]:
    if not isinstance(value, list) or not all(isinstance(token, int) and not isinstance(token, bool) for token in value):
        raise bad(f"{param} must be a list of token ids", param)
    if not all(0 <= token < vocabulary for token in value):
        raise bad(f"{param} has a token id outside the vocabulary (0 … {vocabulary - 1})", param)
    return value


def prompts(value: Any, vocabulary: int, param: str, limit: int = 256) -> list[str | list[int]]:
    """A text, a list of texts, one prompt as token ids, or a list of those."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise bad(f"{param} must be a string, a list of strings, or token ids, and not empty", param)
    if all(isinstance(item, int) for item in value):
        return [_token_ids(value, vocabulary, param)]
    if len(value) > limit:
        raise bad(f"{param} takes at most {limit} entries in one request", param)
    if all(isinstance(item, str) for item in value):
        return list(value)
    if any(not item for item in value):
        raise bad(f"{param} has an empty entry", param)
    return [_token_ids(item, vocabulary, param) for item in value]


def messages(body: Body) -> list[dict[str, str]]:
    """Chat turns with plain text content; text parts are joined by line breaks, as vLLM does."""
    value = body.get("messages")
    if not isinstance(value, list) or not value:
        raise bad("messages must be a list with at least one message", "messages")
    turns = []
    for index, message in enumerate(value):
        where = f"messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise bad(f"{where} must be an object with role and content", "messages")
        role = "system" if message["role"] == "developer" else message["role"]
        if role not in ("system", "user", "assistant"):
            raise bad(f"{where}.role {message['role'][:30]!r} is not one of system, developer, user, assistant", "messages")
        turns.append({"role": role, "content": _content(message.get("content"), where)})
    return turns


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad(f"{where}.content must be a string or a list of text parts", "messages")
    parts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise bad(f"{where}.content has a part that is not text; this engine reads text only", "messages")
        parts.append(part["text"])
    return "\n".join(parts)


def wants_usage(body: Body) -> bool:
    """`stream_options.include_usage`."""
    options = body.get("stream_options")
    if options is None:
        return False
    if not body.get("stream"):
        raise bad("stream_options needs stream: true", "stream_options")
    if not isinstance(options, dict):
        raise bad("stream_options must be an object", "stream_options")
    return boolean(options, "include_usage", False)
