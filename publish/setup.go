package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/crash"
)

// duplicateWindow is small because we never send a Nats-Msg-Id.
const duplicateWindow = time.Second

func (s Stream) maxAge() time.Duration {
	if s.MaxAge == 0 {
		return defaultMaxAge
	}
	return s.MaxAge
}

// Setup creates the stream and the bucket where they are missing, and otherwise checks every setting that the promises
// rest on. Replicas may call it at the same moment.
//
// In a stream that exists it changes by itself only what takes nothing away: it switches on allow_direct and
// allow_atomic. In the built-in server, where the configuration is the one place to say it, it also applies max_age,
// max_bytes and deny_delete. Every other difference is for its owner: a *SettingsError with the sentence that mends it.
func (p *Publisher) Setup(ctx context.Context) error {
	found, err := p.setupStream(ctx)
	if err != nil {
		return err
	}
	crash.At("stream.prepared")
	p.maxAge.Store(int64(found.Config.MaxAge))
	p.bornAt(found.Created)
	err = p.setupBucket(ctx, bucketAge(found.Config.MaxAge))
	crash.At("stream.prepared")
	return err
}

// bucketAge is long enough that no event outlives the objects it refers to, although an object is put again only when
// it is about as old as the stream's max_age.
func bucketAge(maxAge time.Duration) time.Duration { return 2 * maxAge }

func (p *Publisher) setupStream(ctx context.Context) (*jetstream.StreamInfo, error) {
	s := p.config.Stream
	want := jetstream.StreamConfig{
		Name: s.Name, Description: "Mail read by Mailflume", Subjects: []string{mailRoot + ".>", mailboxRoot + ".>"},
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		MaxAge: s.maxAge(), MaxBytes: orUnlimited(s.MaxBytes), MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
		Replicas: p.replicas(), Duplicates: duplicateWindow, DenyDelete: true, AllowDirect: true, AllowAtomicPublish: true,
	}
	found, err := p.createOrFind(ctx, want)
	if err != nil {
		return nil, err
	}
	have := found.Config
	if changed, ok := p.additions(have, want); ok {
		info, err := p.js.UpdateStream(ctx, changed)
		if err != nil {
			diff := differences(have, want, p.config.Stream)
			return nil, errors.Join(settingsError(s.Name, diff), p.apiError("update the stream "+s.Name, updateSubject(s.Name), err))
		}
		found, have = info.CachedInfo(), info.CachedInfo().Config
	}
	if err := settingsError(s.Name, differences(have, want, p.config.Stream)); err != nil {
		return nil, err
	}
	return found, nil
}

// createOrFind looks first: it is cheaper, and all that an account with few rights may do.
func (p *Publisher) createOrFind(ctx context.Context, want jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	for range 2 {
		s, err := p.js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			s, err = p.js.CreateStream(ctx, want)
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				continue // another replica was faster; see what it made
			}
			if err != nil {
				return nil, p.apiError("create the stream "+want.Name, "$JS.API.STREAM.CREATE."+want.Name, err)
			}
		}
		if err != nil {
			return nil, p.apiError("look at the stream "+want.Name, "$JS.API.STREAM.INFO."+want.Name, err)
		}
		return s.CachedInfo(), nil
	}
	return nil, fmt.Errorf("create the stream %s: it comes and goes: %w", want.Name, ErrUnavailable)
}

// replicas is what we ask for when we create a stream.
func (p *Publisher) replicas() int {
	switch {
	case p.config.Stream.Replicas > 0:
		return p.config.Stream.Replicas
	case p.config.URL != "" && p.nc.ConnectedClusterName() != "":
		return 3
	}
	return 1
}

// additions returns have with what Setup may change by itself.
func (p *Publisher) additions(have, want jetstream.StreamConfig) (jetstream.StreamConfig, bool) {
	c, changed := have, false
	if !c.AllowDirect || !c.AllowAtomicPublish {
		c.AllowDirect, c.AllowAtomicPublish, changed = true, true, true
	}
	if p.server == nil {
		return c, changed
	}
	if c.MaxAge != want.MaxAge || c.MaxBytes != want.MaxBytes || !c.DenyDelete {
		c.MaxAge, c.MaxBytes, c.DenyDelete, changed = want.MaxAge, want.MaxBytes, true, true
	}
	return c, changed
}

// comparison collects what keeps one stream from holding our promises.
type comparison struct {
	have  jetstream.StreamConfig
	key   string // of the configuration: says what the stream is called
	found []Difference
}

func (c *comparison) add(differs bool, setting string, have, want any, fix string) {
	if differs {
		c.found = append(c.found, Difference{Setting: setting, Have: fmt.Sprint(have), Want: fmt.Sprint(want), Fix: fix})
	}
}

// edit is how to change a setting.
func (c *comparison) edit(flags string) string {
	return "Run: nats stream edit " + c.have.Name + " " + flags + "."
}

// anew is what to do about a setting that cannot be changed.
func (c *comparison) anew() string {
	return "It cannot be changed: set " + c.key + " to a new name and let Mailflume create it, or remove the stream."
}

// keeping is what the stream of events and the bucket both need to keep what they have acknowledged, in at least so many copies.
func (c *comparison) keeping(copies int) {
	have, anew := c.have, c.anew()
	c.add(have.Retention != jetstream.LimitsPolicy, "retention", have.Retention, "limits", anew)
	c.add(have.Storage != jetstream.FileStorage, "storage", have.Storage, "file", anew)
	c.add(have.Mirror != nil || len(have.Sources) > 0, "its origin", "another stream", "our own writes", anew)
	c.add(have.Sealed, "sealed", true, false, anew)
	c.add(have.NoAck, "no_ack", true, false, c.edit("--ack"))
	c.add(have.SubjectTransform != nil, "subject_transform", "set", "absent", "Remove it with: nats stream edit "+have.Name+" --interactive.")
	c.add(have.Discard != jetstream.DiscardNew, "discard", have.Discard, "new", c.edit("--discard=new"))
	c.add(have.MaxMsgsPerSubject > 0, "max_msgs_per_subject", have.MaxMsgsPerSubject, "unlimited", c.edit("--max-msgs-per-subject=-1"))
	c.add(have.Replicas < copies, "num_replicas", have.Replicas, fmt.Sprint("at least ", copies),
		fmt.Sprintf("Run: nats stream edit %s --replicas=%d, or set nats.stream.replicas to %d to accept it.", have.Name, copies, have.Replicas))
}

// differences compares what matters. Limits only count where the configuration names them.
func differences(have, want jetstream.StreamConfig, set Stream) []Difference {
	c := comparison{have: have, key: "nats.stream.name"}
	for _, s := range want.Subjects {
		c.add(!slices.Contains(have.Subjects, s), "subjects", strings.Join(have.Subjects, " "), "with "+s,
			c.edit("--subjects='"+strings.Join(union(have.Subjects, want.Subjects), ",")+"'"))
	}
	c.keeping(want.Replicas)
	c.add(have.AllowMsgCounter, "allow_msg_counter", true, false, c.anew())
	c.add(!have.DenyDelete, "deny_delete", false, true, c.edit("--deny-delete"))
	c.add(have.MaxMsgs > 0, "max_msgs", have.MaxMsgs, "unlimited", c.edit("--max-msgs=-1"))
	c.add(have.MaxMsgSize > 0, "max_msg_size", have.MaxMsgSize, "unlimited", c.edit("--max-msg-size=-1"))
	c.add(set.MaxAge > 0 && have.MaxAge != set.MaxAge, "max_age", age(have.MaxAge), age(set.MaxAge),
		fmt.Sprintf("Run: nats stream edit %s --max-age=%s, or set nats.stream.max_age to what the stream has.", have.Name, set.MaxAge))
	c.add(set.MaxBytes > 0 && have.MaxBytes != set.MaxBytes, "max_bytes", have.MaxBytes, set.MaxBytes,
		fmt.Sprintf("Run: nats stream edit %s --max-bytes=%d, or set nats.stream.max_bytes to what the stream has.", have.Name, set.MaxBytes))
	c.add(!have.AllowAtomicPublish, "allow_atomic", false, true, "Upgrade every server of the cluster to 2.12 or newer.")
	c.add(!have.AllowDirect, "allow_direct", false, true, c.edit("--allow-direct"))
	return c.found
}

func settingsError(stream string, diff []Difference) error {
	if len(diff) == 0 {
		return nil
	}
	return &SettingsError{Stream: stream, Differences: diff}
}

func (p *Publisher) setupBucket(ctx context.Context, ttl time.Duration) error {
	name := bucketStream(p.config.Bucket)
	want := jetstream.StreamConfig{ // as nats.go makes it, so that its reader and the nats command know it
		Name: name, Description: "Large parts of mail read by Mailflume",
		Subjects: []string{"$O." + p.config.Bucket + ".C.>", "$O." + p.config.Bucket + ".M.>"},
		Storage:  jetstream.FileStorage, Discard: jetstream.DiscardNew, MaxAge: ttl, MaxBytes: -1, MaxMsgs: -1,
		MaxMsgsPerSubject: -1, MaxMsgSize: -1, Replicas: p.replicas(), AllowRollup: true, AllowDirect: true,
	}
	found, err := p.createOrFind(ctx, want)
	if err != nil {
		return err
	}
	have := found.Config
	if p.server != nil && have.MaxAge != ttl {
		have.MaxAge = ttl
		if _, err := p.js.UpdateStream(ctx, have); err != nil {
			return p.apiError("update the bucket "+p.config.Bucket, updateSubject(name), err)
		}
	}
	c := comparison{have: have, key: "nats.bucket"}
	c.keeping(want.Replicas)
	c.add(have.MaxAge > 0 && (ttl == 0 || have.MaxAge < ttl), "max_age", age(have.MaxAge), "at least "+age(ttl),
		fmt.Sprintf("It is twice the max_age of %s, so that no reference dangles. Run: nats stream edit %s --max-age=%s.", p.config.Stream.Name, name, ttl))
	c.add(!have.AllowRollup, "allow_rollup_hdrs", false, true, c.edit("--allow-rollup"))
	return settingsError(name, c.found)
}

func bucketStream(bucket string) string { return "OBJ_" + bucket }

func updateSubject(stream string) string { return "$JS.API.STREAM.UPDATE." + stream }

func orUnlimited(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

func age(d time.Duration) string {
	if d == 0 {
		return "unlimited"
	}
	return d.String()
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
