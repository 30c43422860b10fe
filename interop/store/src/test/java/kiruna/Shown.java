// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;

/** Everything of a stored message as text, so that two of them can be compared and a difference can be read. */
final class Shown {
    private Shown() {
    }

    static String of(MessageExt message) {
        Map<String, String> properties = new TreeMap<>(message.getProperties() == null ? Map.of() : message.getProperties());
        // A client adds these to what it pulled.
        properties.remove(MessageConst.PROPERTY_MIN_OFFSET);
        properties.remove(MessageConst.PROPERTY_MAX_OFFSET);
        return String.join(" ",
            message.getTopic(), "queue", Integer.toString(message.getQueueId()), "at", Long.toString(message.getQueueOffset()),
            "log", Long.toString(message.getCommitLogOffset()), "bytes", Integer.toString(message.getStoreSize()),
            "flags", Integer.toString(message.getFlag()), Integer.toString(message.getSysFlag()),
            "born", Long.toString(message.getBornTimestamp()), host(message.getBornHost()),
            "stored", Long.toString(message.getStoreTimestamp()), host(message.getStoreHost()),
            "again", Integer.toString(message.getReconsumeTimes()), "prepared", Long.toString(message.getPreparedTransactionOffset()),
            "crc", Integer.toString(message.getBodyCRC()),
            "body", message.getBody().length + ":" + Arrays.hashCode(message.getBody()), properties.toString());
    }

    private static String host(SocketAddress address) {
        InetSocketAddress host = (InetSocketAddress) address;
        return host.getAddress().getHostAddress() + ":" + host.getPort();
    }
}
