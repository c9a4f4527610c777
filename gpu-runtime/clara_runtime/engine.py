"""The serving engine: one base model, many adapters, one running batch that requests join and leave between steps.

A thread of its own owns the model. Each turn it obeys commands (load, unload, embed), drops cancelled rows, admits waiting
requests (one left-padded prefill), and generates one token for every row, whatever adapter the row uses.
"""
from __future__ import annotations

import asyncio
import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .adapters import AdapterPool, LoadedAdapter
from .detokenizer import Detokenizer
from .errors import RuntimeFault, fault_of
from .kv_batch import KeyValueBatch
from .models import Base, linear_shapes, load_base, load_tokenizer, pick_dtype, read_adapter
from .sampling import SamplingOptions, TokenLogprob, adjust_logits, draw, token_logprob

CONTEXT_TOKENS = 6
"""Prompt tokens that the detokenizer sees, so that the first generated token is decoded in its place."""


class AdapterLimitError(Exception):
    """As many adapters are loaded as the engine was started for."""


class AdapterExistsError(Exception):
    """An adapter of this name is loaded already."""


class AdapterUnknownError(Exception):
    """No adapter of this name is loaded."""


@dataclass(frozen=True)
class EngineOptions:
    """What the engine may use."""

    base: Base
    root: Path
    """Adapters are read from inside this folder only."""
    max_adapters: int = 16
    max_lora_rank: int = 64
    max_model_len: int | None = None
    """Tokens of prompt and answer together; None = what the model was made for."""
    max_batch: int = 16
    """Rows that run at once."""
    max_waiting: int = 256
    """Requests that may wait for a row."""
    prefill_tokens: int = 8192
    """Padded prompt tokens that one admission may cost, so that newcomers hold up the running rows only briefly."""
    threads: int | None = None
    """CPU threads; None = PyTorch's own choice."""


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
    events: asyncio.Queue[Piece | Exception | None] = field(default_factory=asyncio.Queue)
    cancelled: bool = False
    output_ids: list[int] = field(default_factory=list)
    submitted_at: float = field(default_factory=time.perf_counter)
    tokenizer: Any = None
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


class Engine:
    """Loads the base in the constructor (slow: call it in a thread) and serves until `close`."""

    def __init__(self, options: EngineOptions, metrics: Any = None):
        if options.threads:
            torch.set_num_threads(options.threads)
        self.options = options
        self.metrics = metrics
        self.base_sha256 = options.base.sha256
        self.tokenizer = load_tokenizer(options.base)
        self.model = load_base(options.base, dtype=pick_dtype("auto", torch.cuda.is_available())).eval()
        self.model.requires_grad_(False)
        _refuse_recurrent(self.model.config, options.base.name)
        self.device = self.model.device
        self._shapes = linear_shapes(self.model)
        self.max_model_len = _context_length(self.model.config, options.max_model_len)
        self.vocabulary = self.model.get_input_embeddings().weight.shape[0]
        self.eos_ids = _eos_ids(self.model, self.tokenizer)
        self.pad_id = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0
        self.adapters: dict[str, LoadedAdapter] = {}
        self.started_at = time.time()
        self.largest_batch = 0
        self._pool = AdapterPool(self.model)
        self._keys = itertools.count()
        self._loading: set[str] = set()
        self._tokenizer_lock = threading.Lock()
        self._waiting: deque[Generation] = deque()
        self._commands: queue.SimpleQueue[tuple[Callable[[], Any], Future]] = queue.SimpleQueue()
        self._wake = threading.Condition()
        self._running: list[Generation] = []
        self._batch = KeyValueBatch(self.device)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="clara-engine", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ called from the event loop

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._closed

    @property
    def running_count(self) -> int:
        return len(self._running)

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        # A fast tokenizer panics ("Already borrowed") when two threads encode at once.
        with self._tokenizer_lock:
            return self.tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def has_room(self, count: int) -> bool:
        """Whether so many more requests may wait; a request that a row is free for never waits."""
        free = self.options.max_batch - len(self._running)
        return len(self._waiting) + count <= self.options.max_waiting + max(free, 0)

    def submit(self, prompt_ids: list[int], options: SamplingOptions, adapter: LoadedAdapter | None, model_name: str) -> Generation:
        """Puts a request in line. Call from the event loop that will read the pieces."""
        if not self.alive:
            raise RuntimeFault("internal", "the serving engine has stopped: restart the runtime")
        generation = Generation(prompt_ids, options, adapter, asyncio.get_running_loop(), model_name)
        generation.tokenizer = self.tokenizer
        if adapter is not None:
            adapter.enter()
        with self._wake:
            self._waiting.append(generation)
            self._wake.notify()
        return generation

    async def load_adapter(self, name: str, path: str) -> LoadedAdapter:
        """Reads, checks and hot-loads an adapter folder under a name."""
        if name in self.adapters or name in self._loading:
            raise AdapterExistsError(name)
        if len(self.adapters) + len(self._loading) >= self.options.max_adapters:
            raise AdapterLimitError(name)
        self._loading.add(name)
        try:
            checked = await asyncio.to_thread(
                read_adapter, path, self.options.base, shapes=self._shapes, max_rank=self.options.max_lora_rank, root=self.options.root
            )
            key = f"a{next(self._keys)}"
            await self._command(lambda: self._pool.add(key, checked))
            adapter = LoadedAdapter(name, str(checked.folder), checked.sha256, checked.rank, key, time.time())
            self.adapters[name] = adapter
            return adapter
        finally:
            self._loading.discard(name)

    async def unload_adapter(self, name: str) -> None:
        """Takes no new requests for the adapter, lets the running ones end, and removes it."""
        adapter = self.adapters.get(name)
        if adapter is None or adapter.leaving:
            raise AdapterUnknownError(name)
        adapter.leaving = True
        while adapter.running and self.alive:
            await asyncio.sleep(0.005)
        await self._command(lambda: self._pool.remove(adapter.key))
        del self.adapters[name]

    async def embed(self, prompts: list[list[int]]) -> list[list[float]]:
        """Mean-pooled, normalised last hidden states of the base."""
        vectors: list[list[float]] = []
        for start in range(0, len(prompts), 16):
            group = prompts[start : start + 16]
            vectors += await self._command(lambda group=group: self._embed(group))
        return vectors

    def close(self) -> None:
        self._closed = True
        with self._wake:
            self._wake.notify()

    async def _command(self, action: Callable[[], Any]) -> Any:
        if not self.alive:
            raise RuntimeFault("internal", "the serving engine has stopped: restart the runtime")
        future: Future = Future()
        with self._wake:
            self._commands.put((action, future))
            self._wake.notify()
        return await asyncio.wrap_future(future)

    # ------------------------------------------------------------------ the engine's thread

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
                    self._batch = KeyValueBatch(self.device)
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

    def _keep(self, rows: list[int]) -> None:
        stay = set(rows)
        for row, generation in enumerate(self._running):
            if row not in stay:
                self._leave(generation)
        self._running = [self._running[row] for row in rows]
        self._batch.keep(rows)

    def _leave(self, generation: Generation) -> None:
        if generation.adapter is not None:
            generation.adapter.exit()
            generation.adapter = None

    def _admit(self) -> None:
        """Prefills waiting requests and lets them join the running batch."""
        newcomers: list[Generation] = []
        width = 0
        while self._waiting and len(self._running) + len(newcomers) < self.options.max_batch:
            generation = self._waiting[0]
            if generation.cancelled:
                self._leave(self._waiting.popleft())
                continue
            wider = max(width, len(generation.prompt_ids))
            alone = generation.options.prompt_logprobs is not None
            if newcomers and (alone or wider * (len(newcomers) + 1) > self.options.prefill_tokens):
                break
            newcomers.append(self._waiting.popleft())
            width = wider
            if alone:
                break
        if not newcomers:
            return
        batch = KeyValueBatch(self.device)
        try:
            self._pool.use([_key(generation) for generation in newcomers])
            inputs = batch.prefill_inputs([generation.prompt_ids for generation in newcomers], self.pad_id)
            wants_prompt = newcomers[0].options.prompt_logprobs is not None
            logits = self.model(**inputs, logits_to_keep=0 if wants_prompt else 1).logits
            if wants_prompt:
                newcomers[0].prompt_logprobs = self._prompt_logprobs(newcomers[0], logits[0])
            for generation in newcomers:
                self._prepare(generation)
            alive = self._emit(newcomers, logits[:, -1])
        except Exception as error:
            self._fail(newcomers, error)
            _free_memory()
            return
        for row in set(range(len(newcomers))) - set(alive):
            self._leave(newcomers[row])
        batch.keep(alive)
        self._batch.join(batch)
        self._running += [newcomers[row] for row in alive]

    def _prepare(self, generation: Generation) -> None:
        options = generation.options
        generation.detokenizer = Detokenizer(
            self.tokenizer,
            generation.prompt_ids[-CONTEXT_TOKENS:],
            options.stop,
            options.include_stop_str_in_output,
            options.skip_special_tokens,
        )
        if options.temperature > 0:
            generation.generator = torch.Generator(self.device)
            if options.seed is None:
                generation.generator.seed()
            else:
                generation.generator.manual_seed(options.seed)

    def _step(self) -> None:
        self.largest_batch = max(self.largest_batch, len(self._running))
        if self.metrics:
            self.metrics.batch_rows.observe(len(self._running))
        self._pool.use([_key(generation) for generation in self._running])
        inputs = self._batch.step_inputs([generation.output_ids[-1] for generation in self._running])
        logits = self.model(**inputs).logits
        self._keep(self._emit(self._running, logits[:, -1]))

    def _emit(self, generations: list[Generation], logits: torch.Tensor) -> list[int]:
        """Chooses each row's next token, sends it off, and returns the rows that go on."""
        greedy = logits.argmax(-1).tolist()
        alive: list[int] = []
        posts: dict[asyncio.AbstractEventLoop, list[tuple[Generation, Piece]]] = {}
        for row, generation in enumerate(generations):
            options = generation.options
            blocked = self._blocked(generation)
            if options.temperature == 0 and not options.changes_logits and not blocked:
                token = greedy[row]
            else:
                adjusted = adjust_logits(logits[row].float(), options, generation.prompt_ids, generation.output_ids, blocked)
                token = draw(adjusted, options, generation.generator)
            logprobs = None
            if options.logprobs is not None:
                logprobs = [token_logprob(logits[row].float().log_softmax(-1), token, options.logprobs)]
            piece = self._advance(generation, token, logprobs)
            posts.setdefault(generation.loop, []).append((generation, piece))
            if piece.finish_reason is None:
                alive.append(row)
        if self.metrics:
            self.metrics.generated(generations)
        for loop, items in posts.items():
            _post(loop, items)
        return alive

    def _blocked(self, generation: Generation) -> frozenset[int]:
        options = generation.options
        return self.eos_ids | options.stop_token_ids if len(generation.output_ids) < options.min_tokens else frozenset()

    def _advance(self, generation: Generation, token: int, logprobs: list[TokenLogprob] | None) -> Piece:
        options, detokenizer = generation.options, generation.detokenizer
        generation.output_ids.append(token)
        prompt_logprobs, generation.prompt_logprobs = generation.prompt_logprobs, None
        finish: str | None = None
        stop_reason: str | int | None = None
        if token in options.stop_token_ids:
            finish, stop_reason, text = "stop", token, detokenizer.finish()
        elif token in self.eos_ids and not options.ignore_eos:
            finish, text = "stop", detokenizer.finish() if options.skip_special_tokens else detokenizer.push(token) + detokenizer.finish()
        else:
            text = detokenizer.push(token)
            if detokenizer.stopped_by is None and len(generation.output_ids) >= options.max_tokens:
                finish, text = "length", text + detokenizer.finish()
            # Also what the end released may hold a stop string.
            if detokenizer.stopped_by is not None:
                finish, stop_reason = "stop", detokenizer.stopped_by
        return Piece(text, [token], logprobs, finish, stop_reason, prompt_logprobs)

    def _prompt_logprobs(self, generation: Generation, logits: torch.Tensor) -> list[TokenLogprob | None]:
        entries: list[TokenLogprob | None] = [None]
        for position, token in enumerate(generation.prompt_ids[1:]):
            entries.append(token_logprob(logits[position].float().log_softmax(-1), token, generation.options.prompt_logprobs or 0))
        return entries

    def _embed(self, prompts: list[list[int]]) -> list[list[float]]:
        width = max(map(len, prompts))
        ids = torch.tensor([p + [self.pad_id] * (width - len(p)) for p in prompts], device=self.device)
        mask = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p in prompts], device=self.device)
        self._pool.use([None] * len(prompts))
        hidden = self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state.float()
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(pooled, dim=-1).tolist()

    def _fail(self, generations: list[Generation], error: Exception) -> None:
        for generation in generations:
            self._leave(generation)
            _post(generation.loop, [(generation, fault_of(error))])


def _key(generation: Generation) -> str | None:
    return generation.adapter.key if generation.adapter else None


def _post(loop: asyncio.AbstractEventLoop, items: list[tuple[Generation, Any]]) -> None:
    def deliver() -> None:
        for generation, event in items:
            generation.events.put_nowait(event)

    try:
        loop.call_soon_threadsafe(deliver)
    except RuntimeError:
        return  # the server's loop has ended, nobody listens


def _free_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _context_length(config: Any, asked: int | None) -> int:
    made_for = getattr(config.get_text_config(), "max_position_embeddings", None)
    return min(asked, made_for) if asked and made_for else asked or made_for or 2048


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = set(configured if isinstance(configured, list) else [configured])
    ids.add(tokenizer.eos_token_id)
    return frozenset(token for token in ids if token is not None)


def _refuse_recurrent(config: Any, name: str) -> None:
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    strange = kinds - {"full_attention", "sliding_attention", "chunked_attention"}
    if strange or getattr(text, "is_encoder_decoder", False):
        what = f"has {sorted(strange)[0]} layers" if strange else "is an encoder-decoder model"
        raise RuntimeFault("base_model_invalid", f"base model {name!r} {what}: this engine serves attention-only decoders, use vLLM for it")
