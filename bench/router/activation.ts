/**
 * What activating one adapter costs a router that has many: `activation.ts ADAPTERS EXAMPLES` prints the CPU time of the first build and the
 * median of activations, a new adapter and a new version of one by turns.
 */
import { AdapterRouter, MemoryAdapterRegistry } from "../../src/router/index.js";
import { median } from "../statistics.ts";
import { drawAdapters } from "./drawn-adapters.ts";

const ACTIVATIONS = 20;

const [adapters, examples] = process.argv.slice(2).map(Number) as [number, number];
const registry = new MemoryAdapterRegistry();
const register = async (domain: string, texts: string[]): Promise<string> => {
  const adapter = { name: domain, domain, path: `adapters/${domain}`, baseModel: "none", examples: texts };
  return (await registry.register(adapter)).id;
};

async function cpuMilliseconds(run: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

const drawn = drawAdapters(adapters + ACTIVATIONS, examples);
for (const { domain, examples: texts } of drawn.slice(0, adapters)) await registry.activate(await register(domain, texts));
const router = new AdapterRouter({ registry, refreshIntervalMs: 0 });
const firstBuild = await cpuMilliseconds(() => router.refresh());
const activations: number[] = [];
for (const [index, { domain, examples: texts }] of drawn.slice(adapters).entries()) {
  const id = await register(index % 2 === 0 ? domain : drawn[index]!.domain, texts);
  activations.push(await cpuMilliseconds(() => router.activateAdapter(id)));
}
process.stdout.write(`${JSON.stringify({ firstBuildMs: firstBuild, activationMs: median(activations) })}\n`);
