// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.ServerSocket;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageExtBrokerInner;
import org.apache.rocketmq.store.DefaultMessageStore;
import org.apache.rocketmq.store.GetMessageResult;
import org.apache.rocketmq.store.PutMessageResult;
import org.apache.rocketmq.store.PutMessageStatus;
import org.apache.rocketmq.store.config.MessageStoreConfig;
import org.apache.rocketmq.store.queue.ConsumeQueueInterface;
import org.apache.rocketmq.store.stats.BrokerStatsManager;

/** Apache's message store over a directory: what its broker has below it, and nothing of ours. */
final class ApacheStore implements AutoCloseable {
    private final DefaultMessageStore store;

    /** Opens and recovers what is there, builds queues and index from the log, and is then ready. `topics` keep batches together. */
    ApacheStore(Path root, String... topics) throws Exception {
        ConcurrentMap<String, TopicConfig> settings = new ConcurrentHashMap<>();
        for (String topic : topics) {
            TopicConfig setting = new TopicConfig(topic);
            setting.setAttributes(Map.of("queue.type", "BatchCQ"));
            settings.put(topic, setting);
        }
        MessageStoreConfig config = new MessageStoreConfig();
        config.setStorePathRootDir(root.toString());
        config.setStorePathCommitLog(root.resolve("commitlog").toString());
        config.setMappedFileSizeCommitLog(Kiruna.SEGMENT);
        config.setMappedFileSizeConsumeQueue(20 * 1000);
        config.setMaxHashSlotNum(10_000);
        config.setMaxIndexNum(40_000);
        config.setCheckCRCOnRecover(true);
        config.setDiskMaxUsedSpaceRatio(98);
        config.setEnableLmq(true);
        config.setEnableMultiDispatch(true);
        try (ServerSocket free = new ServerSocket(0)) {
            config.setHaListenPort(free.getLocalPort());
        }
        store = new DefaultMessageStore(config, new BrokerStatsManager("kiruna", true), (topic, queue, offset, tags, time, bits, properties) -> { },
            new BrokerConfig(), settings);
        assertTrue(store.load(), "Apache's store loads the files");
        store.start();
    }

    /** Every message of every queue, read as a broker reads for a pull, by topic, queue and offset. */
    Map<String, MessageExt> messages() throws Exception {
        messagesAreDispatched();
        Map<String, MessageExt> found = new TreeMap<>();
        for (Map.Entry<String, ConcurrentMap<Integer, ConsumeQueueInterface>> topic : store.getConsumeQueueTable().entrySet()) {
            for (int queue : topic.getValue().keySet()) {
                long end = store.getMaxOffsetInQueue(topic.getKey(), queue);
                for (long at = store.getMinOffsetInQueue(topic.getKey(), queue); at < end; ) {
                    List<MessageExt> batch = read(topic.getKey(), queue, at);
                    for (MessageExt message : batch) {
                        assertEquals(at++, message.getQueueOffset(), topic.getKey() + " queue " + queue);
                        found.put(topic.getKey() + "/" + queue + "/" + message.getQueueOffset(), message);
                    }
                }
            }
        }
        return found;
    }

    private void messagesAreDispatched() throws InterruptedException {
        long patience = System.nanoTime() + 20_000_000_000L;
        while (store.dispatchBehindBytes() > 0) {
            assertTrue(System.nanoTime() < patience, "Apache's store dispatches the log");
            Thread.sleep(20);
        }
    }

    /** What a light queue leads to, in its order: where it is, its body, and what the record says of light queues. */
    List<String> light(String name) throws Exception {
        messagesAreDispatched();
        List<String> found = new ArrayList<>();
        long at = store.getMinOffsetInQueue(name, 0);
        while (at < store.getMaxOffsetInQueue(name, 0)) {
            for (MessageExt message : read(name, 0, at)) {
                found.add(LightStoreTest.shown(at++, message));
            }
        }
        return found;
    }

    /** The records of a queue that keeps batches together, in their order, each found from its last offset. */
    List<String> batches(String topic) throws Exception {
        messagesAreDispatched();
        List<String> found = new ArrayList<>();
        long at = store.getMinOffsetInQueue(topic, 0);
        while (at < store.getMaxOffsetInQueue(topic, 0)) {
            GetMessageResult result = store.getMessage("audit", topic, 0, at, 1, null);
            long last = result.getNextBeginOffset() - 1;
            result.release();
            MessageExt message = read(topic, 0, last).get(0);
            assertEquals(last + 1 - at, Long.parseLong(message.getProperty("INNER_NUM")));
            found.add(InnerBatchStoreTest.shown(message));
            at = last + 1;
        }
        return found;
    }

    private List<MessageExt> read(String topic, int queue, long from) {
        GetMessageResult result = store.getMessage("audit", topic, queue, from, 32, null);
        assertNotNull(result, topic + " can be read");
        try {
            List<MessageExt> batch = new ArrayList<>();
            for (ByteBuffer record : result.getMessageBufferList()) {
                MessageExt message = MessageDecoder.decode(record, true, true, false, false, true);
                assertNotNull(message, "the checksum of " + topic + " queue " + queue + " from " + from);
                batch.add(message);
            }
            assertTrue(!batch.isEmpty(), topic + " queue " + queue + " at " + from + ": " + result.getStatus());
            return batch;
        } finally {
            result.release();
        }
    }

    /** How many messages the index has for a key. */
    int found(String topic, String key) {
        return store.queryMessage(topic, key, 64, 0, Long.MAX_VALUE).getMessageMapedList().size();
    }

    /** When a delayed message is due, as the queue has it. */
    long due(int level, long at) {
        return store.getConsumeQueue("SCHEDULE_TOPIC_XXXX", level - 1).get(at).getTagsCode();
    }

    /** Appends as a broker does, and returns the place in the queue. */
    long append(MessageExtBrokerInner message) {
        PutMessageResult result = store.putMessage(message);
        assertEquals(PutMessageStatus.PUT_OK, result.getPutMessageStatus());
        return result.getAppendMessageResult().getLogicsOffset();
    }

    @Override
    public void close() {
        store.shutdown();
    }
}
