"""The serving part of a process: loads the engine in the background and owns it, the embedder and the names of models."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import RuntimeFault
from .http_errors import HttpError
from .metrics import Metrics
from .models import go_offline, resolve_base

if TYPE_CHECKING:
    from .adapters import LoadedAdapter
    from .embeddings import Embedder
    from .engine import Engine

MODEL_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}$")


def skip_quantization_imports() -> None:
    """For processes that only serve: PEFT would import bitsandbytes, which takes seconds, and nothing here is quantised."""
    sys.modules.setdefault("bitsandbytes", None)  # type: ignore[arg-type]


class Serving:
    """What the serving routes work on. Usable at once; the engine comes later (`load`)."""

    def __init__(self, arguments: argparse.Namespace, model: str, root: Path, metrics: Metrics):
        self.base_name: str = arguments.served_model_name
        if not MODEL_NAME.fullmatch(self.base_name):
            raise RuntimeFault("spec_invalid", f"--served-model-name {self.base_name!r} is not a name of letters, digits and . _ @ : / -")
        self.model = model
        self.root = root
        self.metrics = metrics
        self.max_adapters: int = arguments.max_adapters
        self.max_lora_rank: int = arguments.max_lora_rank
        self._arguments = arguments
        self._engine: Engine | None = None
        self._embedder: Embedder | None = None
        self.seconds: dict[str, float] = {}

    @property
    def status(self) -> str:
        """`starting`, `ok`, or `failed`."""
        if self._engine is None:
            return "starting"
        return "ok" if self._engine.alive else "failed"

    @property
    def engine(self) -> Engine:
        """The engine; an HTTP 503 while it loads."""
        if self._engine is None:
            raise HttpError(503, "the model is still loading; try again shortly", retryable=True, headers={"retry-after": "2"})
        return self._engine

    @property
    def loaded(self) -> Engine | None:
        return self._engine

    @property
    def embedder(self) -> Embedder:
        assert self.engine is not None
        assert self._embedder is not None
        return self._embedder

    async def load(self) -> None:
        """Imports the libraries and loads the base, in a thread; raises RuntimeFault for a base that cannot be served."""
        await asyncio.to_thread(self._load)

    def _load(self) -> None:
        arguments = self._arguments
        # Before the imports, which take their time: a base that is not there is told at once.
        folder = Path(self.model).resolve()
        # The operator names the base on the command line, so it may lie anywhere.
        base = resolve_base(self.root, str(folder) if folder.is_dir() else self.model, [folder] if folder.is_dir() else [])
        if not base.from_hub:
            go_offline()
        started = time.perf_counter()
        from transformers.utils import logging as transformers_logging

        from .embeddings import make_embedder
        from .engine import Engine, EngineOptions

        transformers_logging.disable_progress_bar()
        self.seconds["import"] = round(time.perf_counter() - started, 3)
        started = time.perf_counter()
        engine = Engine(
            EngineOptions(
                base,
                self.root,
                max_adapters=arguments.max_adapters,
                max_lora_rank=arguments.max_lora_rank,
                max_model_len=arguments.max_model_len,
                max_batch=arguments.max_batch,
                max_waiting=arguments.max_waiting,
                threads=arguments.threads,
            ),
            self.metrics,
        )
        self._embedder = make_embedder(engine, self.base_name, arguments.embedding_model)
        self.metrics.running_requests.set_function(lambda: engine.runner.running_count)
        self.metrics.waiting_requests.set_function(lambda: engine.runner.waiting_count)
        self.metrics.loaded_adapters.set_function(lambda: len(engine.adapters))
        self.seconds["load"] = round(time.perf_counter() - started, 3)
        self._engine = engine

    def adapter(self, model: Any) -> LoadedAdapter | None:
        """The adapter that a request's `model` names, None for the base; HTTP 404 for anything else."""
        if not isinstance(model, str):
            raise HttpError(400, "model must be the name of the base model or of a loaded adapter", param="model")
        if model == self.base_name:
            return None
        adapter = self.engine.adapters.get(model)
        if adapter is None or adapter.leaving:
            raise HttpError(404, f"The model `{model[:200]}` does not exist.", param="model")
        return adapter

    def describe(self) -> dict[str, Any]:
        """The fields of the `ready` announcement."""
        engine = self.engine
        return {"model": self.base_name, "base_model_sha256": engine.base_sha256, "device": engine.device.type, "seconds": self.seconds}

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
