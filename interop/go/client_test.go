// SPDX-License-Identifier: Apache-2.0

// The official Go client (v2, remoting), unmodified, against the server at $KIRUNA_TEST_NAMESRV.
package interop

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

var next atomic.Int64

func TestMain(m *testing.M) {
	rlog.SetLogLevel("error")
	if arguments := os.Getenv("KIRUNA_GO_MEMBER"); arguments != "" {
		member(arguments)
		return
	}
	os.Exit(m.Run())
}

func namesrv() []string {
	if address := os.Getenv("KIRUNA_TEST_NAMESRV"); address != "" {
		return []string{address}
	}
	return []string{"127.0.0.1:9876"}
}

func name(what string) string {
	return fmt.Sprintf("%s_go_%d_%d", what, time.Now().UnixMilli()%10_000_000, next.Add(1))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func newTopic(t *testing.T, brokerAddr string, queues int) string {
	t.Helper()
	topic := name("T")
	a := must(admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver(namesrv()))))
	t.Cleanup(func() { _ = a.Close() })
	err := a.CreateTopic(context.Background(), admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(brokerAddr),
		admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues))
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func newProducer(t *testing.T, options ...producer.Option) rocketmq.Producer {
	t.Helper()
	options = append([]producer.Option{
		producer.WithNameServer(namesrv()), producer.WithGroupName(name("P")), producer.WithInstanceName(name("i")),
		producer.WithRetry(2),
	}, options...)
	p := must(rocketmq.NewProducer(options...))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Shutdown() })
	return p
}

func newConsumer(t *testing.T, group string, options ...consumer.Option) rocketmq.PushConsumer {
	t.Helper()
	options = append([]consumer.Option{
		consumer.WithNameServer(namesrv()), consumer.WithGroupName(group), consumer.WithInstance(name("i")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)
	return must(rocketmq.NewPushConsumer(options...))
}

type inbox struct {
	sync.Mutex
	bodies map[string]int
	order  []string
}

func (in *inbox) take(messages []*primitive.MessageExt) {
	in.Lock()
	defer in.Unlock()
	if in.bodies == nil {
		in.bodies = map[string]int{}
	}
	for _, message := range messages {
		in.bodies[string(message.Body)]++
		in.order = append(in.order, string(message.Body))
	}
}

func (in *inbox) count() int {
	in.Lock()
	defer in.Unlock()
	return len(in.bodies)
}

func start(t *testing.T, c rocketmq.PushConsumer, topic string, tags string, in *inbox) {
	t.Helper()
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: tags}
	err := c.Subscribe(topic, selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		in.take(messages)
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

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	end := time.Now().Add(90 * time.Second)
	for !done() {
		if time.Now().After(end) {
			t.Fatalf("waited 90 s for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// autoTopic makes a topic by sending to it, and returns it with one message in it.
func autoTopic(t *testing.T, p rocketmq.Producer) string {
	t.Helper()
	topic := name("AUTO")
	await(t, "the topic", func() bool {
		result, err := p.SendSync(context.Background(), primitive.NewMessage(topic, []byte("first")))
		return err == nil && result.Status == primitive.SendOK
	})
	// The broker answers a send before the name server has heard of the new topic; a consumer needs its route to start.
	a := must(admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver(namesrv()))))
	defer func() { _ = a.Close() }()
	await(t, "the route", func() bool {
		queues, err := a.FetchPublishMessageQueues(context.Background(), topic)
		return err == nil && len(queues) > 0
	})
	return topic
}

func TestEveryWayToSendArrives(t *testing.T) {
	p := newProducer(t)
	topic := autoTopic(t, p)
	in := &inbox{}
	start(t, newConsumer(t, name("G")), topic, "*", in)
	want := 1
	for i := 0; i < 10; i++ {
		message := primitive.NewMessage(topic, []byte(fmt.Sprintf("sync%d", i)))
		message.WithProperty("mine", "a\"b\\c 日本")
		result := must(p.SendSync(context.Background(), message))
		if result.Status != primitive.SendOK || result.MsgID == "" || result.OffsetMsgID == "" {
			t.Fatalf("bad result %v", result)
		}
		want++
	}
	var done sync.WaitGroup
	for i := 0; i < 10; i++ {
		done.Add(1)
		err := p.SendAsync(context.Background(), func(_ context.Context, _ *primitive.SendResult, err error) {
			if err != nil {
				t.Error(err)
			}
			done.Done()
		}, primitive.NewMessage(topic, []byte(fmt.Sprintf("async%d", i))))
		if err != nil {
			t.Fatal(err)
		}
		want++
	}
	done.Wait()
	for i := 0; i < 5; i++ {
		if err := p.SendOneWay(context.Background(), primitive.NewMessage(topic, []byte(fmt.Sprintf("oneway%d", i)))); err != nil {
			t.Fatal(err)
		}
		want++
	}
	var batch []*primitive.Message
	for i := 0; i < 16; i++ {
		batch = append(batch, primitive.NewMessage(topic, []byte(fmt.Sprintf("batch%d", i))))
		want++
	}
	must(p.SendSync(context.Background(), batch...))
	await(t, "all messages", func() bool { return in.count() == want })
}

// Against Apache's server it takes enablePropertyFilter=true.
func TestSql92Selects(t *testing.T) {
	p := newProducer(t)
	topic := autoTopic(t, p)
	expressions := map[string][]string{
		"a BETWEEN 1 AND 10 AND b IN ('x','y') AND c IS NOT NULL": {"one"},
		"a > 1":                {"ten", "eleven"},
		"NOT (a > 1)":          {"one"},
		"a IS NULL OR b = 'z'": {"first", "none", "half"},
	}
	inboxes := map[string]*inbox{}
	for expression := range expressions {
		in := &inbox{}
		inboxes[expression] = in
		c := newConsumer(t, name("G"))
		err := c.Subscribe(topic, consumer.MessageSelector{Type: consumer.SQL92, Expression: expression},
			func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
				in.take(messages)
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
	for body, properties := range map[string]map[string]string{
		"one":    {"a": "1", "b": "x", "c": "yes"},
		"ten":    {"a": "10", "b": "y"},
		"eleven": {"a": "11", "b": "x", "c": "no"},
		"half":   {"a": "1.5", "b": "z"},
		"word":   {"a": "word", "b": "x"},
		"none":   {"c": "true"},
	} {
		message := primitive.NewMessage(topic, []byte(body))
		message.WithProperties(properties)
		must(p.SendSync(context.Background(), message))
	}
	for expression, want := range expressions {
		in := inboxes[expression]
		await(t, expression, func() bool { return in.count() >= len(want) })
	}
	time.Sleep(2 * time.Second)
	for expression, want := range expressions {
		in := inboxes[expression]
		for _, body := range want {
			if in.bodies[body] == 0 {
				t.Fatalf("%s: no %s in %v", expression, body, in.order)
			}
		}
		if in.count() != len(want) {
			t.Fatalf("%s: %v", expression, in.order)
		}
	}
}

func TestTagsSelect(t *testing.T) {
	p := newProducer(t)
	topic := autoTopic(t, p)
	for i, tag := range []string{"Aa", "BB", "C", "Aa"} {
		must(p.SendSync(context.Background(), primitive.NewMessage(topic, []byte(fmt.Sprintf("%s%d", tag, i))).WithTag(tag)))
	}
	in := &inbox{}
	start(t, newConsumer(t, name("G")), topic, "Aa || C", in)
	await(t, "three", func() bool { return in.count() == 3 })
	time.Sleep(300 * time.Millisecond)
	if in.bodies["BB1"] != 0 || in.count() != 3 {
		t.Fatalf("got %v", in.bodies)
	}
}

func TestOrderHolds(t *testing.T) {
	p := newProducer(t, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	topic := autoTopic(t, p)
	in := &inbox{}
	start(t, newConsumer(t, name("G"), consumer.WithConsumerOrder(true)), topic, "*", in)
	for i := 0; i < 50; i++ {
		must(p.SendSync(context.Background(), primitive.NewMessage(topic, []byte(fmt.Sprintf("%03d", i))).WithShardingKey("one")))
	}
	await(t, "all", func() bool { return in.count() == 51 })
	in.Lock()
	defer in.Unlock()
	last := ""
	for _, body := range in.order {
		if body == "first" {
			continue
		}
		if body <= last {
			t.Fatalf("%s after %s", body, last)
		}
		last = body
	}
}

func TestBroadcastReachesAll(t *testing.T) {
	p := newProducer(t)
	topic := autoTopic(t, p)
	group := name("G")
	one, two := &inbox{}, &inbox{}
	for _, in := range []*inbox{one, two} {
		start(t, newConsumer(t, group, consumer.WithConsumerModel(consumer.BroadCasting)), topic, "*", in)
	}
	await(t, "both", func() bool {
		must(p.SendSync(context.Background(), primitive.NewMessage(topic, []byte("to all"))))
		return one.bodies["to all"] > 0 && two.bodies["to all"] > 0
	})
}

func TestAFailedMessageComesBack(t *testing.T) {
	p := newProducer(t)
	topic := autoTopic(t, p)
	var attempts sync.Map
	c := newConsumer(t, name("G"))
	err := c.Subscribe(topic, consumer.MessageSelector{}, func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if concurrent, ok := primitive.GetConcurrentlyCtx(ctx); ok {
			concurrent.DelayLevelWhenNextConsume = 1
		}
		for _, message := range messages {
			attempts.Store(message.ReconsumeTimes, true)
			if message.ReconsumeTimes < 2 {
				return consumer.ConsumeRetryLater, nil
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
	await(t, "the third attempt", func() bool {
		_, ok := attempts.Load(int32(2))
		return ok
	})
}

func TestADelayedMessageIsNotEarly(t *testing.T) {
	p := newProducer(t)
	topic := autoTopic(t, p)
	in := &inbox{}
	start(t, newConsumer(t, name("G")), topic, "*", in)
	await(t, "the first", func() bool { return in.count() == 1 })
	before := time.Now()
	must(p.SendSync(context.Background(), primitive.NewMessage(topic, []byte("late")).WithDelayTimeLevel(2)))
	await(t, "the late one", func() bool { return in.count() == 2 })
	if took := time.Since(before); took < 5*time.Second {
		t.Fatalf("early: %v", took)
	}
}

func TestPullConsumerReadsAndCommits(t *testing.T) {
	p := newProducer(t)
	topic := autoTopic(t, p)
	for i := 0; i < 20; i++ {
		must(p.SendSync(context.Background(), primitive.NewMessage(topic, []byte(fmt.Sprintf("p%d", i)))))
	}
	c := must(rocketmq.NewPullConsumer(consumer.WithNameServer(namesrv()), consumer.WithGroupName(name("G")),
		consumer.WithInstance(name("i")), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)))
	if err := c.Subscribe(topic, consumer.MessageSelector{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Shutdown() })
	got := map[string]bool{}
	await(t, "twenty-one", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		request, err := c.Poll(ctx, 500*time.Millisecond)
		if err != nil || request == nil {
			return false
		}
		for _, message := range request.GetMsgList() {
			got[string(message.Body)] = true
		}
		c.ACK(context.Background(), request, consumer.ConsumeSuccess)
		return len(got) == 21
	})
}

func TestAdminCreatesListsAndDeletes(t *testing.T) {
	p := newProducer(t)
	result := must(p.SendSync(context.Background(), primitive.NewMessage(autoTopic(t, p), []byte("x"))))
	brokerAddr := os.Getenv("KIRUNA_TEST_BROKER")
	if brokerAddr == "" {
		t.Logf("no KIRUNA_TEST_BROKER; the queue was %v", result.MessageQueue)
		return
	}
	topic := newTopic(t, brokerAddr, 3)
	a := must(admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver(namesrv()))))
	t.Cleanup(func() { _ = a.Close() })
	await(t, "the topic in the list", func() bool {
		list, err := a.FetchAllTopicList(context.Background())
		if err != nil {
			return false
		}
		for _, one := range list.TopicList {
			if one == topic {
				return true
			}
		}
		return false
	})
	if queues := must(a.FetchPublishMessageQueues(context.Background(), topic)); len(queues) != 3 {
		t.Fatalf("%d queues", len(queues))
	}
	if err := a.DeleteTopic(context.Background(), admin.WithTopicDelete(topic), admin.WithBrokerAddrDelete(brokerAddr)); err != nil {
		t.Fatal(err)
	}
}
