// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What every scenario needs: names nobody used before, clients that are closed again, and waiting with a limit. */
final class Cluster implements AutoCloseable {
    static final String NAMESRV = System.getenv().getOrDefault("KIRUNA_TEST_NAMESRV", "127.0.0.1:9876");
    private static final AtomicInteger NEXT = new AtomicInteger();
    private static final String RUN = Long.toString(System.currentTimeMillis() % 10_000_000, 36);
    private final List<AutoCloseable> open = new ArrayList<>();

    static String name(String what) {
        return what + "_" + RUN + "_" + NEXT.incrementAndGet();
    }

    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(name("P"));
        producer.setNamesrvAddr(NAMESRV);
        producer.setInstanceName(name("i"));
        producer.start();
        open.add(producer::shutdown);
        return producer;
    }

    DefaultMQPushConsumer consumer(String group) {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(NAMESRV);
        consumer.setInstanceName(name("i"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        open.add(consumer::shutdown);
        return consumer;
    }

    /** Asks for every message on every member; the model's class sits in another package in 4.9 than in 5. */
    @SuppressWarnings({"unchecked", "rawtypes"})
    static void broadcast(DefaultMQPushConsumer consumer) throws Exception {
        Class<? extends Enum> model = consumer.getMessageModel().getClass().asSubclass(Enum.class);
        DefaultMQPushConsumer.class.getMethod("setMessageModel", model).invoke(consumer, Enum.valueOf(model, "BROADCASTING"));
    }

    DefaultMQAdminExt admin() throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(NAMESRV);
        admin.setInstanceName(name("i"));
        admin.start();
        open.add(admin::shutdown);
        return admin;
    }

    /** Creates a topic on every broker of the cluster and waits until the route is known. */
    String topic(int queues) throws Exception {
        String topic = name("T");
        DefaultMQAdminExt admin = admin();
        TopicConfig config = new TopicConfig(topic, queues, queues, 6);
        for (var broker : admin.examineBrokerClusterInfo().getBrokerAddrTable().values()) {
            admin.createAndUpdateTopicConfig(broker.selectBrokerAddr(), config);
        }
        await("the route of " + topic, () -> {
            try {
                return !admin.examineTopicRouteInfo(topic).getQueueDatas().isEmpty();
            } catch (Exception e) {
                return false;
            }
        });
        return topic;
    }

    void also(AutoCloseable closeable) {
        open.add(closeable);
    }

    static void await(String what, BooleanSupplier done) throws Exception {
        await(what, Duration.ofSeconds(120), done);
    }

    static void await(String what, Duration limit, BooleanSupplier done) throws Exception {
        long end = System.nanoTime() + limit.toNanos();
        while (!done.getAsBoolean()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("waited " + limit.toSeconds() + " s for " + what);
            }
            TimeUnit.MILLISECONDS.sleep(20);
        }
    }

    @Override
    public void close() throws Exception {
        for (int i = open.size() - 1; i >= 0; i--) {
            open.get(i).close();
        }
    }

    /** A concurrent listener that remembers what came, in order of arrival. */
    static final class Inbox implements MessageListenerConcurrently {
        final BlockingQueue<MessageExt> messages = new LinkedBlockingQueue<>();
        final Set<String> bodies = ConcurrentHashMap.newKeySet();

        @Override
        public ConsumeConcurrentlyStatus consumeMessage(
                List<MessageExt> batch, org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext context) {
            for (MessageExt message : batch) {
                bodies.add(new String(message.getBody()));
                messages.add(message);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        }

        void awaitBodies(Collection<String> wanted) throws Exception {
            Cluster.await(wanted.size() + " messages, have " + bodies.size(), () -> bodies.containsAll(wanted));
        }
    }
}
