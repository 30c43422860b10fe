// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A server of ours in a process of its own: a name server or a broker. */
final class Node {
    private static final String PROGRAM = System.getenv("KIRUNA_BIN");
    private final Process process;
    final int port;

    private Node(Process process, int port) {
        this.process = process;
        this.port = port;
    }

    static Node namesrv(Path dir) {
        return start("namesrv", dir, List.of("--namesrv-port", "0"));
    }

    static Node broker(Path dir, String name, String cluster, String namesrv) {
        return start("broker", dir, List.of("--broker-port", "0", "--fast-port", "0", "-n", namesrv, "--set", "brokerName=" + name,
            "--set", "brokerClusterName=" + cluster, "--set", "segment_size=64MiB", "--set", "stage_dir=" + dir));
    }

    private static Node start(String role, Path dir, List<String> more) {
        if (PROGRAM == null) {
            throw new IllegalStateException("KIRUNA_BIN names the server to run");
        }
        List<String> command = new ArrayList<>(List.of(PROGRAM, role, "--data-dir", dir.resolve("data").toString(), "--bind", "127.0.0.1"));
        command.addAll(more);
        Path log = dir.resolve(role + ".log");
        try {
            Process process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.appendTo(log.toFile())).start();
            String line = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8)).readLine();
            Matcher ready = Pattern.compile(role + "=\\S+:(\\d+)").matcher(line == null ? "" : line);
            if (!ready.find()) {
                process.destroyForcibly();
                throw new IllegalStateException("not ready but '" + line + "': " + Files.readString(log));
            }
            Node node = new Node(process, Integer.parseInt(ready.group(1)));
            Scratch.owns(node);
            return node;
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    String address() {
        return "127.0.0.1:" + port;
    }

    /** Stops it as an operator does. */
    void stop() {
        process.destroy();
        try {
            if (!process.waitFor(20, TimeUnit.SECONDS) || process.exitValue() != 0) {
                throw new IllegalStateException("the server does not end cleanly after SIGTERM");
            }
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    void kill() {
        process.destroyForcibly();
    }
}
