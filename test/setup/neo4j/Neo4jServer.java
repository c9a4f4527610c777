import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import org.neo4j.configuration.GraphDatabaseSettings;
import org.neo4j.configuration.connectors.BoltConnector;
import org.neo4j.configuration.helpers.SocketAddress;
import org.neo4j.harness.Neo4j;
import org.neo4j.harness.Neo4jBuilders;

/** A real Neo4j with a Bolt port and without logins: {@code Neo4jServer DATA_FOLDER URL_FILE}; writes its address to the file once it answers. */
public class Neo4jServer {
  public static void main(String[] arguments) throws Exception {
    Neo4j server =
        Neo4jBuilders.newInProcessBuilder(Path.of(arguments[0]))
            .withDisabledServer()
            .withConfig(BoltConnector.enabled, true)
            .withConfig(BoltConnector.listen_address, new SocketAddress("127.0.0.1", 0))
            .withConfig(GraphDatabaseSettings.pagecache_memory, 64L * 1024 * 1024)
            .build();
    Path half = Path.of(arguments[1] + ".half");
    Files.writeString(half, "bolt://127.0.0.1:" + server.boltURI().getPort());
    Files.move(half, Path.of(arguments[1]), StandardCopyOption.ATOMIC_MOVE);
    Thread.currentThread().join();
  }
}
