"""Text embeddings: by default the mean of the base model's last hidden states, or a sentence-embedding model of its own.

The default needs nothing more than the base and is deterministic; a small or purely generative base groups texts by wording
rather than by meaning, so give `--embedding-model` a real one (MiniLM, E5, BGE …) where routing or search depends on it.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .errors import RuntimeFault, fault_of
from .http_errors import HttpError
from .models import weight_files

if TYPE_CHECKING:
    from .engine import Engine


class Embedder(Protocol):
    """Texts or token lists in, unit vectors out."""

    name: str

    async def embed(self, inputs: list[str | list[int]]) -> tuple[list[list[float]], int]:
        """The vectors in order, and the number of tokens that were read."""
        ...


class BaseEmbedder:
    """Mean-pooled, normalised last hidden states of the served base, adapters off."""

    def __init__(self, engine: Engine, name: str):
        self.name = name
        self._engine = engine

    async def embed(self, inputs: list[str | list[int]]) -> tuple[list[list[float]], int]:
        prompts = await asyncio.to_thread(lambda: [self._engine.encode(item) if isinstance(item, str) else item for item in inputs])
        for tokens in prompts:
            if len(tokens) > self._engine.max_model_len:
                raise HttpError(
                    400, f"an input has {len(tokens)} tokens; this model reads at most {self._engine.max_model_len}", param="input"
                )
        # An empty text has no hidden state: it is read as one padding token.
        vectors = await self._engine.embed([tokens or [self._engine.pad_id] for tokens in prompts])
        return vectors, sum(map(len, prompts))


class ModelEmbedder:
    """A sentence-embedding model from a folder of safetensors, mean-pooled and normalised; long texts are cut."""

    def __init__(self, folder: str):
        from transformers import AutoModel, AutoTokenizer

        path = Path(folder).resolve()
        if not (path / "config.json").is_file():
            raise RuntimeFault("base_model_invalid", f"--embedding-model {folder!r} is not a model folder (no config.json)")
        weight_files(path)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, local_files_only=True)
            self._model = AutoModel.from_pretrained(path, trust_remote_code=False, use_safetensors=True, local_files_only=True).eval()
        except Exception as error:
            raise RuntimeFault("base_model_invalid", f"--embedding-model {folder!r} cannot be loaded: {fault_of(error).message}") from error
        import torch

        if torch.cuda.is_available():
            self._model.to("cuda:0")
        self.name = path.name
        self._lock = threading.Lock()
        self._longest = min(self._tokenizer.model_max_length, getattr(self._model.config, "max_position_embeddings", 512))

    async def embed(self, inputs: list[str | list[int]]) -> tuple[list[list[float]], int]:
        if not all(isinstance(item, str) for item in inputs):
            raise HttpError(400, "this embedding model reads texts, not token ids", param="input")
        return await asyncio.to_thread(self._embed, inputs)

    def _embed(self, texts: list[Any]) -> tuple[list[list[float]], int]:
        import torch

        vectors: list[list[float]] = []
        tokens = 0
        with self._lock, torch.inference_mode():
            for start in range(0, len(texts), 32):
                inputs = self._tokenizer(
                    texts[start : start + 32], padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
                )
                inputs = inputs.to(self._model.device)
                mask = inputs["attention_mask"]
                hidden = self._model(**inputs).last_hidden_state.float()
                pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
                vectors += torch.nn.functional.normalize(pooled, dim=-1).tolist()
                tokens += int(mask.sum())
        return vectors, tokens


def make_embedder(engine: Engine, base_name: str, folder: str | None) -> Embedder:
    return ModelEmbedder(folder) if folder else BaseEmbedder(engine, base_name)
