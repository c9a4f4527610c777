import { EngineError, RuntimeUnavailableError } from "../../../src/errors.js";
import type { ServingPort } from "../../../src/pipeline/index.js";

/** Stands in for an engine: echoes as the base model, and remembers what is loaded. */
export class FakeServing implements ServingPort {
  isDown = false;
  refusesAdapters = false;
  readonly loaded = new Set<string>();
  generated = 0;

  async generate({ prompt }: { prompt: string }): Promise<{ text: string }> {
    this.#assertUp();
    this.generated++;
    return { text: `The base answers ${prompt}` };
  }

  async loadAdapter({ id }: { id: string; path: string }): Promise<void> {
    this.#assertUp();
    if (this.refusesAdapters) throw new EngineError("adapter_invalid", `The engine refuses ${id}: its rank is too high.`);
    this.loaded.add(id);
  }

  async unloadAdapter(id: string): Promise<void> {
    this.loaded.delete(id);
  }

  #assertUp(): void {
    if (this.isDown) throw new RuntimeUnavailableError("engine_unavailable", "The engine is down. Start it.");
  }
}
