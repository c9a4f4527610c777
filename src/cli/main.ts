#!/usr/bin/env node
// Nothing but Node's own modules may be imported here: on an older Node the rest fails while it is loaded, without a word that helps.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Both `src/cli/` and `dist/cli/` lie two folders below it. */
const manifest = fileURLToPath(new URL("../../package.json", import.meta.url));
const { engines } = JSON.parse(readFileSync(manifest, "utf8")) as { engines: { node: string } };
const parts = (version: string) => version.match(/\d+/g)!.map(Number);
const [wantedMajor = 0, wantedMinor = 0] = parts(engines.node);
const [major = 0, minor = 0] = parts(process.versions.node);

if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) await import("./program.js");
else {
  process.stderr.write(
    `clara: this is Node ${process.versions.node}; clara-sdk needs Node ${engines.node}. Install a newer one (https://nodejs.org).\n`,
  );
  process.exitCode = 2;
}
