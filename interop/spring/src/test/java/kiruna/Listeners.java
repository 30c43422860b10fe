// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.spring.annotation.ConsumeMode;
import org.apache.rocketmq.spring.annotation.MessageModel;
import org.apache.rocketmq.spring.annotation.RocketMQMessageListener;
import org.apache.rocketmq.spring.annotation.RocketMQTransactionListener;
import org.apache.rocketmq.spring.annotation.SelectorType;
import org.apache.rocketmq.spring.core.RocketMQListener;
import org.apache.rocketmq.spring.core.RocketMQLocalTransactionListener;
import org.apache.rocketmq.spring.core.RocketMQLocalTransactionState;
import org.apache.rocketmq.spring.core.RocketMQPushConsumerLifecycleListener;
import org.apache.rocketmq.spring.core.RocketMQReplyListener;
import org.springframework.messaging.Message;
import org.springframework.stereotype.Component;

/** Everything that waits for messages; each puts what it gets into the inbox of its own name. */
final class Listeners {
    private Listeners() {}

    /** Looks for topics that appear, retry topics among them, every second, and then tells their broker of itself as soon. */
    interface Prompt extends RocketMQPushConsumerLifecycleListener {
        @Override
        default void prepareStart(DefaultMQPushConsumer consumer) {
            consumer.setPollNameServerInterval(1000);
            consumer.setHeartbeatBrokerInterval(1000);
            consumer.setMqClientApiTimeout(30_000);
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        }
    }

    /** A message and when it came. */
    static final class Arrival {
        final String body;
        final long at = System.currentTimeMillis();

        Arrival(String body) {
            this.body = body;
        }
    }

    static String body(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    @Component
    @RocketMQMessageListener(topic = "plain_${run}", consumerGroup = "plain_${run}", tlsEnable = "false", enableMsgTrace = true)
    static class Plain implements RocketMQListener<String>, Prompt {
        @Override
        public void onMessage(String text) {
            Inbox.of("plain").add(text);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "objects_${run}", consumerGroup = "objects_${run}")
    static class Objects implements RocketMQListener<Parcel>, Prompt {
        @Override
        public void onMessage(Parcel parcel) {
            Inbox.of("objects").add(parcel);
        }
    }

    /** Listens to a topic that does not exist when the application starts. */
    @Component
    @RocketMQMessageListener(topic = "born_${run}", consumerGroup = "tags_${run}", selectorExpression = "red || blue")
    static class Tags implements RocketMQListener<MessageExt>, Prompt {
        @Override
        public void onMessage(MessageExt message) {
            Inbox.of("tags").add(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "cities_${run}", consumerGroup = "cities_${run}", selectorType = SelectorType.SQL92,
            selectorExpression = "age BETWEEN 18 AND 30 AND city IN ('Kiruna', 'Luleå') AND banned IS NULL")
    static class Cities implements RocketMQListener<String>, Prompt {
        @Override
        public void onMessage(String text) {
            Inbox.of("cities").add(text);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "ordered_${run}", consumerGroup = "ordered_${run}", consumeMode = ConsumeMode.ORDERLY)
    static class Ordered implements RocketMQListener<MessageExt>, Prompt {
        @Override
        public void onMessage(MessageExt message) {
            Inbox.of("ordered").add(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "failing_${run}", consumerGroup = "failing_${run}", maxReconsumeTimes = 2, delayLevelWhenNextConsume = 1)
    static class Failing implements RocketMQListener<MessageExt>, Prompt {
        @Override
        public void onMessage(MessageExt message) {
            Inbox.of("failing").add(body(message) + "/" + message.getReconsumeTimes());
            if (body(message).startsWith("bad") || (body(message).startsWith("once") && message.getReconsumeTimes() == 0)) {
                throw new IllegalArgumentException("on purpose");
            }
        }
    }

    @Component
    @RocketMQMessageListener(topic = "%DLQ%failing_${run}", consumerGroup = "dead_${run}")
    static class Dead implements RocketMQListener<MessageExt>, Prompt {
        @Override
        public void onMessage(MessageExt message) {
            Inbox.of("dead").add(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "stuck_${run}", consumerGroup = "stuck_${run}", consumeMode = ConsumeMode.ORDERLY, maxReconsumeTimes = 2,
            suspendCurrentQueueTimeMillis = 200)
    static class Stuck implements RocketMQListener<MessageExt>, Prompt {
        @Override
        public void onMessage(MessageExt message) {
            Inbox.of("stuck").add(body(message) + "/" + message.getReconsumeTimes());
            if (body(message).startsWith("bad")) {
                throw new IllegalArgumentException("on purpose");
            }
        }
    }

    @Component
    @RocketMQMessageListener(topic = "%DLQ%stuck_${run}", consumerGroup = "deadstuck_${run}")
    static class DeadStuck implements RocketMQListener<String>, Prompt {
        @Override
        public void onMessage(String text) {
            Inbox.of("deadstuck").add(text);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "everybody_${run}", consumerGroup = "everybody_${run}", messageModel = MessageModel.BROADCASTING, instanceName = "east")
    static class East implements RocketMQListener<String>, Prompt {
        @Override
        public void onMessage(String text) {
            Inbox.of("east").add(text);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "everybody_${run}", consumerGroup = "everybody_${run}", messageModel = MessageModel.BROADCASTING, instanceName = "west")
    static class West implements RocketMQListener<String>, Prompt {
        @Override
        public void onMessage(String text) {
            Inbox.of("west").add(text);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "answers_${run}", consumerGroup = "texts_${run}", selectorExpression = "text", replyTimeout = 10000)
    static class Texts implements RocketMQReplyListener<String, String>, Prompt {
        @Override
        public String onMessage(String question) {
            return "re: " + question;
        }
    }

    @Component
    @RocketMQMessageListener(topic = "answers_${run}", consumerGroup = "bytes_${run}", selectorExpression = "bytes")
    static class Bytes implements RocketMQReplyListener<MessageExt, byte[]>, Prompt {
        @Override
        public byte[] onMessage(MessageExt question) {
            byte[] answer = question.getBody();
            for (int i = 0; i < answer.length; i++) {
                answer[i] ^= (byte) 0xFF;
            }
            return answer;
        }
    }

    @Component
    @RocketMQMessageListener(topic = "answers_${run}", consumerGroup = "parcels_${run}", selectorExpression = "parcel")
    static class Parcels implements RocketMQReplyListener<Parcel, Parcel>, Prompt {
        @Override
        public Parcel onMessage(Parcel parcel) {
            return new Parcel("not " + parcel.owner, parcel.price.toPlainString() + "5", parcel.contents);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "answers_${run}", consumerGroup = "wrapped_${run}", selectorExpression = "wrapped")
    static class Wraps implements RocketMQReplyListener<Parcel, Parcel.Wrapped<Parcel>>, Prompt {
        @Override
        public Parcel.Wrapped<Parcel> onMessage(Parcel parcel) {
            Parcel.Wrapped<Parcel> wrapped = new Parcel.Wrapped<>();
            wrapped.inside = parcel;
            wrapped.times = 3;
            return wrapped;
        }
    }

    @Component
    @RocketMQMessageListener(topic = "slow_${run}", consumerGroup = "slow_${run}")
    static class Slow implements RocketMQReplyListener<String, String>, Prompt {
        @Override
        public String onMessage(String question) {
            Inbox.pause(4000);
            return "too late";
        }
    }

    @Component
    @RocketMQMessageListener(topic = "deals_${run}", consumerGroup = "deals_${run}")
    static class Deals implements RocketMQListener<MessageExt>, Prompt {
        @Override
        public void onMessage(MessageExt message) {
            Inbox.of("deals").add(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "extdeals_${run}", consumerGroup = "extdeals_${run}", namespaceV2 = "spring")
    static class ExtDeals implements RocketMQListener<String>, Prompt {
        @Override
        public void onMessage(String text) {
            Inbox.of("extdeals").add(text);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "spaced_${run}", consumerGroup = "spaced_${run}", namespace = "space")
    static class Spaced implements RocketMQListener<MessageExt>, Prompt {
        @Override
        public void onMessage(MessageExt message) {
            Inbox.of("spaced").add(message.getTopic() + " " + body(message));
        }
    }

    @Component
    @RocketMQMessageListener(topic = "shared_${run}", consumerGroup = "sharers_${run}")
    static class Shared implements RocketMQListener<String>, Prompt {
        @Override
        public void onMessage(String text) {
            Inbox.of("shared").add(text);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "later_${run}", consumerGroup = "later_${run}")
    static class Later implements RocketMQListener<String>, Prompt {
        @Override
        public void onMessage(String text) {
            Inbox.of("later").add(new Arrival(text));
        }
    }

    /** Decides by the first word of the body; what it leaves open it decides when it is asked. */
    @RocketMQTransactionListener
    static class Books implements RocketMQLocalTransactionListener {
        @Override
        public RocketMQLocalTransactionState executeLocalTransaction(Message message, Object argument) {
            Inbox.of("executed").add(List.of(text(message), String.valueOf(argument), String.valueOf(message.getHeaders().get("rocketmq_TRANSACTION_ID"))));
            return text(message).startsWith("commit") ? RocketMQLocalTransactionState.COMMIT
                    : text(message).startsWith("rollback") ? RocketMQLocalTransactionState.ROLLBACK : RocketMQLocalTransactionState.UNKNOWN;
        }

        @Override
        public RocketMQLocalTransactionState checkLocalTransaction(Message message) {
            Inbox.of("checked").add(text(message));
            return text(message).contains("no") ? RocketMQLocalTransactionState.ROLLBACK : RocketMQLocalTransactionState.COMMIT;
        }

        static String text(Message message) {
            return new String((byte[]) message.getPayload(), StandardCharsets.UTF_8);
        }
    }

    @RocketMQTransactionListener(rocketMQTemplateBeanName = "extTemplate")
    static class ExtBooks implements RocketMQLocalTransactionListener {
        @Override
        public RocketMQLocalTransactionState executeLocalTransaction(Message message, Object argument) {
            return RocketMQLocalTransactionState.UNKNOWN;
        }

        @Override
        public RocketMQLocalTransactionState checkLocalTransaction(Message message) {
            Inbox.of("extchecked").add(Books.text(message));
            return RocketMQLocalTransactionState.COMMIT;
        }
    }
}
