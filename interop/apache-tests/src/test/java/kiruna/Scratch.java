// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Stream;

/** Directories and processes of a run; none of them outlives the tests. */
public final class Scratch {
    private static final List<Node> NODES = new CopyOnWriteArrayList<>();
    private static final List<Path> DIRS = new CopyOnWriteArrayList<>();

    static {
        Runtime.getRuntime().addShutdownHook(new Thread(Scratch::clear));
    }

    private Scratch() {}

    /** A new directory. */
    public static Path dir() {
        try {
            Path dir = Files.createTempDirectory("kiruna-apache-tests-");
            DIRS.add(dir);
            return dir;
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    static void owns(Node node) {
        NODES.add(node);
    }

    private static void clear() {
        NODES.forEach(Node::kill);
        for (Path dir : System.getenv("KIRUNA_KEEP") == null ? DIRS : List.<Path>of()) {
            try (Stream<Path> all = Files.walk(dir)) {
                all.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
            } catch (IOException error) {
                System.err.println("still there: " + dir + ": " + error);
            }
        }
    }
}
