"""Turns a growing list of tokens into text: never half a UTF-8 character, never half a stop string."""

from __future__ import annotations

from typing import Any


class Detokenizer:
    """Incremental decoder of one sequence.

    Tokens are decoded from a sliding window, because a tokenizer's decoding of a token depends on its neighbours. Text that
    ends in U+FFFD is an unfinished character and is held back, as is text that may be the beginning of a stop string.
    """

    def __init__(
        self,
        tokenizer: Any,
        context: list[int],
        stop: tuple[str, ...] = (),
        include_stop: bool = False,
        skip_special_tokens: bool = True,
    ):
        """`context`: the last tokens before the first one that is pushed; they are not part of the text."""
        self._tokenizer = tokenizer
        self._stop = stop
        self._include_stop = include_stop
        self._skip_special = skip_special_tokens
        self._ids: list[int] = list(context)
        self._window_start = 0
        self._decoded_to = len(context)
        self._pending = ""
        self.stopped_by: str | None = None

    def push(self, token_id: int) -> str:
        """Adds a token and returns the text that is now certain."""
        self._ids.append(token_id)
        known = self._decode(self._window_start, self._decoded_to)
        text = self._decode(self._window_start, len(self._ids))
        if text.endswith("\ufffd") or len(text) <= len(known):
            return ""
        self._window_start = self._decoded_to
        self._decoded_to = len(self._ids)
        return self._release(text[len(known) :])

    def finish(self) -> str:
        """Returns what was held back; call once, after the last token."""
        known = self._decode(self._window_start, self._decoded_to)
        rest = self._decode(self._window_start, len(self._ids))[len(known) :]
        text = self._release(rest) if rest and self.stopped_by is None else ""
        if self.stopped_by is not None:
            return text
        text, self._pending = text + self._pending, ""
        return text

    def _decode(self, start: int, end: int) -> str:
        if start == end:
            return ""
        return self._tokenizer.decode(self._ids[start:end], skip_special_tokens=self._skip_special, clean_up_tokenization_spaces=False)

    def _release(self, new: str) -> str:
        if not self._stop:
            return new
        text = self._pending + new
        hits = [(text.find(stop), stop) for stop in self._stop]
        hits = [hit for hit in hits if hit[0] >= 0]
        if hits:
            at, self.stopped_by = min(hits)
            self._pending = ""
            return text[: at + len(self.stopped_by)] if self._include_stop else text[:at]
        held = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._pending = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0
