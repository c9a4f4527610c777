/**
 * Writes the JSON Schema of the wire format, which the Python runtime validates against, from src/types/runtime-protocol.ts.
 *
 *   node scripts/generate-protocol.ts           writes gpu-runtime/clara_runtime/protocol.schema.json
 *   node scripts/generate-protocol.ts --check   exits with 1 when that file is stale
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import {
  EvaluateSpec,
  EvaluationRow,
  PROTOCOL_VERSION,
  RuntimeCapabilities,
  RuntimeEvent,
  RuntimeJob,
  RuntimeSpec,
  TrainingRow,
  TrainSpec,
} from "../src/types/runtime-protocol.ts";

const target = fileURLToPath(new URL("../gpu-runtime/clara_runtime/protocol.schema.json", import.meta.url));
const nouns = { TrainSpec, EvaluateSpec, RuntimeSpec, RuntimeEvent, TrainingRow, EvaluationRow, RuntimeJob, RuntimeCapabilities };

const definitions: Record<string, unknown> = {};
for (const [name, schema] of Object.entries(nouns)) {
  // What is read is checked as it comes in (`input`), so unknown fields stay allowed: an older runtime accepts a newer minor spec.
  const { $schema: _dialect, ...definition } = z.toJSONSchema(schema, { io: "input" });
  definitions[name] = definition;
}
const document = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "CLARA runtime protocol",
  description: "Generated from src/types/runtime-protocol.ts by `npm run protocol`; do not edit.",
  version: PROTOCOL_VERSION,
  $defs: definitions,
};
const text = `${JSON.stringify(document, null, 2)}\n`;

if (process.argv.includes("--check")) {
  let present = "";
  try {
    present = readFileSync(target, "utf8");
  } catch (error) {
    process.stderr.write(`${target}: ${String(error)}\n`);
  }
  if (present !== text) {
    process.stderr.write("protocol.schema.json is stale: run `npm run protocol`\n");
    process.exitCode = 1;
  }
} else {
  writeFileSync(target, text);
}
