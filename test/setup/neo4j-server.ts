import { existsSync } from "node:fs";
import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { installOnce } from "./install-once.js";
import type { ServerProgram } from "./server-process.js";

const COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
const sources = fileURLToPath(new URL("neo4j", import.meta.url));

/** Folder with Neo4j's test harness (pom.xml says which) and our program that starts it. */
export function installNeo4j(): Promise<string> {
  return installOnce("neo4j-harness-5.26.0", async (half) => {
    try {
      await cp(sources, half, { recursive: true });
      await execa("mvn", ["--quiet", "--batch-mode", COPY_DEPENDENCIES, `-DoutputDirectory=${join(half, "jars")}`], {
        cwd: half,
      });
      await execa("javac", ["-cp", join(half, "jars", "*"), "-d", join(half, "classes"), join(half, "Neo4jServer.java")]);
    } catch (error) {
      throw new Error("The tests' Neo4j could not be installed: a JDK 17, Maven and a reachable Maven Central are needed.", {
        cause: error,
      });
    }
  });
}

export const neo4jServer: ServerProgram = {
  async command(folder) {
    const installed = await installNeo4j();
    const classPath = [join(installed, "classes"), join(installed, "jars", "*")].join(":");
    return ["java", "-Xmx512m", "-cp", classPath, "Neo4jServer", join(folder, "data"), join(folder, "url")];
  },
  async url(folder) {
    const file = join(folder, "url");
    return existsSync(file) ? (await readFile(file, "utf8")).trim() : null;
  },
};
