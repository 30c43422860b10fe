// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.spring.annotation.ExtRocketMQConsumerConfiguration;
import org.apache.rocketmq.spring.annotation.ExtRocketMQTemplateConfiguration;
import org.apache.rocketmq.spring.core.RocketMQTemplate;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;

/** The application: started once for all scenarios, on topics and groups that nobody used before. */
@SpringBootApplication(proxyBeanMethods = false)
class App {
    static final String RUN = Long.toString(System.currentTimeMillis() % 100_000_000, 36);

    /** Topics that are there before the application; others are created by the first message. */
    private static final List<String> TOPICS = List.of(
            "plain", "objects", "cities", "ordered", "failing", "stuck", "everybody", "answers", "slow", "deals", "extdeals",
            "pulled", "shared", "later");

    /** A second producer beside the one of the properties. */
    @ExtRocketMQTemplateConfiguration(value = "extTemplate", group = "ext_${run}", tlsEnable = "false", namespaceV2 = "spring")
    static class ExtTemplate extends RocketMQTemplate {}

    /** A producer whose topics all lie in one namespace. */
    @ExtRocketMQTemplateConfiguration(value = "spacedTemplate", group = "spaced_${run}", namespace = "space")
    static class SpacedTemplate extends RocketMQTemplate {}

    /** A puller in the group that {@link Listeners.Shared} listens with. */
    @ExtRocketMQConsumerConfiguration(value = "sharedPull", topic = "shared_${run}", group = "sharers_${run}", tlsEnable = "false")
    static class SharedPull extends RocketMQTemplate {}

    private static final class Holder {
        static final ConfigurableApplicationContext CONTEXT = start();

        private static ConfigurableApplicationContext start() {
            try {
                DefaultMQProducer creator = new DefaultMQProducer("creator_" + RUN);
                creator.setNamesrvAddr(System.getenv().getOrDefault("KIRUNA_TEST_NAMESRV", "127.0.0.1:9876"));
                creator.setMqClientApiTimeout(30_000);
                creator.start();
                for (String topic : TOPICS) {
                    create(creator, topic(topic));
                }
                creator.shutdown();
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
            return new SpringApplicationBuilder(App.class).properties("run=" + RUN).run();
        }
    }

    /** Creates a topic; the client gives up after six seconds, which is not much on a busy machine. */
    private static void create(DefaultMQProducer creator, String topic) throws Exception {
        for (int attempt = 1; ; attempt++) {
            try {
                creator.createTopic("TBW102", topic, 4, Map.of());
                return;
            } catch (MQClientException e) {
                if (attempt == 10) {
                    throw e;
                }
            }
        }
    }

    static String topic(String name) {
        return name + "_" + RUN;
    }

    static RocketMQTemplate template() {
        return template("rocketMQTemplate");
    }

    static RocketMQTemplate template(String bean) {
        return Holder.CONTEXT.getBean(bean, RocketMQTemplate.class);
    }
}
