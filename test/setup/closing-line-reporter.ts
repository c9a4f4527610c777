import type { Reporter, SerializedError, TestModule } from "vitest/node";

/** Ends a run with one line that a machine can read: `N passed, N failed`, and `, N skipped` where some were. */
export default class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const count = { passed: 0, failed: 0, skipped: 0 };
    for (const module of modules) {
      let failedTests = 0;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === "passed") count.passed += 1;
        else if (state === "failed") failedTests += 1;
        else count.skipped += 1;
      }
      // A file that does not load, or a failing hook, is a failure too.
      count.failed += module.state() === "failed" ? Math.max(failedTests, 1) : failedTests;
    }
    count.failed += unhandledErrors.length;
    const line = `${count.passed} passed, ${count.failed} failed${count.skipped > 0 ? `, ${count.skipped} skipped` : ""}\n`;
    // After the summary of the other reporters, as the last line.
    process.once("exit", () => process.stdout.write(line));
  }
}
