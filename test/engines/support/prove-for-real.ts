import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { ServingClient, type ServingClientOptions } from "../../../src/client/index.js";
import type { EndpointProvider } from "../../../src/types/common.js";
import type { TrainedAdapter } from "./trained-adapters.js";

/** A real engine that is running, with adapters that were really trained. */
export interface RealEngine {
  provider: EndpointProvider;
  engine: "vllm" | "runtime";
  adapters: TrainedAdapter[];
  /** Ends its process at once, as a crash does. */
  kill(): void;
}

/** What a real engine must show of real adapters; `activations` healthy ones are proven while it answers questions. */
export function describeProofs(name: string, get: () => RealEngine, activations: number): void {
  const open = (options: Partial<ServingClientOptions> = {}) => {
    const { provider, engine, adapters } = get();
    const directory = {
      getAdapter: async (id: string) => adapters.find((adapter) => adapter.id === id)!,
      adapterIdentity: async (id: string) => adapters.find((adapter) => adapter.id === id)?.identity ?? null,
    };
    return new ServingClient({ engine, endpoints: [provider], adapters: directory, temperature: 0, health: { intervalMs: 0 }, ...options });
  };

  describe(`adapters on ${name}`, () => {
    it("are proven, told apart from base and predecessor, and answer what they learnt", { timeout: 300_000 }, async () => {
      const [first, second] = get().adapters as [TrainedAdapter, TrainedAdapter];
      await using serving = open();
      for (const { id } of get().adapters) await serving.unloadAdapter(id);
      await serving.loadAdapter(first);
      const { endpoints } = await serving.loadAdapter({ ...second, predecessorId: first.id });
      const proof = endpoints[0]!.proof!;
      expect(proof).toMatchObject({ status: "proven", predecessorId: first.id, prompts: 8, problems: [] });
      expect(proof.difference!).toBeLessThan(proof.tolerance!);
      expect(proof.fromPredecessor!).toBeGreaterThan(10 * proof.tolerance!);
      expect(proof.fromBase!).toBeGreaterThan(10 * proof.tolerance!);
      const texts = await serving.generateBatch([first, second].map(({ id }) => ({ prompt: "Where does team 2 meet?", adapterId: id })));
      expect(texts.map((one) => (one.status === "fulfilled" ? one.value.text : one.reason.message))).toEqual([
        "Team 2 meets in floor four.",
        "Team 2 meets in room nine.",
      ]);
    });

    it("with the weights of another version in the folder, or with weights that do nothing, are caught", { timeout: 300_000 }, async () => {
      const [first, second] = get().adapters as [TrainedAdapter, TrainedAdapter];
      const folder = await mkdtemp(join(dirname(first.path), "wrong-"));
      await mkdir(folder, { recursive: true });
      try {
        await cp(first.path, join(folder, "wrong@v1"), { recursive: true });
        await using serving = open();
        const wrong = { id: "wrong@v1", path: join(folder, "wrong@v1"), identity: second.identity };
        await expect(serving.loadAdapter(wrong)).rejects.toMatchObject({ code: "adapter_unproven" });
        expect((await serving.listAdapters()).map(({ id }) => id)).not.toContain("wrong@v1");
        const base = {
          ...first.identity,
          fingerprint: { prompts: first.identity.fingerprint.prompts.map((one) => ({ ...one, answer: one.base, shift: 0 })) },
        };
        await expect(serving.loadAdapter({ ...wrong, identity: base })).rejects.toMatchObject({ code: "adapter_unproven" });
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });

    it("whose tensors are named for modules that the base lacks are refused, or caught (vLLM issues 34186, 55193)", async () => {
      const [first] = get().adapters as [TrainedAdapter];
      const folder = await mkdtemp(join(dirname(first.path), "prefix-"));
      try {
        await cp(first.path, join(folder, "prefix@v1"), { recursive: true });
        await renameModules(join(folder, "prefix@v1", "adapter_model.safetensors"));
        await using serving = open();
        const lost = { id: "prefix@v1", path: join(folder, "prefix@v1"), identity: first.identity };
        // vLLM loads it and answers as the base does
        const code = get().engine === "vllm" ? "adapter_unproven" : "adapter_invalid";
        await expect(serving.loadAdapter(lost)).rejects.toMatchObject({ code, isRetryable: false });
        expect((await serving.listAdapters()).map(({ id }) => id)).not.toContain("prefix@v1");
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });

    it(`raise no alarm in ${activations} activations while it answers questions, and no question fails`, { timeout: 600_000 }, async () => {
      const [first, second] = get().adapters as [TrainedAdapter, TrainedAdapter];
      await using serving = open({ maxConcurrency: 16 });
      await serving.loadAdapter(first);
      let isOver = false;
      const answers = new Set<string>();
      const asking = Array.from({ length: 4 }, async () => {
        while (!isOver) {
          const reply = await serving.stream({ prompt: "Where does team 2 meet?", adapterId: first.id }).result;
          answers.add(`${reply.model}: ${reply.text}`);
        }
      });
      const alarms: string[] = [];
      for (let count = 0; count < activations; count += 1) {
        await serving.loadAdapter({ ...second, predecessorId: first.id }).catch((error: Error) => alarms.push(error.message));
        await serving.unloadAdapter(second.id);
      }
      isOver = true;
      await Promise.all(asking);
      expect(alarms).toEqual([]);
      expect([...answers]).toEqual([`${first.id}: Team 2 meets in floor four.`]);
    });

    it("are loaded and proven again after a crash, before they answer", { timeout: 300_000 }, async () => {
      const [first] = get().adapters as [TrainedAdapter];
      await using serving = open({ retries: { max: 5 } });
      await serving.loadAdapter(first);
      const before = serving.endpoints()[0]!.adapters[0]!.proof!;
      get().kill();
      const reply = await serving.generate({ prompt: "Where does team 2 meet?", adapterId: first.id });
      expect(reply.text).toBe("Team 2 meets in floor four.");
      const after = serving.endpoints()[0]!.adapters[0]!.proof!;
      expect(after.status).toBe("proven");
      expect(after.provenAt > before.provenAt).toBe(true);
    });
  });
}

/** Puts every module of a file of safetensors below another one, as a multimodal wrapper of the base would. */
async function renameModules(file: string): Promise<void> {
  const bytes = await readFile(file);
  const end = 8 + Number(bytes.readBigUInt64LE());
  const header = bytes.toString("utf8", 8, end).replaceAll("base_model.model.", "base_model.model.language_model.");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  await writeFile(file, Buffer.concat([length, Buffer.from(header), bytes.subarray(end)]));
}
