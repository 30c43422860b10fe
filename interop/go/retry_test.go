// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// A message that fails holds its queue up, is tried in place, and is a dead letter in the end; then the queue goes on.
func TestAnOrderlyFailureIsTriedInPlaceThenDeadLettered(t *testing.T) {
	p := newProducer(t, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	topic := autoTopic(t, p)
	group := name("G")
	for i := 0; i < 4; i++ {
		message := primitive.NewMessage(topic, []byte(fmt.Sprint(i))).WithShardingKey("one").WithKeys([]string{fmt.Sprint("key", i)})
		must(p.SendSync(context.Background(), message))
	}
	var lock sync.Mutex
	var seen []string
	c := newConsumer(t, group, consumer.WithConsumerOrder(true), consumer.WithMaxReconsumeTimes(2),
		consumer.WithSuspendCurrentQueueTimeMillis(200*time.Millisecond))
	handle := func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		lock.Lock()
		defer lock.Unlock()
		body := string(messages[0].Body)
		if body != "first" {
			seen = append(seen, fmt.Sprintf("%s/%d", body, messages[0].ReconsumeTimes))
		}
		if body == "1" {
			return consumer.SuspendCurrentQueueAMoment, nil
		}
		return consumer.ConsumeSuccess, nil
	}
	if err := c.Subscribe(topic, consumer.MessageSelector{}, handle); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Shutdown() })
	has := func(what string) bool {
		lock.Lock()
		defer lock.Unlock()
		for _, one := range seen {
			if one == what {
				return true
			}
		}
		return false
	}
	await(t, "the queue to go on", func() bool { return has("3/0") })
	dead := &inbox{}
	start(t, newConsumer(t, name("G")), "%DLQ%"+group, "*", dead)
	await(t, "the dead letter", func() bool { return dead.count() > 0 })
	time.Sleep(time.Second)
	lock.Lock()
	defer lock.Unlock()
	// This client tries once more than its limit says, on any broker.
	if got, want := fmt.Sprint(seen), "[0/0 1/0 1/1 1/2 1/3 2/0 3/0]"; got != want {
		t.Fatalf("seen %s, not %s", got, want)
	}
	if dead.count() != 1 || dead.bodies["1"] != 1 {
		t.Fatalf("dead letters %v", dead.bodies)
	}
}
