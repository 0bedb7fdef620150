package eventlog

import (
	"io"
	"testing"
	"time"

	"postern/queue"
	"postern/relay/submission"
	"postern/spool"
)

// BenchmarkMessage is what is told and counted of one message that is taken
// and delivered, without the writing of the lines.
func BenchmarkMessage(b *testing.B) {
	for _, level := range []string{"info", "warn"} {
		b.Run(level, func(b *testing.B) {
			l, err := New(io.Discard, Options{Level: level, Format: "json"})
			if err != nil {
				b.Fatal(err)
			}
			tell, deliveries := l.Submission(), l.Queue()
			peer := submission.Client{Listener: "127.0.0.1:2525", Peer: "127.0.0.1:40000", Helo: "client.example"}
			taken := &submission.Accepted{Client: &peer, ID: 1, From: "from@a.example", Recipients: 1, Size: 1024,
				MessageID: "<1.1.x@relay.example>", Took: time.Millisecond}
			sent := &queue.Attempted{ID: 1, From: "from@a.example", To: "to@b.example", Upstream: "office",
				Number: 1, Delay: time.Millisecond, Size: 1024, Outcome: spool.Outcome{Stage: spool.StageDot,
					Code: 250, Enhanced: "2.0.0", Text: "queued", Remote: "office.example:587", Verdict: spool.Delivered}}
			end := &queue.Finished{ID: 1, From: "from@a.example", Age: time.Millisecond, Attempts: 1}
			b.ReportAllocs()
			for b.Loop() {
				tell(taken)
				deliveries(sent)
				deliveries(end)
			}
		})
	}
}
