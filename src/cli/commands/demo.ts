import { writeFile } from "node:fs/promises";
import { defineCommand } from "citty";
import { formatReport } from "../demo/report.js";
import { runDemo } from "../demo/run.js";
import { liveProgress } from "../progress.js";
import { ExitCode, guarded } from "../terminal.js";
import { repeatedOption } from "../usage.js";

export const demo = defineCommand({
  meta: { name: "demo", description: "Real feedback becomes a trained, gated and activated adapter, on this machine" },
  args: {
    feedback: { type: "string", description: "Your own JSONL file instead of the examples; repeatable", valueHint: "FILE" },
    json: { type: "string", description: "Also write the report to this file", valueHint: "FILE" },
    keep: { type: "string", description: "Keep the state in this empty folder", valueHint: "DIR" },
    trainer: { type: "enum", options: ["lora", "qlora"], default: "lora", description: "How adapters are trained" },
    engine: { type: "enum", options: ["local", "vllm"], default: "local", description: "What answers: the bundled runtime, or vLLM" },
  },
  run: ({ args, rawArgs }) =>
    guarded(async (signal) => {
      const feedback = repeatedOption(rawArgs, "feedback");
      const progress = liveProgress();
      const report = await runDemo({ feedback, keep: args.keep, trainer: args.trainer, engine: args.engine }, progress, { signal }).finally(
        () => progress.end(),
      );
      process.stdout.write(`${formatReport(report)}\n`);
      if (args.json) await writeFile(args.json, `${JSON.stringify(report, null, 2)}\n`);
      return report.learned ? ExitCode.ok : ExitCode.failed;
    }),
});
