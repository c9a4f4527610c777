import { defineCommand } from "citty";
import { connect, connectionArgs, engineArgs, servingOf } from "../connection.js";
import { table } from "../table.js";
import { ExitCode, guarded, print } from "../terminal.js";

const list = defineCommand({
  meta: { name: "list", description: "Registered adapter versions" },
  args: { ...connectionArgs, domain: { type: "string", description: "Only this domain", valueHint: "DOMAIN" } },
  run: ({ args }) =>
    guarded(async (signal) => {
      await using clara = await connect(args, { worker: false, signal });
      const adapters = await clara.router.listAdapters({ domain: args.domain }, { signal });
      print(adapters, {
        json: args.json,
        text: () =>
          adapters.length === 0
            ? "No adapters yet."
            : table(
                adapters.map(({ id, domain, status, createdAt, baseModel }) => [id, domain, status, createdAt, baseModel]),
                { head: ["adapter", "domain", "status", "created", "base model"] },
              ),
      });
      return ExitCode.ok;
    }),
});

const rollback = defineCommand({
  meta: { name: "rollback", description: "Let the version serve that served before, or the base model" },
  args: { ...connectionArgs, domain: { type: "positional", description: "Domain", valueHint: "DOMAIN", required: true } },
  run: ({ args }) =>
    guarded(async (signal) => {
      await using clara = await connect(args, { worker: false, signal });
      const adapter = await clara.router.rollback(args.domain, { signal });
      print(adapter, { json: args.json, text: () => `${args.domain} is answered by ${adapter?.id ?? "the base model"} now.` });
      return ExitCode.ok;
    }),
});

const verify = defineCommand({
  meta: { name: "verify", description: "Have every endpoint show that it serves what was trained" },
  args: {
    ...connectionArgs,
    ...engineArgs,
    adapter: { type: "positional", description: "Adapter version", valueHint: "NAME@vN", required: true },
  },
  run: ({ args }) =>
    guarded(async (signal) => {
      await using clara = await connect(args, { ...servingOf(args), worker: false, signal });
      const { id, path } = await clara.router.getAdapter(args.adapter, { signal });
      // has each endpoint prove it, also where it is loaded already, and rejects where one does not
      const { endpoints } = await clara.serving.loadAdapter({ id, path }, { signal });
      const proofs = endpoints.flatMap(({ proof }) => proof ?? []);
      print(proofs, {
        json: args.json,
        text: () =>
          table(
            proofs.map(({ endpoint, status, difference, tolerance, problems }) => [
              endpoint,
              status,
              nats(difference),
              nats(tolerance),
              problems.join("; "),
            ]),
            { head: ["endpoint", "adapter", "difference", "tolerated", "problems"] },
          ),
      });
      return ExitCode.ok;
    }),
});

/** Mean nats a token, for people. */
function nats(value: number | null): string {
  return value === null ? "" : value.toExponential(1);
}

export const adapters = defineCommand({
  meta: { name: "adapters", description: "The adapter registry" },
  subCommands: { list, verify, rollback },
});
