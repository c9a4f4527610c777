import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EmbeddedDatabase, openEmbedded } from "../../src/store/embedded.js";
import { type Frame, FrameReader } from "../../src/store/wire-frames.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "clara-wire-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("many connections to the embedded database", () => {
  let database: EmbeddedDatabase;
  beforeAll(async () => {
    database = await openEmbedded({ dataDir: join(folder, "shared"), onFailure: () => {}, idleInTransactionMs: 1000 });
  });
  afterAll(() => database.close());

  it("never mixes their statements, also where one needs many packets", async () => {
    const long = "y".repeat(300_000);
    const answers = await Promise.all(
      Array.from({ length: 300 }, async (_, index) => {
        if (index % 5 === 0) return database.pool.query("select 1 / $1::int", [0]).catch((error: { code: string }) => error.code);
        if (index % 2 === 0) return (await database.pool.query("select $1::text || '!' as answer", [String(index)])).rows[0].answer;
        return (await database.pool.query("select $1::int as answer, length($2::text) as length", [index, long])).rows[0];
      }),
    );
    expect(answers).toEqual(
      answers.map((_, index) => (index % 5 === 0 ? "22012" : index % 2 === 0 ? `${index}!` : { answer: index, length: 300_000 })),
    );
  });

  it("keeps transactions apart, and rolls back what a client left open", async () => {
    await database.pool.query("create table counts (id int primary key, n int not null)");
    await database.pool.query("insert into counts values (1, 0)");
    const attempts = await Promise.allSettled(
      Array.from({ length: 40 }, async (_, index) => {
        const client = await database.pool.connect();
        try {
          await client.query("begin");
          const { rows } = await client.query("select n from counts where id = $1", [1]);
          await client.query("update counts set n = $1 where id = 1", [rows[0].n + 1]);
          if (index % 4 === 0) await client.query("select 1 / 0");
          await client.query("commit");
        } finally {
          // Destroyed in the middle of its transaction where the division failed.
          client.release(index % 4 === 0);
        }
      }),
    );
    expect(attempts.filter((attempt) => attempt.status === "fulfilled")).toHaveLength(30);
    expect((await database.pool.query("select n from counts")).rows).toEqual([{ n: 30 }]);
  });

  it("cuts off a transaction that waits for another connection, instead of standing still for ever", async () => {
    const client = await database.pool.connect();
    client.on("error", () => {});
    await client.query("begin");
    await client.query("update counts set n = -1");
    // The mistake: inside a transaction, wait for a statement on another connection.
    expect((await database.pool.query("select n from counts")).rows).toEqual([{ n: 30 }]);
    await expect(client.query("commit")).rejects.toThrow();
    client.release(true);
  });

  it("goes on after a client broke the protocol", async () => {
    const broken = new pg.Client(database.pool.options);
    await broken.connect();
    const ended = new Promise((resolve) => broken.once("error", resolve));
    const { stream } = (broken as unknown as { connection: { stream: NodeJS.WritableStream } }).connection;
    stream.write(Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff]));
    await ended;
    expect((await database.pool.query("select 2 as two")).rows).toEqual([{ two: 2 }]);
  });
});

describe("the place where the embedded database listens", () => {
  it("is a socket that only this user reaches", async () => {
    const database = await openEmbedded({ dataDir: join(folder, "modes"), onFailure: () => {} });
    const { mode } = await stat(database.pool.options.host as string);
    expect(mode & 0o077).toBe(0);
    await database.close();
  });

  it("is elsewhere where the folder's path is too long for a socket", async () => {
    const database = await openEmbedded({ dataDir: join(folder, "long".repeat(20), "long".repeat(20)), onFailure: () => {} });
    expect((await database.pool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    const place = database.pool.options.host as string;
    await database.close();
    await expect(stat(place)).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("asks for a password on a loopback port", async () => {
    const database = await openEmbedded({ dataDir: join(folder, "tcp"), onFailure: () => {}, transport: "tcp" });
    expect((await database.pool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    const { port } = database.pool.options;
    const intruder = new pg.Client({ host: "127.0.0.1", port: port as number, user: "postgres", database: "postgres", password: "guess" });
    await expect(intruder.connect()).rejects.toMatchObject({ code: "28P01" });
    await database.close();
  });
});

describe("the frame reader", () => {
  it("finds the same frames however the stream is split", () => {
    const startup = Buffer.from([0, 0, 0, 9, 0, 3, 0, 0, 0]);
    const frameBytes = fc.tuple(fc.constantFrom("Q", "P", "B", "S"), fc.uint8Array({ maxLength: 40 })).map(([type, body]) => {
      const head = Buffer.alloc(5);
      head.write(type, 0, "latin1");
      head.writeUInt32BE(body.length + 4, 1);
      return Buffer.concat([head, body]);
    });
    fc.assert(
      fc.property(fc.array(frameBytes, { maxLength: 10 }), fc.array(fc.nat({ max: 20 }), { minLength: 1 }), (frames, sizes) => {
        const stream = Buffer.concat([startup, ...frames]);
        const reader = new FrameReader();
        const found: Frame[] = [];
        for (let at = 0, turn = 0; at < stream.length; turn += 1) {
          const size = 1 + (sizes[turn % sizes.length] ?? 0);
          reader.push(stream.subarray(at, at + size));
          at += size;
          for (let frame = reader.next(); frame !== null; frame = reader.next()) found.push(frame);
        }
        expect(found.map((frame) => frame.bytes.toString("hex"))).toEqual([startup, ...frames].map((bytes) => bytes.toString("hex")));
      }),
    );
  });

  it("gives up on a stream that is no PostgreSQL client", () => {
    const reader = new FrameReader();
    reader.push(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
    expect(reader.next()).toBeNull();
    expect(reader.isBroken).toBe(true);
  });
});
