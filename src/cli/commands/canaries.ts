import { defineCommand } from "citty";
import type { Canary } from "../../types/index.js";
import { connect, connectionArgs } from "../connection.js";
import { table } from "../table.js";
import { ExitCode, guarded, print } from "../terminal.js";

const list = defineCommand({
  meta: { name: "list", description: "Versions on trial, and how earlier trials ended" },
  args: { ...connectionArgs, domain: { type: "string", description: "Only this domain", valueHint: "DOMAIN" } },
  run: ({ args }) =>
    guarded(async (signal) => {
      await using clara = await connect(args, { worker: false, signal });
      const canaries = await clara.pipeline.canaries.list({ domain: args.domain }, { signal });
      print(canaries, {
        json: args.json,
        text: () =>
          canaries.length === 0
            ? "No canaries yet."
            : table(canaries.map(rowOf), { head: ["canary", "adapter", "beside", "share", "ratings", "status", "reason"] }),
      });
      return ExitCode.ok;
    }),
});

/** `promote` and `rollback` differ in one word. */
function ending(verb: "promote" | "rollback", description: string) {
  return defineCommand({
    meta: { name: verb, description },
    args: {
      ...connectionArgs,
      canary: { type: "positional", description: "The canary's id", valueHint: "ID", required: true },
      reason: { type: "string", description: "Kept in its record", valueHint: "TEXT" },
    },
    run: ({ args }) =>
      guarded(async (signal) => {
        await using clara = await connect(args, { worker: false, signal });
        const canary = await clara.pipeline.canaries[verb](args.canary, { reason: args.reason, signal });
        const { adapterId, domain, status } = canary;
        print(canary, { json: args.json, text: () => `${adapterId} is ${status.replace("_", " ")} in ${domain}.` });
        return ExitCode.ok;
      }),
  });
}

function rowOf({ id, adapterId, incumbentId, share, evidence, status, reason }: Canary): string[] {
  const rated = [evidence?.canary, evidence?.incumbent].map((arm) => `${arm?.meanReward?.toFixed(2) ?? "-"} (${arm?.ratings ?? 0})`);
  return [id, adapterId, incumbentId ?? "the base model", `${100 * share} %`, rated.join(" / "), status.replace("_", " "), reason ?? ""];
}

export const canaries = defineCommand({
  meta: { name: "canaries", description: "Versions on trial on a share of the users" },
  subCommands: {
    list,
    promote: ending("promote", "End a trial: its version serves its domain"),
    rollback: ending("rollback", "End a trial: what served before answers everybody again"),
  },
});
