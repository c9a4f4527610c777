import { ConflictError } from "../errors.js";
import { AttemptError } from "./http/attempt-error.js";

/** The adapter was rejected or withdrawn for good: it answers no pin, and no engine gets it again. */
export class RevokedAdapter extends AttemptError {
  constructor(id: string, reason: string) {
    const message = `Adapter ${id} was rejected or withdrawn (${reason}) and answers no more. Pin another version, or leave the choice to the router.`;
    super(new ConflictError("adapter_state_conflict", message, { details: { id, reason } }), { failover: false, retry: false });
  }
}
