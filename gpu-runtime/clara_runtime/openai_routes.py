"""The serving routes, in vLLM's shapes: chat, completions, models, embeddings, hot loading of adapters, tokenize, health."""

from __future__ import annotations

import asyncio
import base64
import struct
import time
import uuid
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from . import __version__
from . import openai_format as form
from . import openai_requests as read
from .app import json_body, json_response
from .errors import RuntimeFault
from .generation_response import AnswerStyle, Choice, GenerationResponse
from .http_errors import HttpError, http_error
from .serving import MODEL_NAME, Serving

LARGE_TEXT_CHARACTERS = 20_000


def serving_routes(serving: Serving) -> list[Route]:
    """All routes but `/health`, which each process answers in its own way."""
    routes = _Routes(serving)
    return [
        Route("/v1/chat/completions", routes.chat, methods=["POST"]),
        Route("/v1/completions", routes.completions, methods=["POST"]),
        Route("/v1/models", routes.models),
        Route("/v1/embeddings", routes.embeddings, methods=["POST"]),
        Route("/v1/load_lora_adapter", routes.load_adapter, methods=["POST"]),
        Route("/v1/unload_lora_adapter", routes.unload_adapter, methods=["POST"]),
        Route("/tokenize", routes.tokenize, methods=["POST"]),
        Route("/detokenize", routes.detokenize, methods=["POST"]),
        Route("/version", version),
    ]


def version(_request: Request) -> Response:
    return json_response({"version": __version__})


class _Routes:
    def __init__(self, serving: Serving):
        self._serving = serving
        self._names: form.TokenNames | None = None
        self._created = int(time.time())
        # ours too: what this process is, and what it can hold
        self._identity = {
            "version": __version__,
            "instance": uuid.uuid4().hex,
            "max_lora_rank": serving.max_lora_rank,
            "max_adapters": serving.max_adapters,
        }

    @property
    def names(self) -> form.TokenNames:
        if self._names is None:
            self._names = form.TokenNames(self._serving.engine.tokenizer)
        return self._names

    def _defaults(self) -> dict[str, Any]:
        config = self._serving.engine.model.generation_config
        wanted = ("temperature", "top_p", "top_k", "repetition_penalty")
        # Only what the model's authors set on purpose: transformers leaves the rest at None or its own default.
        stated = config.to_diff_dict()
        return {name: stated[name] for name in wanted if stated.get(name) is not None}

    async def _encode(self, text: str, special: bool) -> list[int]:
        engine = self._serving.engine
        if len(text) < LARGE_TEXT_CHARACTERS:
            return engine.encode(text, special)
        return await asyncio.to_thread(engine.encode, text, special)

    async def _chat_prompt(self, body: dict[str, Any]) -> list[int]:
        turns = read.messages(body)
        continues = read.boolean(body, "continue_final_message", False)
        generation_prompt = read.boolean(body, "add_generation_prompt", not continues)
        if continues and generation_prompt:
            raise read.bad("continue_final_message and add_generation_prompt exclude each other", "continue_final_message")
        extra = body.get("chat_template_kwargs") or {}
        if not isinstance(extra, dict) or not all(isinstance(value, (bool, int, float, str)) for value in extra.values()):
            raise read.bad("chat_template_kwargs must be an object of plain values", "chat_template_kwargs")
        forbidden = {
            "tokenize",
            "conversation",
            "chat_template",
            "add_generation_prompt",
            "continue_final_message",
            "return_tensors",
            "return_dict",
        }
        tokenizer = self._serving.engine.tokenizer
        try:
            text = tokenizer.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=generation_prompt,
                continue_final_message=continues,
                **{key: value for key, value in extra.items() if key not in forbidden},
            )
        except Exception as error:  # templates raise their own messages, for example about the order of roles
            raise read.bad(f"the model's chat template refuses these messages: {str(error)[:300]}", "messages") from error
        return await self._encode(text, read.boolean(body, "add_special_tokens", False))

    async def chat(self, request: Request) -> Response:
        body = await json_body(request)
        adapter = self._serving.adapter(body.get("model", self._serving.base_name))
        prompt = await self._chat_prompt(body)
        return self._generate(body, [prompt], adapter, is_chat=True)

    async def completions(self, request: Request) -> Response:
        body = await json_body(request)
        adapter = self._serving.adapter(body.get("model", self._serving.base_name))
        special = read.boolean(body, "add_special_tokens", True)
        raw = read.prompts(body.get("prompt"), self._serving.engine.vocabulary, "prompt")
        prompts = [await self._encode(item, special) if isinstance(item, str) else item for item in raw]
        return self._generate(body, prompts, adapter, is_chat=False)

    def _generate(self, body: dict[str, Any], prompts: list[list[int]], adapter: Any, is_chat: bool) -> Response:
        engine = self._serving.engine
        options = read.sampling_options(body, self._defaults(), engine.vocabulary, is_chat)
        echo = not is_chat and read.boolean(body, "echo", False)
        stream = read.boolean(body, "stream", False)
        include_usage = read.wants_usage(body)
        if echo and options.logprobs is not None and options.prompt_logprobs is None:
            options = replace(options, prompt_logprobs=options.logprobs)
        if stream and options.prompt_logprobs is not None and not echo:
            raise read.bad("prompt_logprobs cannot be streamed", "prompt_logprobs")
        # vLLM's default for completions is 16 tokens, for chat all that the context has room for.
        limit = 16 if not is_chat and not options.max_tokens else options.max_tokens
        planned = [replace(options, max_tokens=self._room(prompt, limit)) for prompt in prompts]
        name = adapter.name if adapter else self._serving.base_name
        style = AnswerStyle(
            request_id=f"{'chatcmpl' if is_chat else 'cmpl'}-{uuid.uuid4().hex}",
            model=name,
            is_chat=is_chat,
            stream=stream,
            include_usage=include_usage,
            echo=echo,
            as_ids=read.boolean(body, "return_tokens_as_token_ids", False),
            with_ids=read.boolean(body, "return_token_ids", False),
            wants_logprobs=options.logprobs is not None,
            wants_prompt_logprobs=body.get("prompt_logprobs") is not None,
        )
        if not engine.has_room(len(prompts)):
            raise HttpError(429, "too many requests are waiting; try again shortly", retryable=True, headers={"retry-after": "1"})
        choices = [
            Choice(index, prompts[index], engine.submit(prompts[index], planned[index], adapter, name)) for index in range(len(prompts))
        ]
        return GenerationResponse(choices, style, self.names, self._serving.metrics)

    def _room(self, prompt: list[int], asked: int) -> int:
        longest = self._serving.engine.max_model_len
        if not prompt:
            raise read.bad("the prompt has no tokens", "prompt")
        room = longest - len(prompt)
        if room < max(asked, 1):
            raise HttpError(
                400,
                f"This model's maximum context length is {longest} tokens. However, you requested {len(prompt) + asked} tokens "
                f"({len(prompt)} in the messages, {asked} in the completion). Please reduce the length of the messages or completion.",
                param="max_tokens" if len(prompt) < longest else "messages",
            )
        return asked or room

    async def models(self, _request: Request) -> Response:
        serving, engine = self._serving, self._serving.engine
        base = _card(serving.base_name, self._created, serving.model, None, engine.max_model_len, engine.base_sha256)
        cards = [{**base, **self._identity}]
        for adapter in engine.adapters.values():
            if not adapter.leaving:
                cards.append(_card(adapter.name, int(adapter.loaded_at), adapter.path, serving.base_name, None, adapter.sha256))
        return json_response({"object": "list", "data": cards})

    async def embeddings(self, request: Request) -> Response:
        body = await json_body(request)
        embedder = self._serving.embedder
        model = body.get("model", embedder.name)
        if model not in (embedder.name, self._serving.base_name):
            raise HttpError(404, f"The model `{str(model)[:200]}` does not exist.", param="model")
        encoding = body.get("encoding_format", "float")
        if encoding not in ("float", "base64"):
            raise read.bad("encoding_format must be float or base64", "encoding_format")
        inputs = read.prompts(body.get("input"), self._serving.engine.vocabulary, "input", limit=2_048)
        vectors, tokens = await embedder.embed(inputs)
        if body.get("dimensions") not in (None, len(vectors[0])):
            raise read.bad(f"dimensions: this model's vectors have {len(vectors[0])} dimensions and cannot be shortened", "dimensions")
        data = [
            {"object": "embedding", "index": index, "embedding": vector if encoding == "float" else _base64_floats(vector)}
            for index, vector in enumerate(vectors)
        ]
        return json_response({"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})

    async def load_adapter(self, request: Request) -> Response:
        from .engine import AdapterExistsError, AdapterLimitError

        body = await json_body(request)
        name, path = _adapter_name(body), body.get("lora_path")
        if not name or not isinstance(path, str) or not path:
            raise HttpError(400, "Both 'lora_name' and 'lora_path' must be provided.", error_type="InvalidUserInput")
        if not MODEL_NAME.fullmatch(name) or ".." in name or name == self._serving.base_name:
            raise HttpError(400, f"The lora adapter name '{name[:100]}' is not usable.", error_type="InvalidUserInput", param="lora_name")
        if body.get("load_inplace"):
            raise HttpError(
                400,
                "load_inplace is not supported: adapters are immutable, load a new version under a new name.",
                error_type="InvalidUserInput",
            )
        engine = self._serving.engine
        try:
            await engine.load_adapter(name, path)
        except AdapterExistsError as error:
            raise HttpError(400, f"The lora adapter '{name}' has already been loaded.", error_type="InvalidUserInput") from error
        except AdapterLimitError as error:
            message = f"{self._serving.max_adapters} adapters are loaded, which is the limit (--max-adapters); unload one first."
            raise HttpError(400, message, error_type="InvalidUserInput") from error
        except RuntimeFault as fault:
            missing = fault.code == "adapter_invalid" and "does not exist" in fault.message
            refusal = http_error(fault)
            raise HttpError(404 if missing else refusal.status, fault.message, clara_code=fault.code, retryable=fault.retryable) from fault
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def unload_adapter(self, request: Request) -> Response:
        from .engine import AdapterUnknownError

        name = _adapter_name(await json_body(request))
        if not name:
            raise HttpError(400, "'lora_name' must be provided.", error_type="InvalidUserInput")
        try:
            await self._serving.engine.unload_adapter(name)
        except AdapterUnknownError as error:
            raise HttpError(404, f"The lora adapter '{name[:200]}' cannot be found.") from error
        self._serving.metrics.forget_model(name)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def tokenize(self, request: Request) -> Response:
        body = await json_body(request)
        engine = self._serving.engine
        self._serving.adapter(body.get("model", self._serving.base_name))
        if "messages" in body:
            tokens = await self._chat_prompt(body)
        else:
            tokens = await self._encode(read.text(body, "prompt"), read.boolean(body, "add_special_tokens", True))
        strings = [self.names[token] for token in tokens] if read.boolean(body, "return_token_strs", False) else None
        return json_response({"count": len(tokens), "max_model_len": engine.max_model_len, "tokens": tokens, "token_strs": strings})

    async def detokenize(self, request: Request) -> Response:
        body = await json_body(request)
        engine = self._serving.engine
        tokens = body.get("tokens")
        if not isinstance(tokens, list):
            raise read.bad("tokens must be a list of token ids", "tokens")
        checked = read.prompts(tokens, engine.vocabulary, "tokens")[0] if tokens else []
        return json_response({"prompt": engine.tokenizer.decode(checked, skip_special_tokens=False, clean_up_tokenization_spaces=False)})


def _card(name: str, created: int, root: str, parent: str | None, longest: int | None, sha256: str) -> dict[str, Any]:
    permission = {
        "id": f"modelperm-{sha256[:24]}",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    # sha256 is ours: the hash of what is in memory, so that a client can prove what answers.
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "clara",
        "root": root,
        "parent": parent,
        "max_model_len": longest,
        "permission": [permission],
        "sha256": sha256,
    }


def _adapter_name(body: dict[str, Any]) -> str:
    name = body.get("lora_name")
    return name if isinstance(name, str) else ""


def _base64_floats(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
