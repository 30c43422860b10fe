// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.util.Properties;
import java.util.UUID;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.exception.OffsetNotFoundException;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetRequestHeader;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.AssumptionViolatedException;

/** What a test would look up inside of a server is asked over the wire. */
final class Asked {
    static final int PATIENCE_MS = 5000;
    final DefaultMQAdminExt admin = new DefaultMQAdminExt(PATIENCE_MS);
    private final String address;

    interface Question<T> {
        T ask() throws Exception;
    }

    Asked(String namesrv, String address) {
        this.address = address;
        admin.setNamesrvAddr(namesrv);
        admin.setInstanceName(UUID.randomUUID().toString());
        try {
            admin.start();
        } catch (MQClientException error) {
            throw new IllegalStateException(error);
        }
    }

    MQClientAPIImpl api() {
        return admin.getDefaultMQAdminExtImpl().getMqClientInstance().getMQClientAPIImpl();
    }

    static <T> T ask(Question<T> question) {
        try {
            return question.ask();
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    /** Leaves a test out that needs what no server tells. */
    static AssumptionViolatedException inside(String what) {
        return new AssumptionViolatedException("inside of Apache's own process: " + what);
    }

    void set(String key, Object value) {
        Properties change = new Properties();
        change.setProperty(key, value.toString());
        ask(() -> {
            admin.updateBrokerConfig(address, change);
            return null;
        });
    }

    long end(String topic, int queue) {
        return ask(() -> api().getMaxOffset(address, new MessageQueue(topic, "", queue), PATIENCE_MS));
    }

    long start(String topic, int queue) {
        return ask(() -> api().getMinOffset(address, new MessageQueue(topic, "", queue), PATIENCE_MS));
    }

    /** Bytes of the log that no view has seen yet. */
    long behind() {
        return ask(() -> Long.parseLong(admin.fetchBrokerRuntimeStats(address).getTable().get("dispatchBehindBytes")));
    }

    /** How far a group has come, or -1. */
    long progress(String group, String topic, int queue) {
        QueryConsumerOffsetRequestHeader place = new QueryConsumerOffsetRequestHeader();
        place.setConsumerGroup(group);
        place.setTopic(topic);
        place.setQueueId(queue);
        place.setSetZeroIfNotFound(false);
        return ask(() -> {
            try {
                return api().queryConsumerOffset(address, place, PATIENCE_MS);
            } catch (OffsetNotFoundException none) {
                return -1L;
            }
        });
    }

    /** How far a group has pulled, or -1. */
    long pulled(String group, String topic, int queue) {
        return ask(() -> api().getConsumeStats(address, group, topic, PATIENCE_MS).getOffsetTable().entrySet().stream()
            .filter(row -> row.getKey().getQueueId() == queue)
            .map(row -> row.getValue().getPullOffset())
            .findFirst().orElse(-1L));
    }
}
