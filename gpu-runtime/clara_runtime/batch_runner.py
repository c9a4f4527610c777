"""The engine's thread: one running batch that requests join and leave between tokens, whatever adapters they use.

Each turn it obeys commands (load, unload, embed), drops cancelled rows, admits waiting requests (one left-padded prefill), and
generates one token for every row.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import torch

from .adapters import AdapterPool
from .errors import RuntimeFault, fault_of
from .generation import Generation, Piece, post
from .kv_batch import KeyValueBatch


class BatchRunner:
    """Owns the model; other threads use `enqueue`, `command`, `close` and the counts only."""

    def __init__(self, model: Any, pool: AdapterPool, pad_id: int, max_batch: int, prefill_tokens: int, metrics: Any):
        self._model = model
        self._device = model.device
        self._pool = pool
        self._pad_id = pad_id
        self._max_batch = max_batch
        self._prefill_tokens = prefill_tokens
        self._metrics = metrics
        self._waiting: deque[Generation] = deque()
        self._commands: queue.SimpleQueue[tuple[Callable[[], Any], Future]] = queue.SimpleQueue()
        self._wake = threading.Condition()
        self._running: list[Generation] = []
        self._batch = KeyValueBatch(self._device)
        self._closed = False
        self.largest_batch = 0
        self._thread = threading.Thread(target=self._run, name="clara-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._closed

    @property
    def running_count(self) -> int:
        return len(self._running)

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def enqueue(self, generation: Generation) -> None:
        with self._wake:
            self._waiting.append(generation)
            self._wake.notify()

    def command(self, action: Callable[[], Any]) -> Future:
        """Runs `action` on the thread, between two steps."""
        future: Future = Future()
        with self._wake:
            self._commands.put((action, future))
            self._wake.notify()
        return future

    def close(self) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        with torch.inference_mode():
            while not self._closed:
                with self._wake:
                    while not (self._waiting or self._running or not self._commands.empty() or self._closed):
                        self._wake.wait()
                self._obey()
                try:
                    self._drop_cancelled()
                    self._admit()
                    if self._running:
                        self._step()
                except Exception as error:  # the batch is lost, the engine is not
                    self._fail(self._running, error)
                    self._running = []
                    self._batch = KeyValueBatch(self._device)
                    _free_memory()
        self._fail(self._running + list(self._waiting), RuntimeFault("internal", "the serving engine was stopped"))

    def _obey(self) -> None:
        while True:
            try:
                action, future = self._commands.get_nowait()
            except queue.Empty:
                return
            try:
                future.set_result(action())
            except Exception as error:
                future.set_exception(error)

    def _drop_cancelled(self) -> None:
        if any(generation.cancelled for generation in self._running):
            self._keep([row for row, generation in enumerate(self._running) if not generation.cancelled])
        with self._wake:
            for generation in [generation for generation in self._waiting if generation.cancelled]:
                self._waiting.remove(generation)
                _leave(generation)

    def _keep(self, rows: list[int]) -> None:
        stay = set(rows)
        for row, generation in enumerate(self._running):
            if row not in stay:
                _leave(generation)
        self._running = [self._running[row] for row in rows]
        self._batch.keep(rows)

    def _admit(self) -> None:
        """Prefills waiting requests and lets them join the running batch."""
        newcomers = self._next_newcomers()
        if not newcomers:
            return
        batch = KeyValueBatch(self._device)
        try:
            self._pool.use([generation.key for generation in newcomers])
            inputs = batch.prefill_inputs([generation.prompt_ids for generation in newcomers], self._pad_id)
            wants_prompt = newcomers[0].options.prompt_logprobs is not None
            logits = self._model(**inputs, logits_to_keep=0 if wants_prompt else 1).logits
            if wants_prompt:
                newcomers[0].take_prompt_logprobs(logits[0])
            for generation in newcomers:
                generation.begin(self._device)
            alive = self._emit(newcomers, logits[:, -1])
        except Exception as error:
            self._fail(newcomers, error)
            _free_memory()
            return
        for row in set(range(len(newcomers))) - set(alive):
            _leave(newcomers[row])
        batch.keep(alive)
        self._batch.join(batch)
        self._running += [newcomers[row] for row in alive]

    def _next_newcomers(self) -> list[Generation]:
        """As many as there are rows and prefill tokens for; one that wants its prompt's log-probabilities comes alone."""
        newcomers: list[Generation] = []
        width = 0
        while self._waiting and len(self._running) + len(newcomers) < self._max_batch:
            width = max(width, len(self._waiting[0].prompt_ids))
            alone = self._waiting[0].options.prompt_logprobs is not None
            if newcomers and (alone or width * (len(newcomers) + 1) > self._prefill_tokens):
                break
            newcomers.append(self._waiting.popleft())
            if alone:
                break
        return newcomers

    def _step(self) -> None:
        self.largest_batch = max(self.largest_batch, len(self._running))
        if self._metrics:
            self._metrics.batch_rows.observe(len(self._running))
        self._pool.use([generation.key for generation in self._running])
        inputs = self._batch.step_inputs([generation.output_ids[-1] for generation in self._running])
        logits = self._model(**inputs).logits
        self._keep(self._emit(self._running, logits[:, -1]))

    def _emit(self, generations: list[Generation], logits: torch.Tensor) -> list[int]:
        """Gives each row its next token, sends it off, and returns the rows that go on."""
        likeliest = logits.argmax(-1).tolist()
        pieces: list[Piece] = [generation.advance(logits[row], likeliest[row]) for row, generation in enumerate(generations)]
        if self._metrics:
            self._metrics.generated(generations)
        post(list(zip(generations, pieces, strict=True)))
        return [row for row, piece in enumerate(pieces) if piece.finish_reason is None]

    def _fail(self, generations: list[Generation], error: Exception) -> None:
        fault = fault_of(error)
        for generation in generations:
            _leave(generation)
        post([(generation, fault) for generation in generations])


def _leave(generation: Generation) -> None:
    if generation.adapter is not None:
        generation.adapter.exit()
        generation.adapter = None


def _free_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
