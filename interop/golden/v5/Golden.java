// SPDX-License-Identifier: Apache-2.0
package v5;

import static shared.Output.NOW;
import static shared.Output.bytes;

import com.alibaba.fastjson2.JSONWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.compression.CompressorFactory;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageBatch;
import org.apache.rocketmq.common.message.MessageClientIDSetter;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageExtBrokerInner;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageQueueForC;
import org.apache.rocketmq.common.message.MessageVersion;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.remoting.CommandCustomHeader;
import org.apache.rocketmq.remoting.protocol.DataVersion;
import org.apache.rocketmq.remoting.protocol.LanguageCode;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.admin.ConsumeStats;
import org.apache.rocketmq.remoting.protocol.admin.OffsetWrapper;
import org.apache.rocketmq.remoting.protocol.admin.TopicOffset;
import org.apache.rocketmq.remoting.protocol.admin.TopicStatsTable;
import org.apache.rocketmq.remoting.protocol.body.*;
import org.apache.rocketmq.remoting.protocol.filter.FilterAPI;
import org.apache.rocketmq.remoting.protocol.header.PullMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PullMessageResponseHeader;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeaderV2;
import org.apache.rocketmq.remoting.protocol.header.SendMessageResponseHeader;
import org.apache.rocketmq.remoting.protocol.header.namesrv.RegisterBrokerRequestHeader;
import org.apache.rocketmq.remoting.protocol.heartbeat.*;
import org.apache.rocketmq.remoting.protocol.route.BrokerData;
import org.apache.rocketmq.remoting.protocol.route.QueueData;
import org.apache.rocketmq.remoting.protocol.route.TopicRouteData;
import org.apache.rocketmq.remoting.protocol.statictopic.TopicQueueMappingInfo;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.store.MessageExtEncoder;
import org.apache.rocketmq.store.config.MessageStoreConfig;
import shared.Output;

/** Writes what Apache's 5.x classes print. Every value is fixed, so that a second run gives the same bytes. */
public final class Golden {
    private static Output out;

    public static void main(String[] args) throws Exception {
        out = new Output(args[0]);
        System.setProperty(RemotingCommand.REMOTING_VERSION_KEY, "513");
        frames();
        records();
        batches();
        compressed();
        ids();
        tags();
        routes();
        heartbeats();
        registrations();
        tables();
        clients();
        Sql.verdicts(out, Path.of(args[0]));
    }

    // ---- frames

    private static RemotingCommand request(int code, CommandCustomHeader header) {
        return RemotingCommand.createRequestCommand(code, header);
    }

    private static SendMessageRequestHeader send() {
        SendMessageRequestHeader header = new SendMessageRequestHeader();
        header.setProducerGroup("producers");
        header.setTopic("orders");
        header.setDefaultTopic("TBW102");
        header.setDefaultTopicQueueNums(4);
        header.setQueueId(3);
        header.setSysFlag(1);
        header.setBornTimestamp(NOW);
        header.setFlag(-5);
        header.setProperties("KEYS\u0001k1 k2\u0002TAGS\u0001Tag\"é\\\u0002");
        header.setReconsumeTimes(0);
        header.setUnitMode(false);
        header.setMaxReconsumeTimes(16);
        header.setBatch(false);
        header.setBrokerName("broker-a");
        return header;
    }

    private static void frames() throws Exception {
        byte[] body = "hello".getBytes(StandardCharsets.UTF_8);
        out.frame("send-v1", request(10, send()), 1, body);
        out.frame("send-v2", request(310, SendMessageRequestHeaderV2.createSendMessageRequestHeaderV2(send())), 2, body);
        SendMessageRequestHeader batch = send();
        batch.setBatch(true);
        out.frame("send-batch", request(320, SendMessageRequestHeaderV2.createSendMessageRequestHeaderV2(batch)), 3, batch().encode());
        out.frame("heartbeat", request(34, null), 4, heartbeat().encode());

        PullMessageRequestHeader pull = new PullMessageRequestHeader();
        pull.setConsumerGroup("consumers");
        pull.setTopic("orders");
        pull.setQueueId(0);
        pull.setQueueOffset(1234567890123L);
        pull.setMaxMsgNums(32);
        pull.setSysFlag(6);
        pull.setCommitOffset(77L);
        pull.setSuspendTimeoutMillis(15000L);
        pull.setSubscription("a || b");
        pull.setSubVersion(NOW);
        pull.setExpressionType("TAG");
        pull.setMaxMsgBytes(262144);
        pull.setBrokerName("broker-a");
        out.frame("pull", request(11, pull), 5, null);

        RegisterBrokerRequestHeader register = new RegisterBrokerRequestHeader();
        register.setBrokerName("broker-a");
        register.setBrokerAddr("10.0.0.1:10911");
        register.setClusterName("cluster");
        register.setHaServerAddr("10.0.0.1:10912");
        register.setBrokerId(0L);
        register.setHeartbeatTimeoutMillis(120000L);
        register.setEnableActingMaster(false);
        register.setCompressed(true);
        register.setBodyCrc32(12345);
        out.frame("register-broker", request(103, register), 6, registration().encode(true));

        RemotingCommand pulled = RemotingCommand.createResponseCommand(PullMessageResponseHeader.class);
        PullMessageResponseHeader answer = (PullMessageResponseHeader) pulled.readCustomHeader();
        answer.setSuggestWhichBrokerId(0L);
        answer.setNextBeginOffset(12L);
        answer.setMinOffset(0L);
        answer.setMaxOffset(34L);
        pulled.setCode(0);
        pulled.setRemark("FOUND");
        out.frame("pull-answer", pulled, 5, body);

        RemotingCommand sent = RemotingCommand.createResponseCommand(SendMessageResponseHeader.class);
        SendMessageResponseHeader ok = (SendMessageResponseHeader) sent.readCustomHeader();
        ok.setMsgId("0A00000100002A9F0000000000000000");
        ok.setQueueId(3);
        ok.setQueueOffset(9L);
        ok.setTransactionId("tx");
        sent.setCode(0);
        out.frame("send-answer", sent, 2, null);

        out.frame("refusal", RemotingCommand.createResponseCommand(17, "topic[x] \"not\" exist\n, see é"), 8, null);
        RemotingCommand oneWay = request(15, null);
        oneWay.markOnewayRPC();
        oneWay.addExtField("a", "1");
        out.frame("one-way", oneWay, 9, null);
    }

    // ---- records

    private static MessageExtBrokerInner message(String topic, byte[] body, Map<String, String> properties, String born, String store) throws Exception {
        MessageExtBrokerInner message = new MessageExtBrokerInner();
        message.setTopic(topic);
        message.setBody(body);
        message.setBodyCRC(UtilAll.crc32(body));
        message.setQueueId(5);
        message.setFlag(9);
        message.setBornTimestamp(NOW);
        message.setBornHost(new InetSocketAddress(InetAddress.getByName(born), 4567));
        message.setStoreTimestamp(NOW + 7);
        message.setStoreHost(new InetSocketAddress(InetAddress.getByName(store), 10911));
        message.setReconsumeTimes(2);
        message.setPreparedTransactionOffset(99);
        if (born.contains(":")) {
            message.setBornHostV6Flag();
        }
        if (store.contains(":")) {
            message.setStoreHostAddressV6Flag();
        }
        properties.forEach((key, value) -> org.apache.rocketmq.common.message.MessageAccessor.putProperty(message, key, value));
        message.setPropertiesString(MessageDecoder.messageProperties2String(message.getProperties()));
        return message;
    }

    private static byte[] encode(MessageExtBrokerInner message) {
        MessageExtEncoder encoder = new MessageExtEncoder(4 << 20, new MessageStoreConfig());
        if (encoder.encode(message) != null) {
            throw new IllegalStateException("refused");
        }
        // The encoder hands out its whole buffer; the record says how long it is.
        ByteBuffer buffer = encoder.getEncoderBuffer();
        buffer.limit(buffer.position() + buffer.getInt(buffer.position()));
        return bytes(buffer);
    }

    private static void records() throws Exception {
        Map<String, String> properties = new LinkedHashMap<>();
        properties.put("TAGS", "red");
        properties.put("KEYS", "k1 k2");
        properties.put("user", "wert=\u00e9\u6f22");
        byte[] body = "a body, é漢🦀".getBytes(StandardCharsets.UTF_8);
        out.write("record-v1.bin", encode(message("orders", body, properties, "10.1.2.3", "127.0.0.1")));
        out.write("record-ipv6.bin", encode(message("orders", body, properties, "2001:db8::1", "fe80::2")));
        out.write("record-born-ipv6.bin", encode(message("orders", body, properties, "2001:db8::1", "10.0.0.1")));
        out.write("record-empty.bin", encode(message("t", new byte[0], new HashMap<>(), "10.1.2.3", "127.0.0.1")));
        MessageExtBrokerInner longTopic = message("%RETRY%" + "g".repeat(200), body, properties, "10.1.2.3", "127.0.0.1");
        longTopic.setVersion(MessageVersion.MESSAGE_VERSION_V2);
        out.write("record-v2.bin", encode(longTopic));

        // A pull body: records with their offsets, as a broker hands them out.
        List<byte[]> parts = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            MessageExt stored = MessageDecoder.decode(ByteBuffer.wrap(encode(message("orders", ("message " + i).getBytes(), properties, "10.1.2.3", "127.0.0.1"))), true, false);
            stored.setQueueOffset(40 + i);
            stored.setCommitLogOffset(1L << 40 | i * 1000);
            parts.add(MessageDecoder.encode(stored, false));
        }
        ByteBuffer pulled = ByteBuffer.allocate(parts.stream().mapToInt(part -> part.length).sum());
        parts.forEach(pulled::put);
        out.write("pull-body.bin", pulled.array());
    }

    private static MessageBatch batch() {
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            Message message = new Message("orders", "Tag" + i, "key" + i, ("body " + i).getBytes(StandardCharsets.UTF_8));
            message.setFlag(i - 1);
            messages.add(message);
        }
        MessageBatch batch = MessageBatch.generateFromList(messages);
        batch.setBody(batch.encode());
        return batch;
    }

    private static void batches() throws Exception {
        out.write("batch.bin", batch().encode());
    }

    private static void compressed() throws Exception {
        byte[] body = "compress me, ".repeat(500).getBytes(StandardCharsets.UTF_8);
        out.write("body-plain.txt", body);
        for (CompressionType type : CompressionType.values()) {
            byte[] small = CompressorFactory.getCompressor(type).compress(body, 5);
            if (!Arrays.equals(body, CompressorFactory.getCompressor(type).decompress(small))) {
                throw new IllegalStateException(type.name());
            }
            int flag = MessageSysFlag.COMPRESSED_FLAG | type.getCompressionFlag();
            out.write("body-" + type.name().toLowerCase() + "-" + Integer.toHexString(flag) + ".bin", small);
        }
    }

    // ---- ids and tags

    private static void ids() throws Exception {
        StringBuilder text = new StringBuilder();
        for (String host : new String[] {"10.0.0.1", "255.255.255.255", "2001:db8::1"}) {
            for (long offset : new long[] {0, 255, 1L << 40, Long.MAX_VALUE}) {
                InetSocketAddress address = new InetSocketAddress(InetAddress.getByName(host), 10911);
                text.append(MessageDecoder.createMessageId(address, offset)).append('\t').append(host).append("\t10911\t").append(offset).append('\n');
            }
        }
        out.write("offset-ids.tsv", text.toString().getBytes(StandardCharsets.UTF_8));
        text.setLength(0);
        for (int i = 0; i < 3; i++) {
            long before = System.currentTimeMillis();
            String id = MessageClientIDSetter.createUniqID();
            text.append(id).append('\t').append(MessageClientIDSetter.getIPStrFromID(id)).append('\t')
                .append(MessageClientIDSetter.getPidFromID(id)).append('\t')
                .append(before).append('\n');
        }
        out.write("unique-ids.tsv", text.toString().getBytes(StandardCharsets.UTF_8));
    }

    private static void tags() throws Exception {
        StringBuilder text = new StringBuilder();
        String[] tags = {"", "TagA", "Aa", "BB", "polygenelubricants", "a b", "标签", "🦀é", "x".repeat(300), "-|_"};
        for (String tag : tags) {
            text.append(tag).append('\t').append(MessageExtBrokerInner.tagsString2tagsCode(tag)).append('\n');
        }
        out.write("tag-hashes.tsv", text.toString().getBytes(StandardCharsets.UTF_8));
        text.setLength(0);
        for (String expression : new String[] {"*", "", "a", "a || b", " a||b || ", "标签||🦀", "a|b", "||a", " || "}) {
            SubscriptionData data = FilterAPI.buildSubscriptionData("t", expression);
            data.setSubVersion(1);
            text.append(expression).append('\t').append(new TreeSet<>(data.getTagsSet())).append('\t').append(new TreeSet<>(data.getCodeSet())).append('\n');
        }
        out.write("tag-expressions.tsv", text.toString().getBytes(StandardCharsets.UTF_8));
    }

    // ---- JSON bodies

    private static MessageQueue queue(int id) {
        return new MessageQueue("orders", "broker-a", id);
    }

    private static void routes() throws Exception {
        HashMap<Long, String> addresses = new HashMap<>();
        addresses.put(0L, "10.0.0.1:10911");
        addresses.put(2L, "10.0.0.2:10911");
        BrokerData broker = new BrokerData("cluster", "broker-a", addresses, true, "zone-1");
        QueueData queues = new QueueData();
        queues.setBrokerName("broker-a");
        queues.setReadQueueNums(8);
        queues.setWriteQueueNums(4);
        queues.setPerm(6);
        TopicRouteData route = new TopicRouteData();
        route.setBrokerDatas(List.of(broker));
        route.setQueueDatas(List.of(queues));
        out.json("route", route);
        TopicQueueMappingInfo mapping = new TopicQueueMappingInfo("orders", 4, "broker-a", 17);
        mapping.getCurrIdMap().put(0, 0);
        mapping.getCurrIdMap().put(3, 1);
        route.setTopicQueueMappingByBroker(new HashMap<>(Map.of("broker-a", mapping)));
        route.setOrderTopicConf("broker-a:4");
        route.getFilterServerTable().put("10.0.0.1:10911", List.of("f:1"));
        out.json("route-full", route);
        out.write("route-full-standard.json", route.encode(JSONWriter.Feature.BrowserCompatible,
            JSONWriter.Feature.MapSortField));
        ClusterInfo cluster = new ClusterInfo();
        cluster.setBrokerAddrTable(new HashMap<>(Map.of("broker-a", broker)));
        cluster.setClusterAddrTable(new HashMap<>(Map.of("cluster", new HashSet<>(Set("broker-a")))));
        out.json("cluster-info", cluster);
        BrokerMemberGroup group = new BrokerMemberGroup("cluster", "broker-a");
        group.setBrokerAddrs(addresses);
        GetBrokerMemberGroupResponseBody members = new GetBrokerMemberGroupResponseBody();
        members.setBrokerMemberGroup(group);
        out.json("broker-member-group", members);
    }

    private static java.util.Set<String> Set(String... values) {
        return new TreeSet<>(Arrays.asList(values));
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
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.getSubscriptionDataSet().add(subscription());
        ProducerData producer = new ProducerData();
        producer.setGroupName("producers");
        HeartbeatData heartbeat = new HeartbeatData();
        heartbeat.setClientID("10.0.0.9@4711#12345");
        heartbeat.getConsumerDataSet().add(consumer);
        heartbeat.getProducerDataSet().add(producer);
        heartbeat.setHeartbeatFingerprint(-77);
        return heartbeat;
    }

    private static void heartbeats() throws Exception {
        out.json("heartbeat", heartbeat());
        out.json("heartbeat-empty", new HeartbeatData());
        CheckClientRequestBody check = new CheckClientRequestBody();
        check.setClientId("c");
        check.setGroup("consumers");
        check.setSubscriptionData(subscription());
        out.json("check-client", check);
    }

    private static DataVersion version() {
        DataVersion version = new DataVersion();
        version.setTimestamp(NOW);
        version.setStateVersion(2);
        version.getCounter().set(31);
        return version;
    }

    private static TopicConfig topic(String name, int queues) {
        TopicConfig topic = new TopicConfig(name, queues, queues, 6);
        topic.getAttributes().put("message.type", "FIFO");
        return topic;
    }

    private static RegisterBrokerBody registration() {
        RegisterBrokerBody body = new RegisterBrokerBody();
        TopicConfigAndMappingSerializeWrapper topics = body.getTopicConfigSerializeWrapper();
        topics.setDataVersion(version());
        topics.setMappingDataVersion(version());
        topics.getTopicConfigTable().put("orders", topic("orders", 8));
        topics.getTopicConfigTable().put("%RETRY%consumers", new TopicConfig("%RETRY%consumers", 1, 1, 6));
        TopicQueueMappingInfo mapping = new TopicQueueMappingInfo("static", 2, "broker-a", 5);
        mapping.getCurrIdMap().put(1, 0);
        topics.getTopicQueueMappingInfoMap().put("static", mapping);
        body.setFilterServerList(List.of("10.0.0.1:5"));
        return body;
    }

    private static void registrations() throws Exception {
        out.write("registration.json", registration().encode(false));
        out.write("registration.deflated.bin", registration().encode(true));
        out.json("topic-config", topic("orders", 8));
        out.json("topic-config-default", new TopicConfig("orders"));
        out.write("topic-config-line.txt", topic("orders", 8).encode().getBytes(StandardCharsets.UTF_8));
        TopicConfigSerializeWrapper table = new TopicConfigSerializeWrapper();
        table.setDataVersion(version());
        table.getTopicConfigTable().put("orders", topic("orders", 8));
        out.json("topic-config-table", table);
    }

    private static void tables() throws Exception {
        SubscriptionGroupConfig group = new SubscriptionGroupConfig();
        group.setGroupName("consumers");
        out.json("subscription-group", group);
        SubscriptionGroupWrapper groups = new SubscriptionGroupWrapper();
        groups.setDataVersion(version());
        groups.getSubscriptionGroupTable().put("consumers", group);
        ConcurrentHashMap<String, Integer> forbidden = new ConcurrentHashMap<>();
        forbidden.put("orders", 1);
        groups.setForbiddenTable(new ConcurrentHashMap<>(Map.of("consumers", forbidden)));
        out.json("subscription-group-table", groups);

        ConsumerOffsetSerializeWrapper offsets = new ConsumerOffsetSerializeWrapper();
        ConcurrentHashMap<Integer, Long> queues = new ConcurrentHashMap<>();
        queues.put(0, 123L);
        queues.put(1, 456L);
        offsets.getOffsetTable().put("orders@consumers", queues);
        offsets.setDataVersion(version());
        out.json("consumer-offsets", offsets);

        TopicStatsTable stats = new TopicStatsTable();
        TopicOffset offset = new TopicOffset();
        offset.setMinOffset(1);
        offset.setMaxOffset(99);
        offset.setLastUpdateTimestamp(NOW);
        stats.getOffsetTable().put(queue(0), offset);
        stats.setTopicPutTps(1.5);
        out.json("topic-stats", stats);

        ConsumeStats progress = new ConsumeStats();
        OffsetWrapper wrapper = new OffsetWrapper();
        wrapper.setBrokerOffset(99);
        wrapper.setConsumerOffset(77);
        wrapper.setPullOffset(80);
        wrapper.setLastTimestamp(NOW);
        progress.getOffsetTable().put(queue(1), wrapper);
        out.json("consume-stats", progress);
        ConsumeStatsList list = new ConsumeStatsList();
        list.setBrokerAddr("10.0.0.1:10911");
        list.setConsumeStatsList(List.of(Map.of("consumers", List.of(progress))));
        list.setTotalDiff(22);
        list.setTotalInflightDiff(3);
        out.json("consume-stats-list", list);

        ResetOffsetBody reset = new ResetOffsetBody();
        Map<MessageQueue, Long> moved = new LinkedHashMap<>();
        moved.put(queue(0), 123L);
        moved.put(queue(1), 456L);
        reset.setOffsetTable(moved);
        out.json("reset-offset", reset);
        ResetOffsetBodyForC resetForC = new ResetOffsetBodyForC();
        resetForC.setOffsetTable(List.of(new MessageQueueForC("orders", "broker-a", 0, 123L)));
        out.json("reset-offset-c", resetForC);
        GetConsumerStatusBody status = new GetConsumerStatusBody();
        status.setMessageQueueTable(moved);
        status.setConsumerTable(new HashMap<>(Map.of("client", moved)));
        out.json("consumer-status", status);

        KVTable table = new KVTable();
        table.getTable().put("a", "1");
        table.getTable().put("quote\"", "line\nbreak\u0001\u2028é/");
        out.json("kv-table", table);
        TopicList topics = new TopicList();
        topics.setTopicList(Set("a", "b"));
        out.json("topic-list", topics);
        GroupList groupList = new GroupList();
        groupList.getGroupList().add("consumers");
        out.json("group-list", groupList);
        QueueTimeSpan span = new QueueTimeSpan();
        span.setMessageQueue(queue(0));
        span.setMinTimeStamp(1);
        span.setMaxTimeStamp(2);
        span.setConsumeTimeStamp(3);
        span.setDelayTime(4);
        QueryConsumeTimeSpanBody spans = new QueryConsumeTimeSpanBody();
        spans.setConsumeTimeSpanSet(List.of(span));
        out.json("consume-time-span", spans);
        BrokerStatsData broker = new BrokerStatsData();
        BrokerStatsItem item = new BrokerStatsItem();
        item.setSum(7);
        item.setTps(0.25);
        item.setAvgpt(1e10);
        broker.setStatsMinute(item);
        broker.setStatsHour(item);
        broker.setStatsDay(item);
        out.json("broker-stats", broker);
        QueryCorrectionOffsetBody correction = new QueryCorrectionOffsetBody();
        correction.setCorrectionOffsets(new HashMap<>(Map.of(0, 5L)));
        out.json("correction-offsets", correction);
        ConsumeQueueData entry = new ConsumeQueueData();
        entry.setPhysicOffset(10);
        entry.setPhysicSize(20);
        entry.setTagsCode(-30);
        QueryConsumeQueueResponseBody entries = new QueryConsumeQueueResponseBody();
        entries.setQueueData(List.of(entry));
        entries.setMaxQueueIndex(9);
        entries.setSubscriptionData(subscription());
        out.json("consume-queue", entries);
    }

    private static void clients() throws Exception {
        LockBatchRequestBody lock = new LockBatchRequestBody();
        lock.setConsumerGroup("consumers");
        lock.setClientId("client");
        lock.getMqSet().add(queue(2));
        out.json("lock", lock);
        LockBatchResponseBody locked = new LockBatchResponseBody();
        locked.getLockOKMQSet().add(queue(2));
        out.json("locked", locked);

        Connection connection = new Connection();
        connection.setClientId("client");
        connection.setClientAddr("10.0.0.9:5555");
        connection.setLanguage(LanguageCode.GO);
        connection.setVersion(317);
        ConsumerConnection consumers = new ConsumerConnection();
        consumers.getConnectionSet().add(connection);
        consumers.getSubscriptionTable().put("orders", subscription());
        consumers.setConsumeType(ConsumeType.CONSUME_ACTIVELY);
        consumers.setMessageModel(MessageModel.BROADCASTING);
        consumers.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
        out.json("consumer-connection", consumers);
        ProducerConnection producers = new ProducerConnection();
        producers.getConnectionSet().add(connection);
        out.json("producer-connection", producers);
        out.json("producer-table", new ProducerTableInfo(new HashMap<>(Map.of("producers",
            List.of(new ProducerInfo("client", "10.0.0.9", LanguageCode.JAVA, 513, NOW))))));
        QuerySubscriptionResponseBody subscribed = new QuerySubscriptionResponseBody();
        subscribed.setGroup("consumers");
        subscribed.setTopic("orders");
        subscribed.setSubscriptionData(subscription());
        out.json("query-subscription", subscribed);

        ConsumerRunningInfo running = new ConsumerRunningInfo();
        Properties properties = new Properties();
        properties.put("PROP_CONSUMEORDERLY", "false");
        running.setProperties(properties);
        running.getSubscriptionSet().add(subscription());
        ProcessQueueInfo held = new ProcessQueueInfo();
        held.setCommitOffset(5);
        held.setCachedMsgSizeInMiB(1);
        held.setLocked(true);
        TreeMap<MessageQueue, ProcessQueueInfo> table = new TreeMap<>();
        table.put(queue(0), held);
        running.setMqTable(table);
        PopProcessQueueInfo popped = new PopProcessQueueInfo();
        popped.setWaitAckCount(3);
        TreeMap<MessageQueue, PopProcessQueueInfo> popTable = new TreeMap<>();
        popTable.put(queue(1), popped);
        running.setMqPopTable(popTable);
        ConsumeStatus rates = new ConsumeStatus();
        rates.setPullRT(1.25);
        rates.setConsumeFailedMsgs(4);
        running.getStatusTable().put("orders", rates);
        running.setJstack("stack");
        out.json("consumer-running-info", running);
        ConsumeMessageDirectlyResult result = new ConsumeMessageDirectlyResult();
        result.setConsumeResult(CMResult.CR_SUCCESS);
        result.setSpentTimeMills(12);
        out.json("consume-directly", result);
    }
}
