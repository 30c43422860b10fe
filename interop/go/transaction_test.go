// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// books decides by the body of the message: at once, and again when it is asked.
type books struct {
	sync.Mutex
	first func(string) primitive.LocalTransactionState
	asked map[string]*primitive.MessageExt
}

func (b *books) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	return b.first(string(message.Body))
}

func (b *books) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	b.Lock()
	defer b.Unlock()
	b.asked[string(message.Body)] = message
	return byName(string(message.Body))
}

func (b *books) wasAskedAbout(body string) bool {
	b.Lock()
	defer b.Unlock()
	return b.asked[body] != nil
}

func byName(body string) primitive.LocalTransactionState {
	switch {
	case strings.HasPrefix(body, "commit"):
		return primitive.CommitMessageState
	case strings.HasPrefix(body, "rollback"):
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func unknown(string) primitive.LocalTransactionState { return primitive.UnknowState }

func newTransactionProducer(t *testing.T, group string, first func(string) primitive.LocalTransactionState) (rocketmq.TransactionProducer, *books) {
	t.Helper()
	listener := &books{first: first, asked: map[string]*primitive.MessageExt{}}
	p := must(rocketmq.NewTransactionProducer(listener, producer.WithNameServer(namesrv()),
		producer.WithGroupName(group), producer.WithInstanceName(name("i")), producer.WithRetry(2)))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p, listener
}

func TestTransactionsAreDecidedAtOnceOrWhenAsked(t *testing.T) {
	topic := autoTopic(t, newProducer(t))
	in := &inbox{}
	start(t, newConsumer(t, name("G")), topic, "*", in)
	heard := func(body string) bool {
		in.Lock()
		defer in.Unlock()
		return in.bodies[body] > 0
	}

	send := func(p rocketmq.TransactionProducer, body string) *primitive.TransactionSendResult {
		return must(p.SendMessageInTransaction(context.Background(), primitive.NewMessage(topic, []byte(body))))
	}
	decided, _ := newTransactionProducer(t, name("PG"), byName)
	if sent := send(decided, "commit now"); sent.State != primitive.CommitMessageState || sent.Status != primitive.SendOK {
		t.Fatalf("%v", sent)
	}
	send(decided, "rollback now")
	lives, listener := newTransactionProducer(t, name("PG"), unknown)
	send(lives, "rollback later")
	send(lives, "commit later")
	for _, body := range []string{"commit now", "commit later"} {
		await(t, body, func() bool { return heard(body) })
	}
	await(t, "the other question", func() bool { return listener.wasAskedAbout("rollback later") })
	time.Sleep(time.Second)
	for _, body := range []string{"rollback now", "rollback later"} {
		if heard(body) {
			t.Fatalf("%s was delivered", body)
		}
	}
	_ = lives.Shutdown()
	_ = decided.Shutdown()
}

// A Go producer knows the brokers of topics that it has sent to, and makes itself known to no others: one that never sent
// anything is asked by nobody.
func TestTheProducerThatLivesIsAskedForTheOneThatDied(t *testing.T) {
	topic := autoTopic(t, newProducer(t))
	group := name("PG")
	send := func(p rocketmq.TransactionProducer, body string) {
		must(p.SendMessageInTransaction(context.Background(), primitive.NewMessage(topic, []byte(body))))
	}
	lives, listener := newTransactionProducer(t, group, unknown)
	send(lives, "rollback of the living")
	dies, _ := newTransactionProducer(t, group, unknown)
	send(dies, "commit of the dead")
	_ = dies.Shutdown()
	in := &inbox{}
	start(t, newConsumer(t, name("G")), topic, "*", in)
	await(t, "the question", func() bool { return listener.wasAskedAbout("commit of the dead") })
	await(t, "the message", func() bool {
		in.Lock()
		defer in.Unlock()
		return in.bodies["commit of the dead"] == 1
	})
	_ = lives.Shutdown()
}
