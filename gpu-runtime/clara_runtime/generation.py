"""One request on its way through the engine: submitted on the event loop, advanced on the engine's thread, read on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import torch

from .adapters import LoadedAdapter
from .detokenizer import Detokenizer
from .sampling import SamplingOptions, TokenLogprob, adjust_logits, draw, token_logprob

CONTEXT_TOKENS = 6
"""Prompt tokens that the detokenizer sees, so that the first generated token is decoded in its place."""


@dataclass(frozen=True)
class Piece:
    """What one step gave one request."""

    text: str
    token_ids: list[int]
    logprobs: list[TokenLogprob] | None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    prompt_logprobs: list[TokenLogprob | None] | None = None


@dataclass(eq=False)
class Generation:
    """One request inside the engine. Iterate over `pieces()`; `cancel()` frees its row at the next step."""

    prompt_ids: list[int]
    options: SamplingOptions
    adapter: LoadedAdapter | None
    loop: asyncio.AbstractEventLoop
    model_name: str
    tokenizer: Any
    eos_ids: frozenset[int]
    events: asyncio.Queue[Piece | Exception | None] = field(default_factory=asyncio.Queue)
    cancelled: bool = False
    output_ids: list[int] = field(default_factory=list)
    detokenizer: Detokenizer | None = None
    generator: Any = None
    prompt_logprobs: list[TokenLogprob | None] | None = None

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yields pieces until one has a finish reason, or the request is cancelled."""
        while True:
            event = await self.events.get()
            if event is None:
                return
            if isinstance(event, Exception):
                raise event
            yield event
            if event.finish_reason is not None:
                return

    def cancel(self) -> None:
        """Frees the row at the next step and ends `pieces()`; call it on the event loop."""
        if not self.cancelled:
            self.cancelled = True
            self.events.put_nowait(None)

    def decode_prompt(self) -> str:
        return self.tokenizer.decode(self.prompt_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    # ------------------------------------------------------------------ the engine's thread

    @property
    def key(self) -> str | None:
        return self.adapter.key if self.adapter else None

    def begin(self, device: Any) -> None:
        """Makes ready for the first token."""
        options = self.options
        self.detokenizer = Detokenizer(
            self.tokenizer,
            self.prompt_ids[-CONTEXT_TOKENS:],
            options.stop,
            options.include_stop_str_in_output,
            options.skip_special_tokens,
        )
        if options.temperature > 0:
            self.generator = torch.Generator(device)
            if options.seed is None:
                self.generator.seed()
            else:
                self.generator.manual_seed(options.seed)

    def advance(self, logits: torch.Tensor, likeliest: int) -> Piece:
        """Chooses the next token from a vector of logits, whose largest entry the caller knows already."""
        options = self.options
        blocked = self.eos_ids | options.stop_token_ids if len(self.output_ids) < options.min_tokens else frozenset()
        token = likeliest
        if options.temperature > 0 or options.changes_logits or blocked:
            token = draw(adjust_logits(logits.float(), options, self.prompt_ids, self.output_ids, blocked), options, self.generator)
        logprobs = None
        if options.logprobs is not None:
            logprobs = [token_logprob(logits.float().log_softmax(-1), token, options.logprobs)]
        self.output_ids.append(token)
        text, finish, stop_reason = self._decode(token)
        prompt_logprobs, self.prompt_logprobs = self.prompt_logprobs, None
        return Piece(text, [token], logprobs, finish, stop_reason, prompt_logprobs)

    def _decode(self, token: int) -> tuple[str, str | None, str | int | None]:
        """The text that is now certain, and why the answer ends, if it does."""
        options, detokenizer = self.options, self.detokenizer
        assert detokenizer is not None
        if token in options.stop_token_ids:
            return detokenizer.finish(), "stop", token
        if token in self.eos_ids and not options.ignore_eos:
            text = "" if options.skip_special_tokens else detokenizer.push(token)
            return text + detokenizer.finish(), "stop", None
        text, finish = detokenizer.push(token), None
        if detokenizer.stopped_by is None and len(self.output_ids) >= options.max_tokens:
            text, finish = text + detokenizer.finish(), "length"
        # Also what the end released may hold a stop string.
        if detokenizer.stopped_by is not None:
            return text, "stop", detokenizer.stopped_by
        return text, finish, None

    def take_prompt_logprobs(self, logits: torch.Tensor) -> None:
        """Reads the prompt's own log-probabilities out of its logits; the first token has none."""
        count = self.options.prompt_logprobs or 0
        entries: list[TokenLogprob | None] = [None]
        for position, token in enumerate(self.prompt_ids[1:]):
            entries.append(token_logprob(logits[position].float().log_softmax(-1), token, count))
        self.prompt_logprobs = entries


def post(items: list[tuple[Generation, Piece | Exception]]) -> None:
    """Hands events of the engine's thread over to the event loops that wait for them."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[Generation, Piece | Exception]]] = {}
    for generation, event in items:
        loops.setdefault(generation.loop, []).append((generation, event))
    for loop, events in loops.items():
        try:
            loop.call_soon_threadsafe(_deliver, events)
        except RuntimeError:
            continue  # the server's loop has ended, nobody listens


def _deliver(events: list[tuple[Generation, Piece | Exception]]) -> None:
    for generation, event in events:
        generation.events.put_nowait(event)
