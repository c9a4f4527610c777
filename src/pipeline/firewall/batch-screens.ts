import type { Store } from "../../store/store.js";
import type { Embedder } from "../../types/common.js";
import type { PipelineEmitter } from "../events.js";
import type { BatchScreen } from "../held-feedback.js";
import type { ResolvedPipelineOptions } from "../pipeline-options.js";
import { ClusterCap } from "./cluster-cap.js";
import { DisputeScreen } from "./disputes.js";
import type { Firewall } from "./firewall.js";

/** What looks at all that waits before a batch is chosen; disputes come first, so that what they hold takes no cluster's place. */
export function batchScreens(parts: {
  store: Store;
  embedder: Embedder | undefined;
  firewall: Firewall;
  options: ResolvedPipelineOptions;
  events: PipelineEmitter;
}): BatchScreen[] {
  const { store, embedder, events } = parts;
  const { name: pipeline, firewall: options, triggers: rules, bufferCapacity: capacity, clock } = parts.options;
  const screens: BatchScreen[] = [];
  if (options.disputes === "review") {
    screens.push(new DisputeScreen({ store, pipeline, firewall: parts.firewall, embedder, options, capacity, events, clock }));
  }
  if (embedder !== undefined && options.maxClusterShare < 1) {
    screens.push(new ClusterCap({ store, pipeline, embedder, options, rules, capacity, events }));
  }
  return screens;
}
