import type { GateDecision, GateReason } from "../../types/cycle.js";
import type { SampleEnd } from "../sample-ledger.js";
import { ensureRegistered } from "./candidate.js";
import type { Stage, StageResult } from "./stage.js";

/** Puts the candidate on record as rejected, with the reasons. What serves is unchanged. */
export const rollback: Stage = async (context) => {
  const { cycle, state, router, serving, events, options, signal } = context;
  const gate = cycle.gate as GateDecision | null;
  const reasons = reasonsOf(gate, state.failure);
  const adapter = await ensureRegistered(context);
  const summary = reasons.map((reason) => `${reason.criterion}: ${reason.message}`).join("; ");
  if (adapter.status !== "rejected") await router.rejectAdapter(adapter.id, summary.slice(0, 2000), { signal });
  if (state.loadedForEvaluators === true) await serving.unloadAdapter(adapter.id, { signal }).catch(() => {}); // it holds no traffic: the engine drops it in time
  return {
    next: null,
    detail: { adapterId: adapter.id, decision: gate?.decision ?? "failed", reasons },
    end: endOf(gate, state.failure, summary, options.maxSampleAttempts),
    after: () => events.emit("adapter.rolledback", { adapterId: adapter.id, domain: cycle.domain, cycleId: cycle.id, reasons }),
  };
};

function reasonsOf(gate: GateDecision | null, failure: { code: string; message: string } | undefined): GateReason[] {
  if (failure !== undefined) return [{ criterion: "activation", verdict: "fail", message: failure.message }];
  return gate?.reasons.filter((reason) => reason.verdict !== "pass") ?? [];
}

function endOf(
  gate: GateDecision | null,
  failure: { code: string; message: string } | undefined,
  summary: string,
  maxAttempts: number,
): NonNullable<StageResult["end"]> {
  const failed: SampleEnd = { kind: "failed", reason: summary, maxAttempts };
  if (failure !== undefined) return { status: "failed", samples: failed, error: failure };
  if (gate?.decision === "reject") return { status: "rejected", samples: { kind: "rejected_by_gate", reason: summary } };
  return { status: "inconclusive", samples: { kind: "inconclusive" } };
}
