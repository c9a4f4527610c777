import { createHash } from "node:crypto";
import type { Say } from "./converse.js";

const messages = [{ role: "user", content: "What is the capital of France?" }];

/** A server that is busy puts several tokens into one event: of so many not all end up in the last one. */
const manyTokens = { max_tokens: 24 };

/** What is said to vLLM: its OpenAI routes, adapters that come and go, and what goes wrong. */
export function talkToVllm(place: { adapterPath: string; emptyPath: string; brokenPath: string }) {
  const adapter = "talk@v1";
  const chat = { model: "base", messages, max_tokens: 3, temperature: 0 };
  return async (say: Say) => {
    await say("GET", "/health");
    await say("GET", "/version");
    await say("GET", "/v1/models");
    await say("POST", "/v1/load_lora_adapter", { lora_name: adapter, lora_path: place.adapterPath });
    await say("POST", "/v1/load_lora_adapter", { lora_name: adapter, lora_path: place.adapterPath });
    await say("POST", "/v1/load_lora_adapter", { lora_name: "empty@v1", lora_path: place.emptyPath });
    await say("POST", "/v1/load_lora_adapter", { lora_name: "broken@v1", lora_path: place.brokenPath });
    await say("POST", "/v1/load_lora_adapter", { lora_name: "base", lora_path: place.adapterPath });
    await say("POST", "/v1/load_lora_adapter", { lora_name: "", lora_path: "" });
    await say("GET", "/v1/models");
    await say("POST", "/v1/chat/completions", chat);
    await say("POST", "/v1/chat/completions", { ...chat, model: adapter });
    await say("POST", "/v1/chat/completions", { ...chat, ...manyTokens, stream: true, stream_options: { include_usage: true } });
    await say("POST", "/v1/chat/completions", { ...chat, ...manyTokens, stream: true });
    await say("POST", "/v1/chat/completions", { ...chat, logprobs: true, top_logprobs: 2, return_tokens_as_token_ids: true });
    await say("POST", "/v1/completions", { model: "base", prompt: "One two three", max_tokens: 3, temperature: 0 });
    await say("POST", "/v1/completions", {
      model: "base",
      prompt: "One two three four five six seven eight nine ten eleven twelve",
      max_tokens: 8,
      temperature: 0,
      stream: true,
    });
    await say("POST", "/v1/chat/completions", { ...chat, model: "nobody" });
    await say("POST", "/v1/chat/completions", { ...chat, max_tokens: 1_000_000 });
    await say("POST", "/v1/chat/completions", { model: "base" });
    await say("POST", "/v1/unload_lora_adapter", { lora_name: adapter });
    await say("POST", "/v1/unload_lora_adapter", { lora_name: adapter });
    await say("POST", "/v1/unload_lora_adapter", { lora_name: "" });
    await say("POST", "/v1/chat/completions", { ...chat, model: adapter });
    await say("GET", "/no-such-route");
  };
}

/** What is said to Ollama: its own chat, models made of base and adapter, and what goes wrong. */
export function talkToOllama(files: Readonly<Record<string, Uint8Array>>) {
  const digestOf = (content: Uint8Array) => `sha256:${createHash("sha256").update(content).digest("hex")}`;
  const chat = { model: "base", messages, options: { num_predict: 3, temperature: 0 } };
  return async (say: Say) => {
    await say("GET", "/api/version");
    await say("GET", "/api/tags");
    await say("POST", "/api/chat", { ...chat, stream: false });
    await say("POST", "/api/chat", chat);
    await say("POST", "/api/chat", { ...chat, stream: false, logprobs: true, top_logprobs: 2 });
    await say("POST", "/api/chat", { ...chat, model: "nobody", stream: false });
    await say("POST", "/api/chat", { stream: false });
    for (const content of Object.values(files)) {
      await say("HEAD", `/api/blobs/${digestOf(content)}`);
      await say("POST", `/api/blobs/${digestOf(content)}`, content);
      await say("HEAD", `/api/blobs/${digestOf(content)}`);
    }
    await say("POST", `/api/blobs/${digestOf(Buffer.from("other"))}`, Buffer.from("one"));
    const adapters = Object.fromEntries(Object.entries(files).map(([name, content]) => [name, digestOf(content)]));
    await say("POST", "/api/create", { model: "talk:v1", from: "base", adapters, stream: false });
    await say("POST", "/api/create", {
      model: "x:v1",
      from: "base",
      adapters: { "adapter_config.json": digestOf(Buffer.from("none")) },
      stream: false,
    });
    await say("POST", "/api/create", { model: "not a name", from: "base", stream: false });
    await say("GET", "/api/tags");
    await say("POST", "/api/chat", { ...chat, model: "talk:v1", stream: false });
    await say("DELETE", "/api/delete", { model: "talk:v1" });
    await say("DELETE", "/api/delete", { model: "talk:v1" });
    await say("GET", "/no-such-route");
  };
}
