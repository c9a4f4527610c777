import { expect, test } from "vitest";
import { runTs } from "../setup/index.js";

test("neither the core nor clara-sdk/uds3 loads a client or a parser before it is needed", async () => {
  const child = runTs(new URL("children/loaded-packages.ts", import.meta.url));
  const lines = [await child.nextLine(), await child.nextLine(), await child.nextLine(), await child.nextLine()];
  const [core, connector, used, configured] = lines.map((line) => JSON.parse(line) as string[]);
  const clients = ["chromadb", "neo4j-driver", "yaml"];
  expect(core).toContain("pg");
  expect(core!.filter((name) => clients.includes(name))).toEqual([]);
  expect(connector!.filter((name) => clients.includes(name))).toEqual([]);
  // The way of looking does see a client that is loaded.
  expect(used).toContain("neo4j-driver");
  expect(used).not.toContain("chromadb");
  expect(configured).toContain("yaml");
  expect(await child.ended).toBe(0);
});
