// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;

/** A member of an orderly group in a process of its own, to be killed: prints when it begins and ends each message. */
final class OrderlyMember {
    private OrderlyMember() {}

    public static void main(String[] arguments) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(arguments[1]);
        consumer.setNamesrvAddr(arguments[0]);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.subscribe(arguments[2], "*");
        consumer.setMessageListener((MessageListenerOrderly) (batch, context) -> {
            String said = batch.get(0).getQueueId() + " " + new String(batch.get(0).getBody());
            say("begin " + said);
            pause(Long.parseLong(arguments[3]));
            say("end " + said);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        say("ready");
        TimeUnit.MINUTES.sleep(10);
    }

    private static synchronized void say(String line) {
        System.out.println("@" + System.currentTimeMillis() + " " + line);
        System.out.flush();
    }

    private static void pause(long millis) {
        try {
            TimeUnit.MILLISECONDS.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Starts one; its lines go to {@code lines}. */
    static Process start(String group, String topic, long pause, List<String> lines) throws Exception {
        Process process = new ProcessBuilder(
                        System.getProperty("java.home") + "/bin/java",
                        "-Xmx128m",
                        "-cp",
                        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
                        OrderlyMember.class.getName(),
                        Cluster.NAMESRV,
                        group,
                        topic,
                        String.valueOf(pause))
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        Thread reader = new Thread(() -> {
            try (BufferedReader output = new BufferedReader(new InputStreamReader(process.getInputStream()))) {
                output.lines().filter(line -> line.startsWith("@")).forEach(lines::add);
            } catch (Exception e) {
                lines.add("@0 lost");
            }
        });
        reader.setDaemon(true);
        reader.start();
        return process;
    }
}
