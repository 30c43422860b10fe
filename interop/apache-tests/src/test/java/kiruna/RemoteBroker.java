// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.broker.filter.ConsumerFilterManager;
import org.apache.rocketmq.broker.offset.ConsumerOffsetManager;
import org.apache.rocketmq.broker.out.BrokerOuterAPI;
import org.apache.rocketmq.broker.topic.TopicConfigManager;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.remoting.RPCHook;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyServerConfig;
import org.apache.rocketmq.store.DefaultMessageStore;
import org.apache.rocketmq.store.MessageStore;
import org.apache.rocketmq.store.config.MessageStoreConfig;
import org.apache.rocketmq.store.stats.BrokerStatsManager;

/** A broker of ours in the clothes of Apache's: what tests look up in the object is asked over the wire. Never started as Apache's. */
public final class RemoteBroker extends BrokerController {
    private final Node node;
    private final Asked asked;
    private final Topics topics;
    private final Progress progress;
    private final Store store;

    private RemoteBroker(Node node, BrokerConfig config, NettyServerConfig listener, MessageStoreConfig store) throws IOException {
        super(config, listener, new NettyClientConfig(), store);
        this.node = node;
        this.asked = new Asked(config.getNamesrvAddr(), node.address());
        this.topics = new Topics();
        this.progress = new Progress();
        this.store = new Store(config);
        super.getBrokerOuterAPI().updateNameServerAddressList(config.getNamesrvAddr());
        super.getBrokerOuterAPI().start();
        if (config instanceof Settings) {
            ((Settings) config).of(asked);
        }
    }

    public static RemoteBroker start(Path dir, BrokerConfig config, MessageStoreConfig store) {
        Node node = Node.broker(dir, config.getBrokerName(), config.getBrokerClusterName(), config.getNamesrvAddr());
        NettyServerConfig listener = new NettyServerConfig();
        listener.setListenPort(node.port);
        try {
            return new RemoteBroker(node, config, listener, store);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @Override
    public void shutdown() {
        node.stop();
        asked.admin.shutdown();
        BrokerOuterAPI outer = super.getBrokerOuterAPI();
        outer.shutdown();
    }

    /** Ours registers what changes by itself. */
    @Override
    public synchronized void registerBrokerAll(boolean orders, boolean oneWay, boolean force) {}

    @Override
    public MessageStore getMessageStore() {
        return store;
    }

    @Override
    public TopicConfigManager getTopicConfigManager() {
        return topics == null ? super.getTopicConfigManager() : topics;
    }

    @Override
    public ConsumerOffsetManager getConsumerOffsetManager() {
        return progress == null ? super.getConsumerOffsetManager() : progress;
    }

    @Override
    public ConsumerFilterManager getConsumerFilterManager() {
        if (node == null) {
            return super.getConsumerFilterManager();
        }
        throw Asked.inside("its compiled filters");
    }

    @Override
    public void registerServerRPCHook(RPCHook hook) {
        throw Asked.inside("a hook around requests");
    }

    private final class Topics extends TopicConfigManager {
        @Override
        public ConcurrentMap<String, TopicConfig> getTopicConfigTable() {
            return Asked.ask(() -> asked.admin.getAllTopicConfig(node.address(), Asked.PATIENCE_MS).getTopicConfigTable());
        }

        @Override
        public void updateTopicConfig(TopicConfig topic) {
            Asked.ask(() -> {
                asked.admin.createAndUpdateTopicConfig(node.address(), topic);
                return null;
            });
        }
    }

    private final class Progress extends ConsumerOffsetManager {
        @Override
        public long queryOffset(String group, String topic, int queue) {
            return asked.progress(group, topic, queue);
        }

        @Override
        public long queryPullOffset(String group, String topic, int queue) {
            return asked.pulled(group, topic, queue);
        }
    }

    /** Tests want to see a store of this class; nothing of it is used. */
    private final class Store extends DefaultMessageStore {
        Store(BrokerConfig config) throws IOException {
            super(unused(), new BrokerStatsManager(config), null, config, new ConcurrentHashMap<>());
        }

        @Override
        public long getMaxOffsetInQueue(String topic, int queue) {
            return asked.end(topic, queue);
        }

        @Override
        public long getMinOffsetInQueue(String topic, int queue) {
            return asked.start(topic, queue);
        }

        @Override
        public long dispatchBehindBytes() {
            return asked.behind();
        }
    }

    private static MessageStoreConfig unused() {
        MessageStoreConfig config = new MessageStoreConfig();
        config.setStorePathRootDir(Scratch.dir().toString());
        config.setEnableCompaction(false);
        return config;
    }
}
