import { createReadStream } from "node:fs";
import { access } from "node:fs/promises";
import { defineCommand } from "citty";
import { ValidationError } from "../../errors.js";
import { connect, connectionArgs } from "../connection.js";
import { liveProgress } from "../progress.js";
import { ExitCode, guarded, print } from "../terminal.js";

const importFile = defineCommand({
  meta: { name: "import", description: "Take in feedback from a JSONL file, one object a line" },
  args: { ...connectionArgs, file: { type: "positional", description: "JSONL file", valueHint: "FILE", required: true } },
  run: ({ args }) =>
    guarded(async (signal) => {
      await access(args.file).catch((cause: Error) => {
        throw new ValidationError("input_invalid", `The feedback file ${args.file} cannot be read: ${cause.message}`, { cause });
      });
      await using clara = await connect(args, { worker: false, signal });
      const progress = liveProgress();
      progress.step(`Import ${args.file}`);
      const result = await clara.pipeline
        .importFeedback(createReadStream(args.file, { signal }), {
          signal,
          onProgress: ({ lines }) => progress.detail(`${lines} lines`),
        })
        .finally(() => progress.end());
      print(result, {
        json: args.json,
        text: () =>
          [
            `${result.lines} received, ${result.accepted} accepted, ${result.rejected} rejected, ${result.duplicates} duplicates, ${result.review} for review`,
            ...result.errors.map((error) => `  line ${error.line}: ${error.message}`),
          ].join("\n"),
      });
      return ExitCode.ok;
    }),
});

export const feedback = defineCommand({
  meta: { name: "feedback", description: "Feedback of users" },
  subCommands: { import: importFile },
});
