"""One answer to a generation request, whole or as server-sent events; the client's going away frees its rows at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from . import openai_format as form
from .errors import fault_of
from .http_errors import HttpError, http_error


@dataclass(eq=False)
class Choice:
    """One prompt of the request and its generation."""

    index: int
    prompt_ids: list[int]
    generation: Any


@dataclass(frozen=True)
class AnswerStyle:
    """What the client asked to see."""

    request_id: str
    model: str
    is_chat: bool
    stream: bool
    include_usage: bool
    echo: bool
    as_ids: bool
    with_ids: bool
    wants_logprobs: bool
    wants_prompt_logprobs: bool


class GenerationResponse(Response):
    """An ASGI response that listens for the client's disconnect while the engine works."""

    def __init__(self, choices: list[Choice], style: AnswerStyle, names: form.TokenNames, metrics: Any):
        super().__init__()
        self._choices = choices
        self._style = style
        self._names = names
        self._metrics = metrics
        self._created = int(time.time())
        self._started = time.perf_counter()
        self._gone = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watcher = asyncio.create_task(self._watch(receive))
        outcome = "error"
        try:
            await (self._stream(send) if self._style.stream else self._whole(scope, receive, send))
            outcome = "ok"
        except HttpError as error:
            outcome = "refused" if error.status < 500 else "error"
            await error.response()(scope, receive, send)
        except asyncio.CancelledError:
            outcome = "aborted"
            if not self._gone:
                raise
        finally:
            watcher.cancel()
            for choice in self._choices:
                choice.generation.cancel()
            self._count("aborted" if self._gone else outcome)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue
        self._gone = True
        for choice in self._choices:
            choice.generation.cancel()

    def _count(self, outcome: str) -> None:
        metrics, model = self._metrics, self._style.model
        metrics.requests_total.labels(model, outcome).inc()
        metrics.prompt_tokens.labels(model).inc(sum(len(choice.prompt_ids) for choice in self._choices))
        metrics.request_seconds.observe(time.perf_counter() - self._started)

    async def _pieces(self) -> AsyncIterator[tuple[Choice, Any]]:
        """The pieces of all choices as they come; raises HttpError for a fault of the engine."""
        if len(self._choices) == 1:
            async for piece in self._checked(self._choices[0]):
                yield self._choices[0], piece
            return
        merged: asyncio.Queue[Any] = asyncio.Queue()

        async def pump(choice: Choice) -> None:
            try:
                async for piece in self._checked(choice):
                    merged.put_nowait((choice, piece))
            except HttpError as error:
                merged.put_nowait(error)
            merged.put_nowait(None)

        tasks = [asyncio.create_task(pump(choice)) for choice in self._choices]
        try:
            running = len(tasks)
            while running:
                item = await merged.get()
                if isinstance(item, HttpError):
                    raise item
                if item is None:
                    running -= 1
                else:
                    yield item
        finally:
            for task in tasks:
                task.cancel()

    async def _checked(self, choice: Choice) -> AsyncIterator[Any]:
        try:
            async for piece in choice.generation.pieces():
                yield piece
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise http_error(fault_of(error)) from error

    # ------------------------------------------------------------------ whole

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = {choice.index: _Parts() for choice in self._choices}
        async for choice, piece in self._pieces():
            if not parts[choice.index].token_ids:
                self._metrics.first_token_seconds.observe(time.perf_counter() - self._started)
            parts[choice.index].add(piece)
        if self._gone:
            return
        choices = [self._choice(choice, parts[choice.index]) for choice in self._choices]
        body = {
            "id": self._style.request_id,
            "object": "chat.completion" if self._style.is_chat else "text_completion",
            "created": self._created,
            "model": self._style.model,
            "choices": choices,
            "usage": self._usage(sum(len(part.token_ids) for part in parts.values())),
        }
        if self._style.is_chat:
            first = parts[0]
            body["prompt_logprobs"] = self._prompt_logprobs(first)
            body["prompt_token_ids"] = self._choices[0].prompt_ids if self._style.with_ids else None
        await JSONResponse(body)(scope, receive, send)

    def _choice(self, choice: Choice, parts: _Parts) -> dict[str, Any]:
        style = self._style
        result: dict[str, Any] = {"index": choice.index}
        if style.is_chat:
            result["message"] = {"role": "assistant", "content": parts.text}
            result["logprobs"] = form.chat_logprobs(parts.logprobs, self._names, style.as_ids) if style.wants_logprobs else None
        else:
            result["text"] = self._echo(choice) + parts.text
            result["logprobs"] = self._completion_logprobs(choice, parts)
            result["prompt_logprobs"] = self._prompt_logprobs(parts)
        result["finish_reason"] = parts.finish_reason
        result["stop_reason"] = parts.stop_reason
        if style.with_ids:
            result["token_ids"] = parts.token_ids
            if not style.is_chat:
                result["prompt_token_ids"] = choice.prompt_ids
        return result

    def _echo(self, choice: Choice) -> str:
        if not self._style.echo:
            return ""
        return choice.generation.decode_prompt()

    def _completion_logprobs(self, choice: Choice, parts: _Parts, offset: int = 0, with_prompt: bool = True) -> dict[str, Any] | None:
        if not self._style.wants_logprobs:
            return None
        entries: list[Any] = list(parts.logprobs)
        token_ids = list(parts.token_ids)
        if self._style.echo and with_prompt:
            entries, token_ids = (parts.prompt_logprobs or []) + entries, choice.prompt_ids + token_ids
        return form.completion_logprobs(entries, token_ids, self._names, offset, self._style.as_ids)

    def _prompt_logprobs(self, parts: _Parts) -> list[Any] | None:
        if not self._style.wants_prompt_logprobs or parts.prompt_logprobs is None:
            return None
        return form.prompt_logprobs(parts.prompt_logprobs, self._names)

    def _usage(self, completion_tokens: int) -> dict[str, Any]:
        return form.usage(sum(len(choice.prompt_ids) for choice in self._choices), completion_tokens)

    # ------------------------------------------------------------------ streamed

    async def _stream(self, send: Send) -> None:
        """Sends the head only with the first piece, so that a fault before it is still an HTTP error."""
        total = 0
        offsets = {choice.index: 0 for choice in self._choices}
        pending = {choice.index: _Parts() for choice in self._choices}
        fresh = {choice.index for choice in self._choices}
        has_head = False
        try:
            async for choice, piece in self._pieces():
                out = b""
                if not has_head:
                    self._metrics.first_token_seconds.observe(time.perf_counter() - self._started)
                    headers = [
                        (b"content-type", b"text/event-stream; charset=utf-8"),
                        (b"cache-control", b"no-cache"),
                        (b"x-accel-buffering", b"no"),
                    ]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    has_head = True
                is_first = choice.index in fresh
                if is_first:
                    fresh.discard(choice.index)
                    out += self._opening(choice, piece)
                    offsets[choice.index] = len(self._echo(choice))
                total += len(piece.token_ids)
                parts = pending[choice.index]
                parts.add(piece)
                if parts.text or piece.finish_reason is not None:
                    out += self._chunk(choice, parts, offsets[choice.index])
                    offsets[choice.index] += len(parts.text)
                    pending[choice.index] = _Parts()
                if out:
                    await send({"type": "http.response.body", "body": out, "more_body": True})
        except HttpError as error:
            if not has_head:
                raise
            await send({"type": "http.response.body", "body": form.sse({"error": error.error}) + form.SSE_DONE, "more_body": False})
            return
        if self._gone:
            return
        tail = b""
        if self._style.include_usage:
            tail += form.sse({**self._frame(), "choices": [], "usage": self._usage(total)})
        await send({"type": "http.response.body", "body": tail + form.SSE_DONE, "more_body": False})

    def _frame(self) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self._style.is_chat else "text_completion"
        frame: dict[str, Any] = {"id": self._style.request_id, "object": kind, "created": self._created, "model": self._style.model}
        if self._style.include_usage:
            frame["usage"] = None
        return frame

    def _opening(self, choice: Choice, piece: Any) -> bytes:
        """Chat: the role. Completions: the echoed prompt, where that was asked for."""
        if self._style.is_chat:
            first: dict[str, Any] = {
                "index": choice.index,
                "delta": {"role": "assistant", "content": ""},
                "logprobs": None,
                "finish_reason": None,
            }
            frame = {**self._frame(), "choices": [first]}
            if self._style.with_ids:
                frame["prompt_token_ids"] = choice.prompt_ids
            return form.sse(frame)
        if not self._style.echo:
            return b""
        logprobs = None
        if self._style.wants_logprobs:
            logprobs = form.completion_logprobs(piece.prompt_logprobs or [], choice.prompt_ids, self._names, 0, self._style.as_ids)
        entry = {"index": choice.index, "text": self._echo(choice), "logprobs": logprobs, "finish_reason": None, "stop_reason": None}
        return form.sse({**self._frame(), "choices": [entry]})

    def _chunk(self, choice: Choice, parts: _Parts, offset: int) -> bytes:
        entry: dict[str, Any] = {"index": choice.index}
        if self._style.is_chat:
            entry["delta"] = {"content": parts.text}
            entry["logprobs"] = form.chat_logprobs(parts.logprobs, self._names, self._style.as_ids) if self._style.wants_logprobs else None
        else:
            entry["text"] = parts.text
            entry["logprobs"] = self._completion_logprobs(choice, parts, offset, with_prompt=False)
        entry["finish_reason"] = parts.finish_reason
        if parts.finish_reason is not None or not self._style.is_chat:
            entry["stop_reason"] = parts.stop_reason
        if self._style.with_ids:
            entry["token_ids"] = parts.token_ids
        return form.sse({**self._frame(), "choices": [entry]})


class _Parts:
    """Pieces put together."""

    def __init__(self) -> None:
        self.text = ""
        self.token_ids: list[int] = []
        self.logprobs: list[Any] = []
        self.prompt_logprobs: list[Any] | None = None
        self.finish_reason: str | None = None
        self.stop_reason: str | int | None = None

    def add(self, piece: Any) -> None:
        self.text += piece.text
        self.token_ids += piece.token_ids
        self.logprobs += piece.logprobs or []
        self.prompt_logprobs = piece.prompt_logprobs or self.prompt_logprobs
        self.finish_reason = piece.finish_reason
        self.stop_reason = piece.stop_reason
