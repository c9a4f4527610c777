import { defineCommand } from "citty";
import { connect, connectionArgs } from "../connection.js";
import { ExitCode, guarded, say } from "../terminal.js";

export const worker = defineCommand({
  meta: { name: "worker", description: "Take training jobs of this database until stopped" },
  args: {
    ...connectionArgs,
    pipeline: { type: "boolean", default: false, description: "Also run the learning cycles' triggers here" },
  },
  run: ({ args }) =>
    guarded(async (signal) => {
      await using clara = await connect(args, { worker: true, signal });
      if (args.pipeline) await clara.pipeline.start();
      say("The worker takes jobs. Stop it with Ctrl-C.");
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve());
      });
      return ExitCode.ok;
    }),
});
