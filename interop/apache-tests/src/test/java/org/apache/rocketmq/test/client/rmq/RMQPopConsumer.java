// SPDX-License-Identifier: Apache-2.0
package org.apache.rocketmq.test.client.rmq;

import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PopStatus;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.test.factory.ConsumerFactory;
import org.apache.rocketmq.test.listener.AbstractListener;

/** Stands where Apache's tests of recall look for a consumer that pops. They want to see what comes into a queue, and until our
    servers lease messages it is seen by pulling. */
public class RMQPopConsumer extends RMQNormalConsumer {
    private static final int MOST = 32;
    private final Map<MessageQueue, Long> next = new HashMap<>();
    private DefaultMQPullConsumer reader;

    public RMQPopConsumer(String namesrv, String topic, String expression, String group, AbstractListener listener) {
        super(namesrv, topic, expression, group, listener);
    }

    @Override
    public void start() {
        try {
            reader = ConsumerFactory.getRMQPullConsumer(nsAddr, consumerGroup);
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    @Override
    public void shutdown() {
        reader.shutdown();
    }

    public PopResult pop(String broker, MessageQueue queue, long invisible, long patience) throws Exception {
        PullResult got = reader.pull(queue, "*", next.getOrDefault(queue, 0L), MOST);
        next.put(queue, got.getNextBeginOffset());
        boolean found = got.getPullStatus() == PullStatus.FOUND;
        return new PopResult(found ? PopStatus.FOUND : PopStatus.POLLING_NOT_FOUND, found ? got.getMsgFoundList() : null);
    }
}
