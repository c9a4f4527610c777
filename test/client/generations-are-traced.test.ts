import { context, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { findOpenTelemetry } from "../../src/client/generation/telemetry.js";
import { ServingClient } from "../../src/client/index.js";
import { startStandInEngine } from "../../src/testing/index.js";

describe("where the host has OpenTelemetry", () => {
  const exporter = new InMemorySpanExporter();
  beforeAll(async () => {
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
    await findOpenTelemetry();
  });
  beforeEach(() => exporter.reset());
  afterAll(() => trace.disable());

  it("each generation is a span with the conventions' attributes, and without a word of the user", async () => {
    await using engine = await startStandInEngine();
    await using serving = new ServingClient({ engine: "vllm", endpoints: [engine.url] });
    await serving.loadAdapter({ id: "office@v1", path: "p" });
    const whole = await serving.generate({ prompt: "a secret question", adapterId: "office@v1", maxTokens: 32, stop: "!" });
    const streamed = await serving.stream({ prompt: "a secret question" }).result;
    const spans = exporter.getFinishedSpans();
    expect(spans.map(({ name, kind }) => [name, kind])).toEqual([
      ["chat office@v1", SpanKind.CLIENT],
      ["chat base", SpanKind.CLIENT],
    ]);
    expect(spans[0]!.attributes).toMatchObject({
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "vllm",
      "gen_ai.request.model": "office@v1",
      "gen_ai.request.max_tokens": 32,
      "gen_ai.request.stop_sequences": ["!"],
      "gen_ai.response.id": whole.id,
      "gen_ai.response.model": "office@v1",
      "gen_ai.response.finish_reasons": ["stop"],
      "gen_ai.usage.input_tokens": 3,
      "gen_ai.usage.output_tokens": whole.usage.completionTokens,
      "server.address": "127.0.0.1",
      "server.port": engine.port,
      "clara.adapter.id": "office@v1",
    });
    expect(spans[1]!.attributes["gen_ai.response.id"]).toBe(streamed.id);
    expect(JSON.stringify(spans.map(({ attributes, events }) => ({ attributes, events })))).not.toContain("secret");
  });

  it("a failure and an abort end the span, the failure with its code", async () => {
    await using engine = await startStandInEngine({
      faults: [
        { kind: "status", status: 500, times: 1 },
        { kind: "stall", afterTokens: 1 },
      ],
    });
    await using serving = new ServingClient({ engine: "vllm", endpoints: [engine.url], retries: { max: 0 } });
    await expect(serving.generate({ prompt: "?" })).rejects.toThrow();
    for await (const _chunk of serving.stream({ prompt: "one two" })) break;
    const [failed, left] = exporter.getFinishedSpans();
    expect(failed).toMatchObject({ status: { code: SpanStatusCode.ERROR }, attributes: { "error.type": "engine_error" } });
    expect(left!.attributes["gen_ai.response.finish_reasons"]).toEqual(["aborted"]);
  });

  it("stands below the host's own span", async () => {
    await using engine = await startStandInEngine();
    await using serving = new ServingClient({ engine: "vllm", endpoints: [engine.url] });
    const host = trace.getTracer("host").startSpan("request");
    // without a context manager the active context is the one that is passed on by hand
    const original = context.active.bind(context);
    context.active = () => trace.setSpan(original(), host);
    try {
      await serving.generate({ prompt: "?" });
    } finally {
      context.active = original;
    }
    expect(exporter.getFinishedSpans()[0]!.parentSpanContext?.spanId).toBe(host.spanContext().spanId);
  });
});
