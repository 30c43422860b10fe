// SPDX-License-Identifier: Apache-2.0
package shared;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.SerializeType;

/** The directory that golden bytes go to, and the forms that both versions of Apache's classes print them in. */
public final class Output {
    /** The moment that stands in everything that has a time. */
    public static final long NOW = 1_700_000_000_123L;

    private final Path folder;

    public Output(String folder) throws Exception {
        this.folder = Path.of(folder);
        Files.createDirectories(this.folder);
    }

    public void write(String name, byte[] bytes) throws Exception {
        Files.write(folder.resolve(name), bytes);
    }

    public void json(String name, Object value) throws Exception {
        write(name + ".json", RemotingSerializable.encode(value));
    }

    /** The frame with a JSON header and the one with a binary header. */
    public void frame(String name, RemotingCommand command, int opaque, byte[] body) throws Exception {
        for (SerializeType type : SerializeType.values()) {
            command.setOpaque(opaque);
            command.setSerializeTypeCurrentRPC(type);
            command.setBody(body);
            write("frame-" + name + (type == SerializeType.JSON ? ".json.bin" : ".rocketmq.bin"), bytes(command.encode()));
        }
    }

    public static byte[] bytes(ByteBuffer buffer) {
        byte[] copy = new byte[buffer.remaining()];
        buffer.duplicate().get(copy);
        return copy;
    }
}
