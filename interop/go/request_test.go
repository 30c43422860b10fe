// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// answer replies to every request of a topic with its body and a mark.
func answer(t *testing.T, topic string, replier rocketmq.Producer) {
	t.Helper()
	c := newConsumer(t, name("G"))
	err := c.Subscribe(topic, consumer.MessageSelector{}, func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, request := range messages {
			reply, err := consumer.CreateReplyMessage(request, nil)
			if err != nil {
				return consumer.ConsumeRetryLater, err
			}
			// The official client leaves the body of a reply out.
			reply.Body = append([]byte("re: "), request.Body...)
			reply.WithProperty("mark", "mine")
			if _, err := replier.SendSync(ctx, reply); err != nil {
				t.Logf("a reply was not taken: %v", err)
			}
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Shutdown() })
}

// ask repeats a request: the official client may ask before the broker has heard its first heartbeat, each 30 s.
func ask(t *testing.T, p rocketmq.Producer, topic string, body string) *primitive.Message {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; {
		reply, err := p.Request(context.Background(), 2*time.Second, primitive.NewMessage(topic, []byte(body)))
		if err == nil {
			return reply
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestRequestGetsItsReply(t *testing.T) {
	topic := newTopic(t, os.Getenv("KIRUNA_TEST_BROKER"), 2)
	answer(t, topic, newProducer(t))
	p := newProducer(t)
	for _, body := range []string{"what?", "why?", "when?"} {
		reply := ask(t, p, topic, body)
		if got := string(reply.Body); got != "re: "+body || reply.GetProperty("mark") != "mine" {
			t.Fatalf("%q got %q with mark %q", body, got, reply.GetProperty("mark"))
		}
	}
}

func TestNobodyRepliesInTime(t *testing.T) {
	topic := newTopic(t, os.Getenv("KIRUNA_TEST_BROKER"), 1)
	p := newProducer(t)
	reply, err := p.Request(context.Background(), time.Second, primitive.NewMessage(topic, []byte("?")))
	if err == nil {
		t.Fatalf("somebody replied: %v", reply)
	}
}
