import ora from "ora";

/** Least time between two progress lines where there is no terminal to redraw, milliseconds. */
const QUIET_INTERVAL_MS = 5_000;

/** Called with the step that runs now, and with what it is doing. */
export interface Progress {
  step(title: string): void;
  detail(text: string): void;
}

/** A bar of ten cells and the percentage. */
export function bar(percent: number): string {
  const filled = Math.round(Math.max(0, Math.min(100, percent)) / 10);
  return `${"█".repeat(filled)}${"░".repeat(10 - filled)} ${percent.toFixed(0).padStart(3)} %`;
}

/** Live progress on stderr: a spinner with details on a terminal, plain lines elsewhere. */
export function liveProgress(): Progress & { end(): void } {
  const spinner = ora({ stream: process.stderr });
  const live = process.stderr.isTTY === true;
  let title = "";
  let lastShown = 0;
  const details = new Map<string, string>();
  return {
    step(text) {
      if (title !== "" && live) spinner.succeed(title);
      title = text;
      details.clear();
      if (live) spinner.start(title);
      else process.stderr.write(`• ${title}\n`);
    },
    detail(text) {
      // "building: train 40 %" replaces the last line of the same subject.
      const subject = text.includes(":") ? text.slice(0, text.indexOf(":")) : "";
      details.set(subject, text);
      if (live) {
        spinner.text = `${title}\n  ${[...details.values()].join("\n  ")}`;
        return;
      }
      if (Date.now() - lastShown < QUIET_INTERVAL_MS) return;
      lastShown = Date.now();
      process.stderr.write(`    ${[...details.values()].join("; ")}\n`);
    },
    end() {
      if (title !== "" && live) spinner.succeed(title);
      title = "";
    },
  };
}
