import { NotFoundError } from "../errors.js";

/** The refusal of an adapter that nobody registered, and of one that the caller may not know of: the two must not be told apart. */
export function adapterNotFound(id: string): NotFoundError {
  return new NotFoundError("adapter_not_found", `No adapter ${id} is registered. List them with listAdapters().`, { details: { id } });
}
