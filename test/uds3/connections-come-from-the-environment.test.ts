import { expect, test } from "vitest";
import { Uds3, uds3FromEnvironment } from "../../src/uds3/index.js";

const hosts = { UDS3_POSTGRES_HOST: "192.168.178.94", UDS3_CHROMA_HOST: "chroma.local", UDS3_NEO4J_HOST: "::1" };

test("the hosts alone give UDS3's own ports and database", async () => {
  const connections = uds3FromEnvironment(hosts);
  expect(connections).toEqual({
    postgres: "postgres://192.168.178.94:5432/postgres",
    chroma: "http://chroma.local:8000",
    neo4j: { url: "neo4j://[::1]:7687" },
  });
  await new Uds3(connections).close();
});

test("ports, database and logins are taken as they are, whatever characters a password has", () => {
  const given = {
    ...hosts,
    UDS3_POSTGRES_PORT: "5433",
    UDS3_POSTGRES_DATABASE: "akten",
    UDS3_POSTGRES_USER: "clara",
    UDS3_POSTGRES_PASSWORD: "p@ss/w:rd?#",
    UDS3_CHROMA_PORT: "8001",
    UDS3_NEO4J_PORT: "7688",
    UDS3_NEO4J_PASSWORD: "gr@ph",
  };
  const { postgres, chroma, neo4j } = uds3FromEnvironment(given);
  const url = new URL(postgres as string);
  expect([url.username, decodeURIComponent(url.password), url.host, url.pathname]).toEqual([
    "clara",
    given.UDS3_POSTGRES_PASSWORD,
    "192.168.178.94:5433",
    "/akten",
  ]);
  expect(chroma).toBe("http://chroma.local:8001");
  expect(neo4j).toEqual({ url: "neo4j://[::1]:7688", auth: { user: "neo4j", password: "gr@ph" } });
});

test.each([
  ["UDS3_POSTGRES_HOST", ""],
  ["UDS3_CHROMA_HOST", undefined],
  ["UDS3_NEO4J_HOST", "user:secret@graph"],
  ["UDS3_CHROMA_HOST", "http://chroma"],
  ["UDS3_POSTGRES_HOST", "a b"],
  ["UDS3_POSTGRES_PORT", "0"],
  ["UDS3_CHROMA_PORT", "80000"],
  ["UDS3_NEO4J_PORT", "secret"],
])("what is missing or wrong is named, and not told: %s=%j", (variable, value) => {
  const reading = () => uds3FromEnvironment({ ...hosts, [variable]: value });
  expect(reading).toThrow(expect.objectContaining({ code: "config_invalid", details: { variable } }));
  expect(reading).not.toThrow(/secret/);
});
