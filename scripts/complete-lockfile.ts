/**
 * Adds to package-lock.json the optional platform packages that npm left out because it could not read them when the
 * lock was made (a registry mirror may hold only some platforms); without them `npm ci` calls the lock out of step.
 *
 *   npm install --package-lock-only && node scripts/complete-lockfile.ts
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

interface LockedPackage {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  optionalDependencies?: Record<string, string>;
  os?: string[];
  cpu?: string[];
  libc?: string[];
}

const SYSTEMS = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"];
const CPUS = ["arm64", "arm", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "wasm32", "x64"];

const path = fileURLToPath(new URL("../package-lock.json", import.meta.url));
const lock = JSON.parse(readFileSync(path, "utf8")) as { packages: Record<string, LockedPackage> };

const added: Record<string, LockedPackage> = {};
for (const owner of Object.values(lock.packages)) {
  for (const [name, range] of Object.entries(owner.optionalDependencies ?? {})) {
    const place = `node_modules/${name}`;
    if (lock.packages[place] || added[place]) continue;
    const parts = name.split(/[/-]/);
    // rollup, rolldown and others write the ABI after the processor: linux-x64-gnu, win32-x64-msvc, linux-arm-gnueabihf.
    const os = SYSTEMS.find((system) => parts.includes(system));
    const cpu = CPUS.find((processor) => parts.some((part) => part === processor || (part === "ppc64le" && processor === "ppc64")));
    const isMusl = parts.some((part) => part.startsWith("musl"));
    const isGnu = parts.some((part) => part.startsWith("gnu"));
    if (!os && !cpu) continue;
    added[place] = {
      version: range.replace(/^[~^]/, ""),
      ...(cpu ? { cpu: [cpu] } : {}),
      ...(owner.dev ? { dev: true } : {}),
      ...(os === "linux" && (isMusl || isGnu) ? { libc: [isMusl ? "musl" : "glibc"] } : {}),
      optional: true,
      ...(os ? { os: [os] } : {}),
    };
  }
}
const [root, ...rest] = Object.entries({ ...lock.packages, ...added });
lock.packages = Object.fromEntries([root as [string, LockedPackage], ...rest.sort(([a], [b]) => (a < b ? -1 : 1))]);
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`${Object.keys(added).length} packages added\n`);
