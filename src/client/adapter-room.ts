import type { Endpoint } from "./balancing/endpoint.js";
import { AdapterLimit } from "./engines/adapter-limit.js";
import type { Engine } from "./engines/engine.js";
import type { Attempt } from "./http/attempt.js";
import { asClaraError } from "./http/engine-errors.js";
import type { AdapterDirectory } from "./ports.js";

/** What making room works with. */
export interface RoomParts {
  engine: Engine;
  adminMs: number;
  directory: AdapterDirectory | undefined;
}

const LOOK_MS = 10;

/**
 * Loads an adapter where an engine holds only so many: the one that was asked for longest ago and runs nothing goes, and comes back when it
 * is asked for. Where all are in use it waits for one; what could not come back stays.
 */
export async function loadWithRoom(
  parts: RoomParts,
  attempt: Attempt,
  endpoint: Endpoint,
  adapter: { id: string; path: string },
): Promise<"loaded" | "already_loaded"> {
  let leave = (): void => undefined;
  try {
    for (;;) {
      try {
        attempt.enter("answer to loading an adapter", parts.adminMs);
        return await parts.engine.loadAdapter(attempt, adapter);
      } catch (error) {
        if (!(error instanceof AdapterLimit)) throw error;
        attempt.enter("room for another adapter", parts.adminMs);
        // it counts as one of those that run, so that of the loaded ones at least one does not
        if (endpoint.turns.callsOf(adapter.id) === 0) leave = await endpoint.turns.enter(adapter.id, attempt);
        await makeRoom(parts, attempt, endpoint, error);
      }
    }
  } finally {
    leave();
  }
}

async function makeRoom({ engine, directory }: RoomParts, attempt: Attempt, endpoint: Endpoint, limit: AdapterLimit): Promise<void> {
  if (directory === undefined) throw limit;
  const { shelf, turns } = endpoint;
  const served = (await engine.models(attempt)).filter(({ isAdapter }) => isAdapter).map(({ id }) => id);
  // the rest are being loaded now, and cannot go before they are
  if (served.length < (Number.isFinite(turns.slots) ? turns.slots : 1)) return pause(LOOK_MS, attempt.signal);
  const used = shelf.readyAdapters;
  // what this client never asked for goes first
  const candidates = new Set(served.sort((left, right) => used.indexOf(left) - used.indexOf(right)));
  const isIdle = (id: string) => turns.callsOf(id) === 0 && !shelf.isBusy(id);
  while (candidates.size > 0) {
    const id = [...candidates].find(isIdle);
    if (id === undefined) await pause(LOOK_MS, attempt.signal);
    else if (!(await isKnown(id, directory))) candidates.delete(id);
    else if (isIdle(id)) {
      await shelf.alone(id, async () => {
        shelf.forget(id);
        await engine.unloadAdapter(attempt, id);
      });
      return;
    }
    if (attempt.reason !== null) throw attempt.reason;
  }
  throw limit;
}

/** What the directory does not know was loaded by hand, and nobody would load it again. */
async function isKnown(id: string, directory: AdapterDirectory): Promise<boolean> {
  try {
    await directory.getAdapter(id);
    return true;
  } catch (error) {
    if (asClaraError(error).code === "adapter_not_found") return false;
    throw error;
  }
}

/** Waits, or returns as soon as the signal aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
