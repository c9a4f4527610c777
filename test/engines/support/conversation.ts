/**
 * One conversation with an engine of vLLM's kind, as anybody could have it over HTTP, and what came back: statuses, content types, and
 * the shape of every body. What the model says is left out, what the protocol says stays: the same record must come from vLLM and from
 * the stand-in.
 */
export interface Place {
  url: string;
  token?: string;
  baseModel: string;
  /** A folder that holds an adapter, and one that holds none. */
  adapterPath: string;
  emptyPath: string;
}

export interface Exchange {
  request: { method: string; path: string; body?: unknown };
  response: { status: number; contentType: string; body: unknown };
}

const ADAPTER = "talk@v1";

export async function converse(place: Place): Promise<Exchange[]> {
  const exchanges: Exchange[] = [];
  const say = async (method: string, path: string, body?: object | string) => {
    const response = await fetch(place.url + path, {
      method,
      headers: { "content-type": "application/json", ...(place.token ? { authorization: `Bearer ${place.token}` } : {}) },
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
    });
    exchanges.push({
      request: { method, path, ...(body === undefined ? {} : { body: neutral(body, place) }) },
      response: {
        status: response.status,
        contentType: (response.headers.get("content-type") ?? "").split(";")[0]!,
        body: shapeOfBody(await response.text(), place),
      },
    });
  };
  const messages = [{ role: "user", content: "What is the capital of France?" }];
  const chat = { model: place.baseModel, messages, max_tokens: 3, temperature: 0 };
  await say("GET", "/health");
  await say("GET", "/version");
  await say("GET", "/v1/models");
  await say("POST", "/v1/load_lora_adapter", { lora_name: ADAPTER, lora_path: place.adapterPath });
  await say("POST", "/v1/load_lora_adapter", { lora_name: ADAPTER, lora_path: place.adapterPath });
  await say("POST", "/v1/load_lora_adapter", { lora_name: "empty@v1", lora_path: place.emptyPath });
  await say("POST", "/v1/load_lora_adapter", { lora_name: "", lora_path: "" });
  await say("GET", "/v1/models");
  await say("POST", "/v1/chat/completions", chat);
  await say("POST", "/v1/chat/completions", { ...chat, model: ADAPTER });
  await say("POST", "/v1/chat/completions", { ...chat, stream: true, stream_options: { include_usage: true } });
  await say("POST", "/v1/chat/completions", { ...chat, stream: true });
  await say("POST", "/v1/chat/completions", { ...chat, logprobs: true, top_logprobs: 2, return_tokens_as_token_ids: true });
  await say("POST", "/v1/completions", { model: place.baseModel, prompt: "One two three", max_tokens: 3, temperature: 0 });
  await say("POST", "/v1/completions", { model: place.baseModel, prompt: "One two three", max_tokens: 3, temperature: 0, stream: true });
  await say("POST", "/v1/chat/completions", { ...chat, model: "nobody" });
  await say("POST", "/v1/chat/completions", { ...chat, max_tokens: 1_000_000 });
  await say("POST", "/v1/chat/completions", { model: place.baseModel });
  await say("POST", "/v1/unload_lora_adapter", { lora_name: ADAPTER });
  await say("POST", "/v1/unload_lora_adapter", { lora_name: ADAPTER });
  await say("POST", "/v1/unload_lora_adapter", { lora_name: "" });
  await say("POST", "/v1/chat/completions", { ...chat, model: ADAPTER });
  await say("GET", "/no-such-route");
  return exchanges;
}

/** Fields whose values are the protocol's own. */
const LITERAL = new Set(["object", "role", "type", "code", "param", "finish_reason", "owned_by", "detail"]);
/** Null says something in these; elsewhere a field that is null is as good as none, and releases add and drop such fields. */
const NULLABLE = new Set(["finish_reason", "param", "code", "parent"]);
/** What a model or a release makes of it. */
const LOOSE = new Set(["stop_reason", "system_fingerprint"]);

function shapeOfBody(text: string, place: Place): unknown {
  if (text.startsWith("data: ")) {
    const events = text
      .split("\n\n")
      .filter((event) => event !== "")
      .map((event) => event.replace(/^data: /, ""));
    const shapes = events.map((event) => (event === "[DONE]" ? event : shapeOf(JSON.parse(event), "", place)));
    // how many tokens an answer has is the model's affair
    return shapes.filter((shape, index) => index === 0 || JSON.stringify(shape) !== JSON.stringify(shapes[index - 1]));
  }
  try {
    return shapeOf(JSON.parse(text), "", place);
  } catch {
    return neutral(text, place);
  }
}

function shapeOf(value: unknown, key: string, place: Place): unknown {
  if (key === "message" && typeof value === "string") return neutral(value, place);
  if (LITERAL.has(key) && (typeof value !== "object" || value === null)) return typeof value === "string" ? neutral(value, place) : value;
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0], key, place)];
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([name, field]) => !LOOSE.has(name) && (field !== null || NULLABLE.has(name)))
        .sort(([left], [right]) => (left < right ? -1 : 1))
        .map(([name, field]) => [name, shapeOf(field, name, place)]),
    );
  }
  return value === null ? null : typeof value;
}

/** Names and numbers of this machine by what they are. */
function neutral(value: unknown, place: Place): unknown {
  if (Array.isArray(value)) return value.map((one) => neutral(one, place));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, neutral(field, place)]));
  }
  if (typeof value !== "string") return value;
  return value
    .replaceAll(place.adapterPath, "ADAPTER_PATH")
    .replaceAll(place.emptyPath, "EMPTY_PATH")
    .replaceAll(/(?<![@v\d])\d+/g, "N");
}
