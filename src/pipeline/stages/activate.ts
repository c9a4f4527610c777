import { ClaraError } from "../../errors.js";
import type { Canary } from "../../types/canary.js";
import { chooseEntry, slowLimit } from "../canary/canary-entry.js";
import { ensureRegistered } from "./candidate.js";
import type { Stage, StageContext, StageResult } from "./stage.js";

/**
 * Loads the adapter where it is to serve and has every engine show that it serves it, then flips the registry, the samples and the cycle
 * in one transaction, or puts the adapter on trial as a canary. What cannot be loaded, or shows something else, never serves: what served before goes on.
 */
export const activate: Stage = async (context) => {
  const { cycle, state, router, serving, events, signal } = context;
  await router.refresh?.({ signal });
  const previous = router.activeAdapter(cycle.domain)?.id ?? null;
  if (previous !== cycle.adapter_id && previous !== (state.evaluatedAgainst ?? null)) {
    return {
      next: "evaluate",
      detail: {
        postponed: `${previous ?? "the base model"} serves the domain now; compared with ${state.evaluatedAgainst ?? "the base model"}`,
      },
    };
  }
  const adapter = await ensureRegistered(context);
  try {
    await serving.loadAdapter({ id: adapter.id, path: adapter.path, predecessorId: previous }, { signal });
  } catch (error) {
    if (signal.aborted || (ClaraError.isInstance(error) && error.isRetryable)) throw error;
    const failure = {
      code: ClaraError.isInstance(error) ? error.code : "internal",
      message: error instanceof Error ? error.message : String(error),
    };
    return { next: "rollback", detail: { adapterId: adapter.id, loaded: false, error: failure }, state: { failure } };
  }
  await context.failpoint("activate.loaded");
  const entry = await chooseEntry(context.store, cycle.domain, context.options.canary, context.options.clock());
  if (entry.isCanary) return onTrial(context, { adapterId: adapter.id, previousAdapterId: previous, why: entry.why });
  return {
    next: null,
    detail: { adapterId: adapter.id, loaded: true, previousAdapterId: previous, canary: { started: false, why: entry.why } },
    end: { status: "promoted", samples: { kind: "used" } },
    commit: async (transaction) => {
      await router.activateAdapter(adapter.id, { transaction });
    },
    after: async () => {
      await noticeChange(context);
      events.emit("adapter.activated", { adapterId: adapter.id, previousAdapterId: previous, domain: cycle.domain, cycleId: cycle.id });
    },
  };
};

/** A share of the users gets it first; the pipeline's `canaries` judge what they make of it. */
async function onTrial(
  context: StageContext,
  { adapterId, previousAdapterId, why }: { adapterId: string; previousAdapterId: string | null; why: string },
): Promise<StageResult> {
  const { store, router, options, events } = context;
  const { share, limitMs } = options.canary;
  const slowAboveMs = await slowLimit(store, previousAdapterId, options.canary);
  let canary: Canary | null = null;
  return {
    next: null,
    detail: { adapterId, loaded: true, previousAdapterId, canary: { started: true, share, why } },
    end: { status: "promoted", samples: { kind: "used" } },
    commit: async (transaction) => {
      canary = await router.startCanary(adapterId, { share, limitMs, slowAboveMs }, { transaction });
    },
    after: async () => {
      await noticeChange(context);
      if (canary !== null) events.emit("canary.started", { canary });
    },
  };
}

/** The change was made in the cycle's transaction: only now is it true, and databases that carry no notifications told nobody. */
async function noticeChange({ store, router }: StageContext): Promise<void> {
  store.notifications.announce("adapters", null);
  await router.refresh?.();
}
