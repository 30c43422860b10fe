// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A standalone server of ours over a directory of its own, and the commands for directories without a server. */
final class Kiruna implements AutoCloseable {
    /** Small, so that a few messages take several files. */
    static final int SEGMENT = 8 << 20;

    private static final String PROGRAM = System.getenv("KIRUNA_BIN");
    private final Process process;
    final String namesrv;

    private Kiruna(Process process, String namesrv) {
        this.process = process;
        this.namesrv = namesrv;
    }

    static Kiruna start(Path data) throws IOException {
        return start(data, 0, 0);
    }

    /** One that clients find again after it was killed, because its ports stay. */
    static Kiruna start(Path data, int namesrvPort, int brokerPort) throws IOException {
        assertNotNull(PROGRAM, "KIRUNA_BIN names the server to run");
        List<String> command = new ArrayList<>(List.of(PROGRAM, "standalone", "--data-dir", data.toString(), "--set", "segment_size=8MiB",
            "--set", "stage_dir=" + data.getParent()));
        command.addAll(List.of("--namesrv-port", String.valueOf(namesrvPort), "--broker-port", String.valueOf(brokerPort), "--fast-port", "0"));
        for (String face : List.of("grpc", "proxy", "metrics", "console")) {
            command.addAll(List.of("--" + face + "-port", "0"));
        }
        Path log = data.resolveSibling(data.getFileName() + ".log");
        Process process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.appendTo(log.toFile())).start();
        String line = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8)).readLine();
        Matcher ready = Pattern.compile("namesrv=(\\S+)").matcher(line == null ? "" : line);
        if (!ready.find()) {
            process.destroyForcibly();
            throw new IOException("not ready but '" + line + "': " + Files.readString(log));
        }
        return new Kiruna(process, ready.group(1));
    }

    /** Stops it as an operator does. */
    void stop() throws InterruptedException {
        process.destroy();
        assertTrue(process.waitFor(20, TimeUnit.SECONDS), "the server ends after SIGTERM");
        assertEquals(0, process.exitValue(), "the server ends cleanly");
    }

    /** Ends it as {@code kill -9} does. */
    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    @Override
    public void close() {
        process.destroyForcibly();
    }

    /** Runs a command of ours and returns what it printed; fails when it does. */
    static String run(String... args) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(PROGRAM));
        command.addAll(List.of(args));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), String.join(" ", command) + "\n" + text);
        return text;
    }

    /** Records in the log, as our own tools count them, after they found nothing wrong with it. */
    static long verified(Path data) throws IOException, InterruptedException {
        Matcher verify = Pattern.compile("\"records\":\\s*(\\d+)").matcher(run("store", "verify", "--data-dir", data.toString(), "-o", "json"));
        assertTrue(verify.find(), "verify counts records");
        Matcher inspect = Pattern.compile("\"records\":\\s*(\\d+)").matcher(run("store", "inspect", "--data-dir", data.toString(), "-o", "json"));
        long records = 0;
        while (inspect.find()) {
            records += Long.parseLong(inspect.group(1));
        }
        assertEquals(Long.parseLong(verify.group(1)), records, "verify and inspect agree");
        return records;
    }
}
