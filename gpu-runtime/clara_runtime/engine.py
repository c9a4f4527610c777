"""The serving engine: one base model, many adapters, one running batch (`batch_runner.py`)."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .adapters import AdapterPool, LoadedAdapter
from .batch_runner import BatchRunner
from .errors import RuntimeFault
from .generation import Generation
from .models import Base, linear_shapes, load_base, load_tokenizer, pick_dtype, read_adapter
from .sampling import SamplingOptions


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


class Engine:
    """Loads the base in the constructor (slow: call it in a thread) and serves until `close`."""

    def __init__(self, options: EngineOptions, metrics: Any = None):
        if options.threads:
            torch.set_num_threads(options.threads)
        self.options = options
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
        self._pool = AdapterPool(self.model)
        self._keys = itertools.count()
        self._loading: set[str] = set()
        self._tokenizer_lock = threading.Lock()
        self.runner = BatchRunner(self.model, self._pool, self.pad_id, options.max_batch, options.prefill_tokens, metrics)

    @property
    def alive(self) -> bool:
        return self.runner.alive

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        # A fast tokenizer panics ("Already borrowed") when two threads encode at once.
        with self._tokenizer_lock:
            return self.tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def has_room(self, count: int) -> bool:
        """Whether so many more requests may wait; a request that a row is free for never waits."""
        free = self.options.max_batch - self.runner.running_count
        return self.runner.waiting_count + count <= self.options.max_waiting + max(free, 0)

    def submit(self, prompt_ids: list[int], options: SamplingOptions, adapter: LoadedAdapter | None, model_name: str) -> Generation:
        """Puts a request in line. Call from the event loop that will read the pieces."""
        self._check_alive()
        generation = Generation(prompt_ids, options, adapter, asyncio.get_running_loop(), model_name, self.tokenizer, self.eos_ids)
        if adapter is not None:
            adapter.enter()
        self.runner.enqueue(generation)
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
        self.runner.close()

    async def _command(self, action: Callable[[], Any]) -> Any:
        self._check_alive()
        return await asyncio.wrap_future(self.runner.command(action))

    def _check_alive(self) -> None:
        if not self.runner.alive:
            raise RuntimeFault("internal", "the serving engine has stopped: restart the runtime")

    def _embed(self, prompts: list[list[int]]) -> list[list[float]]:
        width = max(map(len, prompts))
        ids = torch.tensor([p + [self.pad_id] * (width - len(p)) for p in prompts], device=self.device)
        mask = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p in prompts], device=self.device)
        self._pool.use([None] * len(prompts))
        hidden = self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state.float()
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(pooled, dim=-1).tolist()


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
