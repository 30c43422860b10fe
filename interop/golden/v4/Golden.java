// SPDX-License-Identifier: Apache-2.0
package v4;

import static shared.Output.NOW;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.admin.ConsumeStats;
import org.apache.rocketmq.common.admin.OffsetWrapper;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.filter.FilterAPI;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageBatch;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.protocol.body.RegisterBrokerBody;
import org.apache.rocketmq.common.protocol.body.ResetOffsetBody;
import org.apache.rocketmq.common.protocol.header.PullMessageRequestHeader;
import org.apache.rocketmq.common.protocol.header.SendMessageRequestHeader;
import org.apache.rocketmq.common.protocol.header.SendMessageRequestHeaderV2;
import org.apache.rocketmq.common.protocol.heartbeat.ConsumeType;
import org.apache.rocketmq.common.protocol.heartbeat.ConsumerData;
import org.apache.rocketmq.common.protocol.heartbeat.HeartbeatData;
import org.apache.rocketmq.common.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.common.protocol.heartbeat.ProducerData;
import org.apache.rocketmq.common.protocol.heartbeat.SubscriptionData;
import org.apache.rocketmq.common.protocol.route.BrokerData;
import org.apache.rocketmq.common.protocol.route.QueueData;
import org.apache.rocketmq.common.protocol.route.TopicRouteData;
import org.apache.rocketmq.common.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import shared.Output;

/** Writes what Apache's 4.9 classes print. Every value is fixed, so that a second run gives the same bytes. */
public final class Golden {
    private static Output out;

    public static void main(String[] args) throws Exception {
        out = new Output(args[0]);
        System.setProperty(RemotingCommand.REMOTING_VERSION_KEY, "408");
        frames();
        records();
        bodies();
    }

    private static SendMessageRequestHeader send(boolean batch) {
        SendMessageRequestHeader header = new SendMessageRequestHeader();
        header.setProducerGroup("producers");
        header.setTopic("orders");
        header.setDefaultTopic("TBW102");
        header.setDefaultTopicQueueNums(4);
        header.setQueueId(3);
        header.setSysFlag(0);
        header.setBornTimestamp(NOW);
        header.setFlag(0);
        header.setProperties("KEYS\u0001k\u0002");
        header.setReconsumeTimes(0);
        header.setUnitMode(false);
        header.setBatch(batch);
        return header;
    }

    private static void frames() throws Exception {
        byte[] body = "hello".getBytes(StandardCharsets.UTF_8);
        out.frame("send-v1", RemotingCommand.createRequestCommand(10, send(false)), 1, body);
        out.frame("send-v2", RemotingCommand.createRequestCommand(310, SendMessageRequestHeaderV2.createSendMessageRequestHeaderV2(send(false))), 2, body);
        out.frame("send-batch", RemotingCommand.createRequestCommand(320, SendMessageRequestHeaderV2.createSendMessageRequestHeaderV2(send(true))), 3, batch());
        out.frame("heartbeat", RemotingCommand.createRequestCommand(34, null), 4, heartbeat().encode());
        PullMessageRequestHeader pull = new PullMessageRequestHeader();
        pull.setConsumerGroup("consumers");
        pull.setTopic("orders");
        pull.setQueueId(0);
        pull.setQueueOffset(9L);
        pull.setMaxMsgNums(32);
        pull.setSysFlag(6);
        pull.setCommitOffset(0L);
        pull.setSuspendTimeoutMillis(15000L);
        pull.setSubscription("*");
        pull.setSubVersion(NOW);
        pull.setExpressionType("TAG");
        out.frame("pull", RemotingCommand.createRequestCommand(11, pull), 5, null);
    }

    private static byte[] batch() {
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            messages.add(new Message("orders", "Tag" + i, "key" + i, ("body " + i).getBytes(StandardCharsets.UTF_8)));
        }
        return MessageBatch.generateFromList(messages).encode();
    }

    private static void records() throws Exception {
        out.write("batch.bin", batch());
        MessageExt message = new MessageExt();
        message.setTopic("orders");
        message.setBody("a body".getBytes(StandardCharsets.UTF_8));
        message.setQueueId(5);
        message.setFlag(9);
        message.setQueueOffset(40);
        message.setCommitLogOffset(1L << 40);
        message.setBornTimestamp(NOW);
        message.setBornHost(new InetSocketAddress(InetAddress.getByName("10.1.2.3"), 4567));
        message.setStoreTimestamp(NOW + 7);
        message.setStoreHost(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 10911));
        message.setReconsumeTimes(2);
        message.setPreparedTransactionOffset(99);
        message.setBodyCRC(org.apache.rocketmq.common.UtilAll.crc32(message.getBody()));
        MessageAccessor.putProperty(message, "TAGS", "red");
        out.write("record-v1.bin", MessageDecoder.encode(message, false));
    }

    private static SubscriptionData subscription() throws Exception {
        SubscriptionData data = FilterAPI.buildSubscriptionData("orders", "a || b");
        data.setSubVersion(NOW);
        return data;
    }

    private static HeartbeatData heartbeat() throws Exception {
        ConsumerData consumer = new ConsumerData();
        consumer.setGroupName("consumers");
        consumer.setConsumeType(ConsumeType.CONSUME_PASSIVELY);
        consumer.setMessageModel(MessageModel.CLUSTERING);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        consumer.getSubscriptionDataSet().add(subscription());
        ProducerData producer = new ProducerData();
        producer.setGroupName("producers");
        HeartbeatData heartbeat = new HeartbeatData();
        heartbeat.setClientID("10.0.0.9@4711");
        heartbeat.getConsumerDataSet().add(consumer);
        heartbeat.getProducerDataSet().add(producer);
        return heartbeat;
    }

    private static MessageQueue queue(int id) {
        return new MessageQueue("orders", "broker-a", id);
    }

    private static void bodies() throws Exception {
        out.json("heartbeat", heartbeat());
        HashMap<Long, String> addresses = new HashMap<>();
        addresses.put(0L, "10.0.0.1:10911");
        addresses.put(1L, "10.0.0.2:10911");
        QueueData queues = new QueueData();
        queues.setBrokerName("broker-a");
        queues.setReadQueueNums(8);
        queues.setWriteQueueNums(4);
        queues.setPerm(6);
        TopicRouteData route = new TopicRouteData();
        route.setBrokerDatas(List.of(new BrokerData("cluster", "broker-a", addresses)));
        route.setQueueDatas(List.of(queues));
        route.setFilterServerTable(new HashMap<>());
        out.json("route", route);
        ConsumeStats progress = new ConsumeStats();
        OffsetWrapper wrapper = new OffsetWrapper();
        wrapper.setBrokerOffset(99);
        wrapper.setConsumerOffset(77);
        wrapper.setLastTimestamp(NOW);
        progress.getOffsetTable().put(queue(1), wrapper);
        out.json("consume-stats", progress);
        Map<MessageQueue, Long> moved = new LinkedHashMap<>();
        moved.put(queue(0), 123L);
        moved.put(queue(1), 456L);
        ResetOffsetBody reset = new ResetOffsetBody();
        reset.setOffsetTable(moved);
        out.json("reset-offset", reset);
        SubscriptionGroupConfig group = new SubscriptionGroupConfig();
        group.setGroupName("consumers");
        out.json("subscription-group", group);
        out.json("topic-config", new TopicConfig("orders", 8, 8, 6));
        RegisterBrokerBody registration = new RegisterBrokerBody();
        registration.getTopicConfigSerializeWrapper().getTopicConfigTable().put("orders", new TopicConfig("orders", 8, 8, 6));
        registration.getTopicConfigSerializeWrapper().getDataVersion().setTimestamp(NOW);
        out.write("registration.json", registration.encode(false));
        out.write("registration.deflated.bin", registration.encode(true));
    }
}
