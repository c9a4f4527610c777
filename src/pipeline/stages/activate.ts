import { ClaraError } from "../../errors.js";
import { ensureRegistered } from "./candidate.js";
import type { Stage } from "./stage.js";

/**
 * Loads the adapter where it is to serve and has every engine show that it serves it, then flips the registry, the samples and the cycle
 * in one transaction. What cannot be loaded, or shows something else, never serves: what served before goes on.
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
  return {
    next: null,
    detail: { adapterId: adapter.id, loaded: true, previousAdapterId: previous },
    end: { status: "promoted", samples: { kind: "used" } },
    commit: async (transaction) => {
      await router.activateAdapter(adapter.id, { transaction });
    },
    after: async () => {
      await router.refresh?.();
      events.emit("adapter.activated", { adapterId: adapter.id, previousAdapterId: previous, domain: cycle.domain, cycleId: cycle.id });
    },
  };
};
