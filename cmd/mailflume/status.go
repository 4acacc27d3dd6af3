package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
	"github.com/mailflume/mailflume/state"
	"github.com/mailflume/mailflume/web"
)

func newStatus() *cobra.Command {
	var path string
	asJSON := false
	c := &cobra.Command{
		Use:   "status",
		Short: "Say who reads which mailbox, how far, and what is wrong",
		Long: `Say which replicas are alive, which of them reads which mailbox, how far each folder was read,
what is wrong and what to do. It is read from NATS, so it covers all replicas, and it disturbs
none. Exit code 1 means that someone must act, or that a mailbox is read by nobody.

LAG is how far a mailbox is behind: how long after its arrival the last new message was stored,
or, while a mailbox cannot be read, for how long that has been so. "-" is not known.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := loadConfig(path)
			if err != nil {
				return err
			}
			found, err := survey(c.Context(), config)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				err = enc.Encode(found)
			} else {
				found.print(c.OutOrStdout(), time.Now())
			}
			return errors.Join(err, found.verdict())
		},
	}
	configFlag(c, &path)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// situation is what mailflume status says.
type situation struct {
	NATS       brokerSituation    `json:"nats"`
	Weaknesses []weakSituation    `json:"weaknesses"`
	Replicas   []replicaSituation `json:"replicas"`
	Mailboxes  []boxSituation     `json:"mailboxes"`
}

type brokerSituation struct {
	Where    string        `json:"where"`
	Version  string        `json:"version"`
	Stream   string        `json:"stream"`
	Events   uint64        `json:"events"`
	Bytes    uint64        `json:"bytes"`
	MaxBytes int64         `json:"maxBytes,omitempty"`
	MaxAge   time.Duration `json:"maxAge"` // nanoseconds
}

type weakSituation struct {
	Code     string `json:"code"`
	Promise  string `json:"promise"`
	Sentence string `json:"sentence"`
	Fix      string `json:"fix"`
}

type replicaSituation struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	Host      string        `json:"host"`
	PID       int           `json:"pid"`
	Since     time.Time     `json:"since"`
	Silent    time.Duration `json:"silent"` // since its last heartbeat, nanoseconds
	Lost      bool          `json:"lost"`   // it has been silent for longer than its lease
	Mailboxes int           `json:"mailboxes"`
}

type boxSituation struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Owner       string            `json:"owner,omitempty"` // the replica's name
	State       string            `json:"state"`           // one of mailbox.State, or "unowned"
	Since       time.Time         `json:"since,omitzero"`
	Who         string            `json:"who,omitempty"`
	Sentence    string            `json:"sentence,omitempty"`
	Hint        string            `json:"hint,omitempty"`
	StaleSince  time.Time         `json:"staleSince,omitzero"`
	Notice      string            `json:"notice,omitempty"`
	NoticeHint  string            `json:"noticeHint,omitempty"`
	NoticeAt    time.Time         `json:"noticeAt,omitzero"`
	LastMessage time.Time         `json:"lastMessage,omitzero"`
	Lag         *time.Duration    `json:"lag,omitempty"`        // how far it is behind, in nanoseconds; absent if that is not known
	LastChecked time.Time         `json:"lastChecked,omitzero"` // of a mailbox that is not read well: the last complete pass
	Backfill    bool              `json:"backfill,omitempty"`   // older mail is read in the background
	Warnings    []warning         `json:"warnings,omitempty"`   // of its grant
	Folders     []folderSituation `json:"folders"`
}

type folderSituation struct {
	Name     string `json:"name"`
	UID      uint32 `json:"uid"`  // the highest that was read
	Gaps     int    `json:"gaps"` // lower ones that may still come
	Position string `json:"position"`
}

// unowned is the state of a mailbox that nobody reads.
const unowned = "unowned"

// survey asks NATS for everything.
func survey(ctx context.Context, config *configs.Config) (found *situation, err error) {
	p, err := openBeside(ctx, config)
	if err != nil {
		return nil, withAdvice(err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		err = errors.Join(err, p.Close(closing))
	}()
	usage, err := p.Usage(ctx) // first: opening the store would make it
	if errors.Is(err, publish.ErrNoStream) {
		return nil, fmt.Errorf("there is no stream %s: mailflume has not run with this configuration yet; mailflume run begins", config.NATS.Stream.Name)
	}
	if err != nil {
		return nil, withAdvice(err)
	}
	store, err := state.Open(ctx, p.JetStream(), config.StateBucket())
	if err != nil {
		return nil, withAdvice(err)
	}
	weak, err := p.Weaknesses(ctx, "KV_"+config.NATS.State)
	if err != nil {
		return nil, withAdvice(err)
	}
	view, err := store.Overview(ctx)
	if err != nil {
		return nil, withAdvice(err)
	}
	ids, err := identify(ctx, store, config)
	if err != nil {
		return nil, withAdvice(err)
	}
	status := p.Status()
	found = &situation{NATS: brokerSituation{
		Where: status.Where, Version: status.Version, Stream: usage.Stream.Name, Events: usage.Stream.Messages,
		Bytes: usage.Stream.Bytes, MaxBytes: usage.Stream.MaxBytes, MaxAge: usage.Stream.MaxAge,
	}, Weaknesses: []weakSituation{}, Replicas: []replicaSituation{}}
	for _, w := range weak {
		found.Weaknesses = append(found.Weaknesses, weakSituation(w))
	}
	for _, r := range view.Replicas {
		found.Replicas = append(found.Replicas, replicaSituation{
			ID: r.ID, Name: r.Name, Host: r.Host, PID: r.PID, Since: r.Since, Silent: r.Silent.Round(time.Second),
			Lost: r.Silent > config.Replica.Lease*4/3, Mailboxes: r.Mailboxes,
		})
	}
	return found, withAdvice(found.lookAtAll(ctx, p, store, view, ids, config.Mailboxes))
}

// looksAtOnce is how many mailboxes are asked for at the same time: each takes a few questions, one after the other.
const looksAtOnce = 16

func (s *situation) lookAtAll(ctx context.Context, p *publish.Publisher, store *state.Store, view state.Overview, ids []string, boxes []configs.Mailbox) error {
	s.Mailboxes = make([]boxSituation, len(boxes))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(looksAtOnce)
	for i, m := range boxes {
		group.Go(func() (err error) {
			s.Mailboxes[i], err = s.look(ctx, p, store, view, ids[i], m.Name)
			return err
		})
	}
	return group.Wait()
}

// look says how a mailbox is.
func (s *situation) look(ctx context.Context, p *publish.Publisher, store *state.Store, view state.Overview, id, name string) (boxSituation, error) {
	b := boxSituation{ID: id, Name: name, State: unowned, Folders: []folderSituation{}}
	i := slices.IndexFunc(s.Replicas, func(r replicaSituation) bool { return r.ID == view.Owners[id] && !r.Lost })
	if i >= 0 {
		b.Owner, b.State = s.Replicas[i].Name, string(mailbox.StateConnecting)
	}
	var h health
	if json.Unmarshal(view.Health[id], &h) == nil && i >= 0 && h.By == s.Replicas[i].ID {
		b.State, b.Since, b.Who, b.Sentence, b.Hint = string(h.State), h.Since, string(h.Who), h.Sentence, h.Hint
		b.StaleSince, b.Notice, b.NoticeHint, b.NoticeAt = h.StaleSince, h.Notice, h.NoticeHint, h.NoticeAt
		b.Backfill, b.Warnings = h.Backfill, h.Warnings
		b.Lag, b.LastChecked = h.lag(time.Now())
	}
	positions, _, _, err := store.Positions(ctx, id)
	if errors.Is(err, fs.ErrInvalid) { // damaged: its next owner mends it
		b.Notice, b.NoticeHint, b.NoticeAt = err.Error()+".", "", time.Time{}
		return b, nil
	}
	if err != nil {
		return b, err
	}
	folders := slices.Sorted(maps.Keys(positions))
	tokens := make([]string, 0, len(folders))
	for _, folder := range folders {
		tokens = append(tokens, event.Token(folder))
	}
	newest, err := p.Newest(ctx, event.Token(id), tokens)
	if err != nil {
		return b, err
	}
	for _, folder := range folders {
		f := folderSituation{Name: folder, Position: positions[folder]}
		at, _ := fetcher.ParsePosition(f.Position) // what cannot be read has been said by its owner
		if last, ok := newest[event.Token(folder)]; ok {
			if newer, err := fetcher.ParsePosition(last.Position); err == nil && newer.N > at.N {
				at, f.Position = newer, last.Position
			}
			if last.Time.After(b.LastMessage) {
				b.LastMessage = last.Time
			}
		}
		f.UID, f.Gaps = at.High(), len(at.Gaps())
		b.Folders = append(b.Folders, f)
	}
	return b, nil
}

// verdict is an error if someone must act.
func (s *situation) verdict() error {
	ill := 0
	for _, b := range s.Mailboxes {
		if b.State == unowned || b.State == string(mailbox.StateParked) || !b.StaleSince.IsZero() {
			ill++
		}
	}
	if ill == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d mailboxes need attention", ill, len(s.Mailboxes))
}

// print says it in 80 columns.
func (s *situation) print(w io.Writer, now time.Time) {
	fmt.Fprintf(w, "NATS %s, stream %s: %d events, %s", s.NATS.Version, s.NATS.Stream, s.NATS.Events, much(int64(s.NATS.Bytes)))
	if s.NATS.MaxBytes > 0 {
		fmt.Fprintf(w, " of %s", much(s.NATS.MaxBytes))
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "\n%-22s %-22s %10s %10s %10s\n", "REPLICA", "HOST", "UP FOR", "LAST BEAT", "MAILBOXES")
	for _, r := range s.Replicas {
		beat := web.Short(r.Silent)
		if r.Lost {
			beat = "lost, " + beat
		}
		fmt.Fprintf(w, "%-22s %-22s %10s %10s %10d\n", clip(r.Name, 22), clip(r.Host, 22), web.Short(now.Sub(r.Since)), beat, r.Mailboxes)
	}
	if len(s.Replicas) == 0 {
		fmt.Fprintln(w, "none: no mailflume is running with this configuration")
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, boxLine, "MAILBOX", "STATE", "READ BY", "LAST EVENT", "LAG")
	for _, b := range s.Mailboxes {
		b.print(w, now)
	}
	if len(s.Weaknesses) > 0 {
		fmt.Fprintln(w, "\nWHAT THE BROKER COULD DO BETTER (docs/durability.md)")
	}
	for _, weak := range s.Weaknesses {
		paragraph(w, "  ", weak.Sentence+" ("+weak.Promise+")")
		paragraph(w, "  to do: ", weak.Fix)
	}
}

// lag is how far a mailbox is behind, nil if that is not known: how long after its arrival the last new message was stored, or,
// if it is not read well, since when.
func (h health) lag(now time.Time) (behind *time.Duration, checked time.Time) {
	if h.Arrived {
		behind = &h.Delay
	}
	if h.calm() && !h.Late || h.Checked.IsZero() {
		return behind, time.Time{}
	}
	if silent := max(0, now.Sub(h.Checked)).Round(time.Second); behind == nil || silent > *behind {
		behind = &silent
	}
	return behind, h.Checked
}

const boxLine = "%-19s %-24s %-13s %12s %8s\n"

func (b boxSituation) print(w io.Writer, now time.Time) {
	how := map[string]string{
		unowned: "read by nobody", string(mailbox.StateParked): "needs attention", string(mailbox.StateWaiting): "will try again",
	}[b.State]
	if how == "" {
		how = b.State
	}
	if how != b.State && !b.Since.IsZero() {
		how += ", " + web.Short(now.Sub(b.Since))
	}
	last := "none"
	if !b.LastMessage.IsZero() {
		last = web.Short(now.Sub(b.LastMessage)) + " ago"
	}
	lag := "-"
	if b.Lag != nil {
		lag = web.Short(*b.Lag)
	}
	fmt.Fprintf(w, boxLine, clip(b.Name, 19), clip(how, 24), clip(b.Owner, 13), last, lag)
	for _, f := range b.Folders {
		line := fmt.Sprintf("up to UID %d", f.UID)
		if f.Gaps > 0 {
			line += fmt.Sprintf(", %d below it not seen", f.Gaps)
		}
		paragraph(w, "  "+f.Name+": ", line)
	}
	paragraph(w, "  ", b.Sentence)
	paragraph(w, "  to do: ", b.Hint)
	for _, warning := range b.Warnings {
		paragraph(w, "  "+warning.Label+": ", warning.Sentence)
		paragraph(w, "  to do: ", warning.Hint)
	}
	if b.Backfill {
		paragraph(w, "  ", "Older mail is read in the background.")
	}
	if !b.StaleSince.IsZero() {
		paragraph(w, "  ", "No pass was complete for "+web.Short(now.Sub(b.StaleSince))+".")
	}
	when := "  "
	if !b.NoticeAt.IsZero() {
		when += web.Short(now.Sub(b.NoticeAt)) + " ago: "
	}
	paragraph(w, when, b.Notice)
	paragraph(w, "  to do: ", b.NoticeHint)
}
