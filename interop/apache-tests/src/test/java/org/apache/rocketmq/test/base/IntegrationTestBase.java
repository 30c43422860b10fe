// SPDX-License-Identifier: Apache-2.0
package org.apache.rocketmq.test.base;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import kiruna.RemoteBroker;
import kiruna.RemoteNamesrv;
import kiruna.Scratch;
import kiruna.Settings;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.common.TopicAttributes;
import org.apache.rocketmq.common.attribute.CQType;
import org.apache.rocketmq.common.attribute.TopicMessageType;
import org.apache.rocketmq.namesrv.NamesrvController;
import org.apache.rocketmq.store.config.MessageStoreConfig;
import org.apache.rocketmq.test.util.MQAdminTestUtils;

/** Stands where Apache's tests look for the class that starts servers; the servers are ours, each a process of its own. */
public class IntegrationTestBase {
    private static final AtomicInteger BROKERS = new AtomicInteger();
    private static final int TOPIC_PATIENCE_S = 30;

    public static NamesrvController createAndStartNamesrv() {
        return RemoteNamesrv.start(Scratch.dir());
    }

    public static BrokerController createAndStartBroker(String namesrv) {
        BrokerConfig config = new Settings();
        config.setBrokerName("broker-" + BROKERS.incrementAndGet());
        config.setNamesrvAddr(namesrv);
        config.setBrokerIP1("127.0.0.1");
        MessageStoreConfig store = new MessageStoreConfig();
        store.setStorePathRootDir(createBaseDir());
        return createAndStartBroker(store, config);
    }

    public static BrokerController createAndStartBroker(MessageStoreConfig store, BrokerConfig config) {
        return RemoteBroker.start(Path.of(store.getStorePathRootDir()), config, store);
    }

    public static String createBaseDir() {
        return Scratch.dir().toString();
    }

    public static void initMQAdmin(String namesrv) {
        try {
            MQAdminTestUtils.startAdmin(namesrv);
        } catch (MQClientException error) {
            throw new IllegalStateException(error);
        }
    }

    public static boolean initTopic(String topic, String namesrv, String where, CQType queues) {
        return initTopic(topic, namesrv, where, BaseConf.QUEUE_NUMBERS, queues, TopicMessageType.NORMAL);
    }

    public static boolean initTopic(String topic, String namesrv, String where, TopicMessageType kind) {
        return initTopic(topic, namesrv, where, BaseConf.QUEUE_NUMBERS, CQType.SimpleCQ, kind);
    }

    public static boolean initTopic(String topic, String namesrv, String where, int count, CQType queues) {
        return initTopic(topic, namesrv, where, count, queues, TopicMessageType.NORMAL);
    }

    public static boolean initTopic(String topic, String namesrv, String where, int count, CQType queues, TopicMessageType kind) {
        Map<String, String> attributes = new HashMap<>();
        if (queues != CQType.SimpleCQ) {
            attributes.put("+" + TopicAttributes.QUEUE_TYPE_ATTRIBUTE.getName(), queues.name());
        }
        if (kind != TopicMessageType.NORMAL) {
            attributes.put("+" + TopicAttributes.TOPIC_MESSAGE_TYPE_ATTRIBUTE.getName(), kind.getValue());
        }
        return MQAdminTestUtils.createTopic(namesrv, where, topic, count, attributes, TOPIC_PATIENCE_S);
    }
}
