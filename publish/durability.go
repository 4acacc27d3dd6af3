package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Weakness is a setting of the broker under which what it has acknowledged may be lost, or be gone before it is read. It is
// no mistake: the one who runs the broker may have chosen it.
type Weakness struct {
	Code     string
	Promise  string // which promise of README it touches, such as "C2"
	Sentence string
	Fix      string
}

// The codes of weaknesses.
const (
	WeakOneDisk   = "one_disk"       // one copy, on the built-in server's disk
	WeakCopies    = "few_copies"     // a stream of an external server has fewer than three copies
	WeakBehind    = "copies_behind"  // some copies are not up to date at the moment
	WeakSync      = "sync_late"      // acknowledged before it is on disk
	WeakSyncBlind = "sync_unknown"   // nobody tells
	WeakPurge     = "purge_possible" // the stream can be purged
	WeakShort     = "short_max_age"  // events go before a long weekend is over
	WeakObjects   = "objects_lost"   // the bucket was made anew, and events refer to what it held
	WeakForgets   = "objects_short"  // the bucket forgets before the stream does
)

// shortAge is how long events should be kept at least: consumers may be down from a Friday to a Tuesday.
const shortAge = 4 * 24 * time.Hour

// Weaknesses asks the broker how safe what it acknowledges is. beside are other streams that count, such as that of the KV
// bucket. What cannot be seen is a weakness too, with what to do so that it can be.
func (p *Publisher) Weaknesses(ctx context.Context, beside ...string) ([]Weakness, error) {
	var weak []Weakness
	var few, behind []string
	var stream, bucket Store
	for _, name := range append([]string{p.config.Stream.Name, bucketStream(p.config.Bucket)}, beside...) {
		info, err := p.streamInfo(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("ask for the settings of the stream %s: %w", name, err)
		}
		s := info.store(name)
		if s.Replicas < 3 {
			few = append(few, name)
		}
		if s.Answered < s.Replicas {
			behind = append(behind, name)
		}
		switch name {
		case p.config.Stream.Name:
			stream = s
			weak = append(weak, p.keeping(info)...)
		case bucketStream(p.config.Bucket):
			bucket = s
		}
	}
	weak = append(append(weak, dangling(stream, bucket, p.skew)...), forgetful(stream, bucket)...)
	if p.builtIn() {
		return append(weak, Weakness{
			Code: WeakOneDisk, Promise: "C2",
			Sentence: "The built-in server has one copy of everything, on one disk. Each event is on it before it is acknowledged, so a power cut loses nothing; a lost disk loses all.",
			Fix:      "Keep backups of the data directory, or set nats.url to a cluster of three servers.",
		}), nil
	}
	return slices.Concat(weak, copies(few, behind), p.syncing(ctx)), nil
}

// builtIn says whether the server is the one that mailflume brings along, in this process or in another.
func (p *Publisher) builtIn() bool { return p.server != nil || p.config.Beside }

// copies is about the streams that fewer than three servers have, and those of which not all copies are up to date.
func copies(few, behind []string) (weak []Weakness) {
	if len(few) > 0 {
		weak = append(weak, Weakness{
			Code: WeakCopies, Promise: "C2",
			Sentence: "Fewer than three servers have " + strings.Join(few, ", ") + ": when one is down nothing is published, and when its disk is lost so may be what was acknowledged.",
			Fix:      "In a cluster of three servers or more, run for each: nats stream edit " + few[0] + " --replicas=3.",
		})
	}
	if len(behind) > 0 {
		weak = append(weak, Weakness{
			Code: WeakBehind, Promise: "C2",
			Sentence: "Not all copies of " + strings.Join(behind, ", ") + " are up to date: the loss of another server stops publishing.",
			Fix:      "See which server is down or behind with: nats stream info " + behind[0] + ".",
		})
	}
	return weak
}

// clockSkew is how far the clocks of the servers of a cluster may be apart.
const clockSkew = time.Minute

// dangling is about events that are older than the bucket, which Setup makes before the first of them.
func dangling(stream, bucket Store, skew time.Duration) []Weakness {
	if stream.Messages == 0 || !stream.FirstTime.Add(skew).Before(bucket.Created) {
		return nil
	}
	w := Weakness{
		Code: WeakObjects, Promise: "C3, C7",
		Sentence: fmt.Sprintf("The stream %s was made anew on %s, and the stream %s has events of before that: the attachments and raw messages that they refer to are gone.",
			bucket.Name, bucket.Created.UTC().Format(time.DateTime), stream.Name),
		Fix: "Restore it from a backup if they are needed.",
	}
	if stream.MaxAge > 0 {
		w.Fix += fmt.Sprintf(" Nothing to do else: from %s on no event is as old.", bucket.Created.Add(stream.MaxAge).UTC().Format(time.DateOnly))
	}
	return []Weakness{w}
}

// forgetful is about a bucket that forgets what events refer to before the stream forgets them: Setup does not take one, but the stream
// may have been changed since.
func forgetful(stream, bucket Store) []Weakness {
	lives := bucketAge(stream.MaxAge)
	if bucket.MaxAge == 0 || lives > 0 && lives <= bucket.MaxAge {
		return nil
	}
	return []Weakness{{
		Code: WeakForgets, Promise: "C3",
		Sentence: fmt.Sprintf("The max_age of %s is %s, and that of %s is %s: attachments and raw messages may go before the events that refer to them.",
			bucket.Name, age(bucket.MaxAge), stream.Name, age(stream.MaxAge)),
		Fix: fmt.Sprintf("Run: nats stream edit %s --max-age=%s.", bucket.Name, lives),
	}}
}

// keeping looks at what may remove events.
func (p *Publisher) keeping(info *streamInfo) (weak []Weakness) {
	if !info.Config.DenyPurge && !p.builtIn() {
		weak = append(weak, Weakness{
			Code: WeakPurge, Promise: "C2, C7",
			Sentence: "Whoever may call $JS.API.STREAM.PURGE." + p.config.Stream.Name + " can remove events before they are read. It is announced, as stale, and cannot be undone.",
			Fix:      "Withhold that subject from all users but the administrator.",
		})
	}
	if age := info.Config.MaxAge; age > 0 && age < shortAge {
		weak = append(weak, Weakness{
			Code: WeakShort, Promise: "C7",
			Sentence: fmt.Sprintf("Events are gone after %v, read or unread.", age),
			Fix:      "Raise nats.stream.max_age above the longest time that consumers may be down.",
		})
	}
	return weak
}

// syncing looks at when the servers write to disk what they acknowledge. Only their monitoring port tells.
func (p *Publisher) syncing(ctx context.Context) (weak []Weakness) {
	const promise = "C2"
	if p.config.Monitor == "" {
		return []Weakness{{
			Code: WeakSyncBlind, Promise: promise,
			Sentence: "It cannot be seen whether the NATS server has events on disk before it acknowledges them. By default it has not: a power cut that hits all copies loses up to two minutes of them.",
			Fix:      "Set nats.monitor to its monitoring port (http://HOST:8222) so that it can be seen, and sync_interval: always in its jetstream section.",
		}}
	}
	for one := range strings.SplitSeq(p.config.Monitor, ",") {
		one = strings.TrimSpace(one)
		v, err := varz(ctx, one)
		switch {
		case err != nil:
			weak = append(weak, Weakness{
				Code: WeakSyncBlind, Promise: promise,
				Sentence: fmt.Sprintf("The monitoring port %s does not tell when the server writes to disk: %v.", withoutUser(one), err),
				Fix:      "Correct nats.monitor, or let this machine reach it.",
			})
		case !v.JetStream.Config.SyncAlways:
			weak = append(weak, Weakness{
				Code: WeakSync, Promise: promise,
				Sentence: fmt.Sprintf("The NATS server at %s acknowledges events up to %v before they are on its disk: a power cut that hits all copies loses them.", withoutUser(one), v.JetStream.Config.SyncInterval),
				Fix:      "Set sync_interval: always in the jetstream section of its configuration, and restart it.",
			})
		}
	}
	return weak
}

// monitored is the part of /varz that we read.
type monitored struct {
	JetStream struct {
		Config *struct {
			SyncInterval time.Duration `json:"sync_interval"`
			SyncAlways   bool          `json:"sync_always"`
		} `json:"config"`
	} `json:"jetstream"`
}

func varz(ctx context.Context, base string) (v monitored, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+"/varz", nil)
	if err != nil {
		return v, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	answer, err := client.Do(request)
	if err != nil {
		return v, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return v, errors.New("it answers " + answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&v); err != nil {
		return v, fmt.Errorf("its answer is not that of a NATS server: %w", err)
	}
	if v.JetStream.Config == nil {
		return v, errors.New("the server there has no JetStream")
	}
	return v, nil
}
