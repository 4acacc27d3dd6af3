package publish

import (
	"testing"
	"time"
)

// What a commit of one event costs in the client and the built-in server together. Most of its time is the disk's.
func BenchmarkCommit(b *testing.B) {
	p := newPublisher(b)
	ctx := timeout(b, time.Hour)
	events := evs("INBOX", 0, 1)
	var tail uint64
	b.ReportAllocs()
	for b.Loop() {
		r, err := p.Commit(ctx, Batch{Mailbox: "m", After: tail, Events: events})
		if err != nil {
			b.Fatal(err)
		}
		tail = r.Seq
	}
}

// What one question to the server costs, beside many others.
func BenchmarkRecover(b *testing.B) {
	p := newPublisher(b)
	mustCommit(b, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 1)})
	ctx := timeout(b, time.Hour)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := p.Recover(ctx, "m", nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
