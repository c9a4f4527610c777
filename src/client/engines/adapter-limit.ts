import { AttemptError } from "../http/attempt-error.js";

/** The engine holds as many adapters as it may: one of them must go before another one is loaded. */
export class AdapterLimit extends AttemptError {}
