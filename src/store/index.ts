export { databaseErrorCode, mapDatabaseError } from "./database-error.js";
export { type ChangeListener, Notifications, notifyOthers, type Topic } from "./notifications.js";
export { DEFAULT_DATA_DIR, openStore, type StoreOptions } from "./open-store.js";
export type { Database } from "./schema.js";
export type { Executor, Journal, JournalEntry, Store, StoreCapabilities } from "./store.js";
export { inTransaction } from "./transaction.js";
