// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// What a dead member held in order is free when its lock's lease (60 s) is over and the others have looked again (20 s);
// the rest is for a busy machine.
const takeover = 150 * time.Second

// member is the whole life of a process of its own, to be killed: "group topic orderly pause".
func member(arguments string) {
	words := strings.Fields(arguments)
	pause := must(strconv.Atoi(words[3]))
	var lock sync.Mutex
	say := func(what string, message *primitive.MessageExt) {
		lock.Lock()
		defer lock.Unlock()
		fmt.Printf("@%d %s %s\n", time.Now().UnixMicro(), what, message.Body)
	}
	c := must(rocketmq.NewPushConsumer(consumer.WithNameServer(namesrv()), consumer.WithGroupName(words[0]),
		consumer.WithInstance(fmt.Sprint("i", os.Getpid())), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithConsumerOrder(words[2] == "true"), consumer.WithConsumeMessageBatchMaxSize(1)))
	handle := func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			say("begin", message)
			time.Sleep(time.Duration(pause) * time.Millisecond)
			say("end", message)
		}
		return consumer.ConsumeSuccess, nil
	}
	if err := c.Subscribe(words[1], consumer.MessageSelector{}, handle); err != nil {
		panic(err)
	}
	if err := c.Start(); err != nil {
		panic(err)
	}
	time.Sleep(10 * time.Minute)
}

// said is one line of a member: when, by whom, "begin" or "end", and the body.
type said struct {
	at   int64
	who  int
	what string
	body string
}

// pair is two members of one group in processes of their own, and everything they said.
type pair struct {
	sync.Mutex
	members [2]*exec.Cmd
	lines   []said
}

func startPair(t *testing.T, group string, topic string, orderly bool, pause int) *pair {
	t.Helper()
	p := &pair{}
	for who := range p.members {
		command := exec.Command(must(os.Executable()))
		command.Env = append(os.Environ(), fmt.Sprintf("KIRUNA_GO_MEMBER=%s %s %t %d", group, topic, orderly, pause))
		output := must(command.StdoutPipe())
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = command.Process.Kill() })
		p.members[who] = command
		go func() {
			for lines := bufio.NewScanner(output); lines.Scan(); {
				words := strings.Fields(lines.Text())
				if len(words) == 3 && strings.HasPrefix(words[0], "@") {
					at, _ := strconv.ParseInt(words[0][1:], 10, 64)
					p.Lock()
					p.lines = append(p.lines, said{at, who, words[1], words[2]})
					p.Unlock()
				}
			}
		}()
	}
	return p
}

// story returns what was said so far, in the order of time.
func (p *pair) story() []said {
	p.Lock()
	defer p.Unlock()
	lines := append([]said(nil), p.lines...)
	sort.SliceStable(lines, func(a, b int) bool { return lines[a].at < lines[b].at })
	return lines
}

// ended returns the bodies that somebody has ended.
func (p *pair) ended() map[string]bool {
	ended := map[string]bool{}
	for _, line := range p.story() {
		if line.what == "end" {
			ended[line.body] = true
		}
	}
	return ended
}

// killFirst kills the first member while it is in the middle of a message, and returns the bodies it had begun only.
func (p *pair) killFirst(t *testing.T) map[string]bool {
	t.Helper()
	open := func() map[string]bool {
		open := map[string]bool{}
		for _, line := range p.story() {
			if line.who == 0 && line.what == "begin" {
				open[line.body] = true
			} else if line.who == 0 {
				delete(open, line.body)
			}
		}
		return open
	}
	await(t, "work on both sides", func() bool {
		count := [2]int{}
		for _, line := range p.story() {
			count[line.who]++
		}
		return count[0] > 10 && count[1] > 10 && len(open()) > 0
	})
	if err := p.members[0].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.members[0].Wait()
	return open()
}

func awaitAll(t *testing.T, p *pair, total int) {
	t.Helper()
	end := time.Now().Add(takeover)
	for len(p.ended()) < total {
		if time.Now().After(end) {
			t.Fatalf("%d of %d messages, %s after the death", len(p.ended()), total, takeover)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// sendOn keeps sending, a round after each pause, until the function it returns is called; that one has 20 more rounds sent
// and returns the number of rounds.
func sendOn(t *testing.T, pause time.Duration, round func(n int) error) (stop func() int) {
	t.Helper()
	quit, rounds := make(chan struct{}), make(chan int)
	go func() {
		n, left := 0, -1
		for ; left != 0 && n < 20_000; n++ {
			if err := round(n); err != nil {
				t.Error(err)
				break
			}
			select {
			case <-quit:
				quit, left = nil, 20
			case <-time.After(pause):
				left--
			}
		}
		rounds <- n
	}()
	return func() int {
		close(quit)
		return <-rounds
	}
}

func TestAMemberThatDiesLosesNoMessage(t *testing.T) {
	t.Parallel()
	p := newProducer(t)
	topic := autoTopic(t, p)
	pair := startPair(t, name("G"), topic, false, 40)
	stop := sendOn(t, 20*time.Millisecond, func(n int) error {
		_, err := p.SendSync(context.Background(), primitive.NewMessage(topic, []byte(fmt.Sprint(n))))
		return err
	})
	died := pair.killFirst(t)
	total := stop()
	awaitAll(t, pair, total+1)
	for body := range died {
		if !pair.ended()[body] {
			t.Fatalf("%s, which the dead one had begun, did not come again", body)
		}
	}
}

// Members of an orderly group come to their share late: the first one has locked all there is. So the sends are slow.
func TestAMemberThatDiesLosesNoOrder(t *testing.T) {
	t.Parallel()
	p := newProducer(t, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	topic := autoTopic(t, newProducer(t))
	pair := startPair(t, name("G"), topic, true, 40)
	const keys = 4
	stop := sendOn(t, 100*time.Millisecond, func(n int) error {
		for key := 0; key < keys; key++ {
			message := primitive.NewMessage(topic, []byte(fmt.Sprintf("%d:%d", key, n))).WithShardingKey(fmt.Sprint(key))
			if _, err := p.SendSync(context.Background(), message); err != nil {
				return err
			}
		}
		return nil
	})
	died := pair.killFirst(t)
	total := stop()
	// The topic was made by a message of its own.
	awaitAll(t, pair, keys*total+1)
	next := map[string]int{}
	busy := map[string]said{}
	for _, line := range pair.story() {
		key, number, found := strings.Cut(line.body, ":")
		if !found {
			continue
		}
		if other, taken := busy[key]; taken && other.who != line.who && !died[other.body] {
			t.Fatalf("%v while %v is not ended", line, other)
		}
		if line.what == "begin" {
			busy[key] = line
			continue
		}
		delete(busy, key)
		n := must(strconv.Atoi(number))
		// Progress is saved now and then: what the dead one ended since may come again, from there on in order.
		if n > next[key] {
			t.Fatalf("%v ended before %s:%d", line, key, next[key])
		}
		if n == next[key] {
			next[key]++
		}
	}
	for body := range died {
		if !pair.ended()[body] {
			t.Fatalf("%s, which the dead one had begun, did not come again", body)
		}
	}
}
