// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.nio.file.Path;
import java.util.List;
import java.util.Properties;
import org.apache.rocketmq.common.namesrv.NamesrvConfig;
import org.apache.rocketmq.namesrv.NamesrvController;
import org.apache.rocketmq.remoting.netty.NettyServerConfig;

/** A name server of ours in the clothes of Apache's. */
public final class RemoteNamesrv extends NamesrvController {
    private final Shared shared;

    private RemoteNamesrv(Shared shared, NettyServerConfig listener) {
        super(new NamesrvConfig(), listener);
        this.shared = shared;
    }

    public static RemoteNamesrv start(Path dir) {
        Node node = Node.namesrv(dir);
        NettyServerConfig listener = new NettyServerConfig();
        listener.setListenPort(node.port);
        return new RemoteNamesrv(new Shared(node.address()), listener);
    }

    @Override
    public NamesrvConfig getNamesrvConfig() {
        return shared == null ? super.getNamesrvConfig() : shared;
    }

    private static final class Shared extends NamesrvConfig {
        private final String address;

        Shared(String address) {
            this.address = address;
        }

        @Override
        public void setDeleteTopicWithBrokerRegistration(boolean on) {
            super.setDeleteTopicWithBrokerRegistration(on);
            Properties change = new Properties();
            change.setProperty("deleteTopicWithBrokerRegistration", Boolean.toString(on));
            Asked names = new Asked(address, address);
            Asked.ask(() -> {
                names.admin.updateNameServerConfig(change, List.of(address));
                return null;
            });
            names.admin.shutdown();
        }
    }
}
