export { createHarness, describeEachDatabase, describeEachStore, type StoreHarness } from "./each-store.js";
export { createDatabase, postgresUrl, runOn, stockPostgresUrl, type TestDatabase } from "./postgres.js";
export { type OwnServer, startOwnServer } from "./postgres-server.js";
export { pythonWithPyarrow } from "./pyarrow.js";
export { runTs, type TsProcess } from "./run-ts.js";
