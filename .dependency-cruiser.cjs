/**
 * The arrows of the house (docs/architecture.md): each room may import only the rooms below it.
 *   types, errors ← support ← store, runtime, embedders ← datasets, router, client, training ← pipeline, uds3 ← clara ← config, integrations, cli
 */
const floors = [
  { rooms: ["types", "errors.ts"], below: [] },
  { rooms: ["support"], below: ["types", "errors.ts"] },
  { rooms: ["store", "runtime", "embedders"], below: ["types", "errors.ts", "support"] },
  { rooms: ["datasets", "router", "client", "training"], below: ["types", "errors.ts", "support", "store", "runtime", "embedders"] },
  { rooms: ["pipeline"], below: ["types", "errors.ts", "support", "store", "embedders"] },
  { rooms: ["uds3"], below: ["types", "errors.ts", "support", "store", "datasets"] },
  { rooms: ["testing"], below: ["types", "errors.ts", "support"] },
];

const path = (rooms) => `^src/(${rooms.map((room) => (room.endsWith(".ts") ? room.replace(".", "\\.") : `${room}/`)).join("|")})`;

module.exports = {
  forbidden: [
    { name: "no-circles", comment: "Two files that import each other are one file.", severity: "error", from: { path: "^src" }, to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } } },
    ...floors.flatMap(({ rooms, below }) =>
      rooms.map((room) => ({
        name: `arrow-${room.replace(".ts", "")}`,
        comment: `src/${room} may import only itself and: ${below.join(", ") || "nothing of ours"}. Take anything else as a constructor argument typed by a small interface.`,
        severity: "error",
        from: { path: path([room]) },
        to: { path: "^src/", pathNot: path([room, ...below]) },
      })),
    ),
    {
      name: "only-clara-wires",
      comment: "Only src/clara.ts, src/index.ts, the configuration file, the command line and the integrations see every room.",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(clara\\.ts|index\\.ts|config/|cli/|integrations/)" },
      to: { path: "^src/(clara|index)\\.ts" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default"] },
  },
};
