// SPDX-License-Identifier: Apache-2.0
package kiruna;

import org.apache.rocketmq.common.BrokerConfig;

/** The settings that a test thinks it shares with a broker; those that matter to ours are passed on. */
public final class Settings extends BrokerConfig {
    private Asked broker;

    void of(Asked broker) {
        this.broker = broker;
    }

    @Override
    public void setLongPollingEnable(boolean on) {
        super.setLongPollingEnable(on);
        broker.set("longPollingEnable", on);
    }

    @Override
    public void setShortPollingTimeMills(long time) {
        super.setShortPollingTimeMills(time);
        broker.set("shortPollingTimeMills", time);
    }

    @Override
    public void setUseServerSideResetOffset(boolean on) {
        super.setUseServerSideResetOffset(on);
        broker.set("useServerSideResetOffset", on);
    }
}
