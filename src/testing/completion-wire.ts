/** A request body of `/v1/chat/completions` or `/v1/completions`, as far as the stand-in reads it. */
export interface CompletionBody {
  model?: string;
  messages?: { role: string; content: string }[];
  prompt?: string;
  stream?: boolean;
  stream_options?: { include_usage?: boolean } | null;
  max_tokens?: number | null;
  max_completion_tokens?: number | null;
  stop?: string | string[] | null;
  logprobs?: boolean | number | null;
  /** Only requests with the same one share cached prefixes. */
  cache_salt?: string | null;
  [field: string]: unknown;
}

/** A scripted answer as its tokens, with what is known of them. */
export interface ScriptedTokens {
  tokens: readonly string[];
  /** One a token, nats. */
  logprobs?: readonly number[];
  /** One a token; sent in place of the text to who asks with `return_tokens_as_token_ids`. */
  tokenIds?: readonly number[];
  /** The likeliest tokens in the place of each, with their ids where `tokenIds` are given. */
  top?: readonly (readonly { token: string; tokenId?: number; logprob: number }[])[];
}

/** An answer cut into the tokens that are streamed. */
export interface TokenisedAnswer extends ScriptedTokens {
  tokens: string[];
  /** Tokens are named by their ids. */
  namesIds: boolean;
  finishReason: "stop" | "length";
  promptTokens: number;
}

/** All that the model reads, as one text. */
export function promptOf(body: CompletionBody): string {
  return body.messages?.map((message) => message.content).join(" ") ?? body.prompt ?? "";
}

/** Splits before white space, so that the pieces join to the text again. */
export function wordsOf(text: string): string[] {
  return text.match(/\s*\S+|\s+$/g) ?? [];
}

/** Applies `stop` and `max_tokens` to a scripted answer. */
export function tokenise(scripted: string | readonly string[] | ScriptedTokens, body: CompletionBody): TokenisedAnswer {
  const given: ScriptedTokens =
    typeof scripted === "object" && "tokens" in scripted
      ? scripted
      : { tokens: typeof scripted === "string" ? wordsOf(scripted) : scripted };
  const limit = body.max_completion_tokens ?? body.max_tokens ?? (body.messages === undefined ? 16 : Number.POSITIVE_INFINITY);
  const stops = body.stop === undefined || body.stop === null ? [] : [body.stop].flat();
  const tokens: string[] = [];
  let text = "";
  let finishReason: TokenisedAnswer["finishReason"] = "stop";
  for (const token of given.tokens) {
    if (tokens.length >= limit) {
      finishReason = "length";
      break;
    }
    const end = firstStop(text + token, stops);
    if (end !== null) {
      if (end > text.length) tokens.push(token.slice(0, end - text.length));
      break;
    }
    tokens.push(token);
    text += token;
  }
  return {
    ...given,
    tokens,
    // who asks gets some: what is not scripted is certain
    ...(body.logprobs ? certain(given, Number(body.top_logprobs ?? 0)) : {}),
    namesIds: body.return_tokens_as_token_ids === true && given.tokenIds !== undefined,
    finishReason,
    promptTokens: wordsOf(promptOf(body)).length,
  };
}

function certain(given: ScriptedTokens, count: number): Required<Pick<ScriptedTokens, "logprobs" | "top">> {
  const { tokens } = given;
  const ids = given.tokenIds;
  return {
    logprobs: given.logprobs ?? tokens.map(() => 0),
    top:
      given.top ?? tokens.map((token, index) => [{ token, tokenId: ids?.[index], logprob: given.logprobs?.[index] ?? 0 }].slice(0, count)),
  };
}

function firstStop(text: string, stops: readonly string[]): number | null {
  const found = stops.map((stop) => text.indexOf(stop)).filter((index) => index >= 0);
  return found.length === 0 ? null : Math.min(...found);
}

/** The JSON bodies of one answer in OpenAI's shape, as vLLM sends them. */
export class CompletionWire {
  private readonly base: { id: string; created: number; model: string };

  readonly chat: boolean;
  private readonly answer: TokenisedAnswer;

  constructor(chat: boolean, id: string, model: string, answer: TokenisedAnswer) {
    this.chat = chat;
    this.answer = answer;
    this.base = { id, created: Math.floor(Date.now() / 1000), model };
  }

  /** Events with text; one even where the answer is empty, for the finish reason. */
  get tokenCount(): number {
    return Math.max(1, this.answer.tokens.length);
  }

  /** `usage` of the whole answer. */
  usage(): { prompt_tokens: number; total_tokens: number; completion_tokens: number } {
    const { promptTokens, tokens } = this.answer;
    return { prompt_tokens: promptTokens, total_tokens: promptTokens + tokens.length, completion_tokens: tokens.length };
  }

  /** The answer without streaming. */
  whole(): object {
    const content = this.answer.tokens.join("");
    const finish = { logprobs: this.logprobs(0, this.answer.tokens.length), finish_reason: this.answer.finishReason, stop_reason: null };
    const choice = this.chat ? { index: 0, message: { role: "assistant", content }, ...finish } : { index: 0, text: content, ...finish };
    return { ...this.base, object: this.chat ? "chat.completion" : "text_completion", choices: [choice], usage: this.usage() };
  }

  /** The first event of a chat stream: the role; null for a completion, which has none. */
  opening(): object | null {
    return this.chat ? this.chunk({ delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }) : null;
  }

  /** The event of one token; the last one carries the finish reason. */
  token(index: number): object {
    const text = this.answer.tokens[index] ?? "";
    const last = index >= this.answer.tokens.length - 1;
    const finish = {
      logprobs: this.logprobs(index, index + 1),
      finish_reason: last ? this.answer.finishReason : null,
      ...(last ? { stop_reason: null } : {}),
    };
    return this.chunk(this.chat ? { delta: { content: text }, ...finish } : { text, ...finish });
  }

  /** The event after the last token, where `include_usage` was asked for. */
  closing(): object {
    return { ...this.base, object: this.object(), choices: [], usage: this.usage() };
  }

  private object(): string {
    return this.chat ? "chat.completion.chunk" : "text_completion";
  }

  private chunk(choice: object): object {
    return { ...this.base, object: this.object(), choices: [{ index: 0, ...choice }] };
  }

  private logprobs(start: number, end: number): object | null {
    const { logprobs, tokens, tokenIds, top, namesIds } = this.answer;
    if (logprobs === undefined) return null;
    const slice = tokens.slice(start, end);
    const values = logprobs.slice(start, end);
    if (!this.chat) return { tokens: slice, token_logprobs: values, top_logprobs: slice.map(() => null), text_offset: slice.map(() => 0) };
    const entry = (token: string, tokenId: number | undefined, logprob: number | undefined) => ({
      token: namesIds ? `token_id:${tokenId}` : token,
      logprob,
      bytes: [...Buffer.from(token)],
    });
    const content = slice.map((token, index) => ({
      ...entry(token, tokenIds?.[start + index], values[index]),
      top_logprobs: (top?.[start + index] ?? []).map((other) => entry(other.token, other.tokenId, other.logprob)),
    }));
    return { content };
  }
}
