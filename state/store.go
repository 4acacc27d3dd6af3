package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/crash"
	"github.com/mailflume/mailflume/internal/natsconn"
)

// Config is where the state is kept.
type Config struct {
	Bucket   string // the KV bucket
	Replicas int    // how many servers of a cluster keep a copy; 0 means 3 in a cluster, else 1
}

// ErrAmbiguous is the error of a write whose answer did not come: it may or may not have been stored, so read again before
// deciding anything. It wraps os.ErrDeadlineExceeded, for callers that do not import this package.
var ErrAmbiguous = fmt.Errorf("no answer, the write may have been stored: %w", os.ErrDeadlineExceeded)

const (
	// markerTTL is how long the bucket remembers a deletion: longer than the longest outage of a watch.
	markerTTL = 15 * time.Minute
	// minMarkerTTL is what an existing bucket must have.
	minMarkerTTL = 10 * time.Minute
)

// Store is the bucket. Its methods may be called from several goroutines.
type Store struct {
	js       jetstream.JetStream
	calls    *natsconn.Calls // over its connection
	kv       jetstream.KeyValue
	subjects string // of records: followed by the key
	read     string // subject of reads through the leader

	readLimit, writeLimit time.Duration
}

// Open opens the bucket, and creates it if there is none. The store ends with the connection, or with Close.
func Open(ctx context.Context, js jetstream.JetStream, c Config) (*Store, error) {
	ctx, cancel := bound(ctx, openLimit)
	defer cancel()
	kv, err := openBucket(ctx, js, c)
	if err != nil {
		return nil, fmt.Errorf("open the KV bucket %s: %w", c.Bucket, err)
	}
	crash.At("stream.prepared")
	return &Store{
		js: js, calls: natsconn.Over(js.Conn()), kv: kv, subjects: "$KV." + c.Bucket + ".",
		read: jetstream.DefaultAPIPrefix + "STREAM.MSG.GET.KV_" + c.Bucket, readLimit: readLimit, writeLimit: writeLimit,
	}, nil
}

// Close gives up what the store needs of the connection, which stays open. No method may be called after it.
func (s *Store) Close() { s.calls.Close() }

func openBucket(ctx context.Context, js jetstream.JetStream, c Config) (jetstream.KeyValue, error) {
	copies := c.Replicas
	if copies == 0 {
		copies = 1
		if js.Conn().ConnectedClusterName() != "" {
			copies = 3
		}
	}
	want := jetstream.KeyValueConfig{
		Bucket: c.Bucket, Description: "Mailflume: grants, positions, leases, owners",
		History: 1, Storage: jetstream.FileStorage, Replicas: copies, LimitMarkerTTL: markerTTL,
	}
	kv, err := js.KeyValue(ctx, c.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if kv, err = js.CreateKeyValue(ctx, want); errors.Is(err, jetstream.ErrBucketExists) {
			kv, err = js.KeyValue(ctx, c.Bucket) // another replica was faster
		}
	}
	if err != nil {
		return nil, err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, err
	}
	has := status.Config()
	switch {
	case has.Storage != jetstream.FileStorage:
		return nil, errors.New("the bucket is kept in memory and would be forgotten; delete it or name another one")
	case has.TTL != 0:
		return nil, errors.New("the bucket forgets records after a time (ttl); delete it or name another one")
	case has.Replicas < copies:
		return nil, fmt.Errorf("the bucket has %d copies and must have at least %d: run: nats stream edit KV_%s --replicas=%d, or "+
			"set nats.stream.replicas to %d to accept it", has.Replicas, copies, c.Bucket, copies, has.Replicas)
	case has.History == 1 && has.LimitMarkerTTL >= minMarkerTTL:
		return kv, nil
	}
	has.History, has.LimitMarkerTTL = 1, max(has.LimitMarkerTTL, markerTTL)
	return js.UpdateKeyValue(ctx, has)
}

// Get returns what package token keeps under the key and the revision to pass to Set. It asks the leader of the bucket,
// so it sees every write that was acknowledged before (a plain KV get may be answered by a follower that lags behind; a
// leader that was just voted out and does not know it yet can still be stale, and then the next Set fails). If there is
// no such record the error wraps fs.ErrNotExist. Any text may be a key.
//
// over is the revision that the record was written over. The server compared it at that time (the message still has the
// header that asked for it), so nobody can write a record that says another; Unproven if it was not compared. For a record
// that was deleted, revision is what Set wants.
func (s *Store) Get(ctx context.Context, id string) (value []byte, revision, over uint64, err error) {
	k := key(tableGrants, id)
	r, err := s.last(ctx, k)
	if err != nil {
		return nil, 0, 0, err
	}
	if r.revision == 0 || r.state != stored {
		return nil, r.revision, 0, fmt.Errorf("get %s: %w", k, fs.ErrNotExist)
	}
	return r.value, r.revision, r.over, nil
}

// Unproven is the revision over which a record was written when the server was not asked to compare it.
const Unproven = math.MaxUint64

// Set stores what package token keeps under the key, if the record's revision still is the given one; 0 means that there
// must be no record. If it is not so, or another write is under way, the error wraps fs.ErrExist; if no answer came it
// is ErrAmbiguous. After any error read again.
func (s *Store) Set(ctx context.Context, id string, value []byte, revision uint64) (uint64, error) {
	return s.set(ctx, key(tableGrants, id), value, revision)
}

// Delete removes what package token keeps under the key, if the record's revision still is the given one. Errors are
// those of Set.
func (s *Store) Delete(ctx context.Context, id string, revision uint64) error {
	return s.remove(ctx, key(tableGrants, id), revision)
}

// Grants returns the keys under which package token keeps something, sorted.
func (s *Store) Grants(ctx context.Context) ([]string, error) {
	records, err := s.list(ctx, tableGrants)
	return slices.Sorted(maps.Keys(records)), err
}

// record is the last message of a key.
type record struct {
	value    []byte
	created  time.Time // by the server's clock; list knows it
	revision uint64    // 0: the key was never written, or so long ago that its deletion is forgotten
	over     uint64    // the revision that the server saw before this one; Unproven if it was not asked
	state    recordState
}

type recordState int

const (
	stored  recordState = iota
	deleted             // somebody deleted it
	expired             // its time to live ran out
)

func (s *Store) get(ctx context.Context, key string) ([]byte, uint64, error) {
	r, err := s.last(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	if r.revision == 0 || r.state != stored {
		return nil, 0, fmt.Errorf("get %s: %w", key, fs.ErrNotExist)
	}
	return r.value, r.revision, nil
}

// last reads the last message of a key through the leader.
func (s *Store) last(ctx context.Context, key string) (record, error) {
	ctx, end := s.call(ctx, s.readLimit)
	defer end()
	request, err := json.Marshal(map[string]string{"last_by_subj": s.subjects + key})
	if err != nil {
		return record{}, err
	}
	reply, err := s.js.Conn().RequestWithContext(ctx, s.read, request)
	if err != nil {
		return record{}, fmt.Errorf("get %s: %w", key, natsconn.Cause(ctx, err))
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Sequence uint64 `json:"seq"`
			Header   []byte `json:"hdrs"`
			Data     []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return record{}, fmt.Errorf("get %s: %w", key, err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return record{}, nil
	case answer.Error != nil:
		return record{}, fmt.Errorf("get %s: %w", key, answer.Error)
	case answer.Message == nil:
		return record{}, fmt.Errorf("get %s: the answer holds no message", key)
	}
	r := record{value: answer.Message.Data, revision: answer.Message.Sequence, over: Unproven}
	if len(answer.Message.Header) == 0 {
		return r, nil
	}
	header, err := nats.DecodeHeadersMsg(answer.Message.Header)
	if err != nil {
		return record{}, fmt.Errorf("get %s: %w", key, err)
	}
	// With a subject of its own the comparison was one with another key.
	if expected := header.Get(jetstream.ExpectedLastSubjSeqHeader); expected != "" && header.Get(jetstream.ExpectedLastSubjSeqSubjHeader) == "" {
		if r.over, err = strconv.ParseUint(expected, 10, 64); err != nil {
			return record{}, fmt.Errorf("get %s: %w", key, err)
		}
	}
	switch {
	case header.Get(headerOperation) == "DEL":
		r.state = deleted
	case header.Get(headerOperation) != "", header.Get(jetstream.MarkerReasonHeader) != "":
		r.state = expired
	}
	return r, nil
}

const headerOperation = "KV-Operation"

func (s *Store) set(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return s.setWith(ctx, key, value, revision, nil)
}

// setWith is set with headers.
func (s *Store) setWith(ctx context.Context, key string, value []byte, revision uint64, header nats.Header) (uint64, error) {
	rev, err := s.write(ctx, key, value, revision, header)
	if revision != 0 || !errors.Is(err, fs.ErrExist) {
		return rev, err
	}
	// What a deletion left behind has a revision too.
	last, readErr := s.last(ctx, key)
	if readErr != nil || last.revision == 0 || last.state == stored {
		return 0, err
	}
	return s.write(ctx, key, value, last.revision, header)
}

// remove leaves a marker that says who did it (DEL; the server's own markers say PURGE), for markerTTL.
func (s *Store) remove(ctx context.Context, key string, revision uint64) error {
	_, err := s.write(ctx, key, nil, revision, nats.Header{
		headerOperation:        {"DEL"},
		jetstream.MsgTTLHeader: {markerTTL.String()},
	})
	return err
}

// write publishes one conditional write. kv.Update would drop a time to live, and PublishMsg would try again by itself.
func (s *Store) write(ctx context.Context, key string, value []byte, revision uint64, header nats.Header) (uint64, error) {
	ctx, end := s.call(ctx, s.writeLimit)
	defer end()
	m := &nats.Msg{Subject: s.subjects + key, Data: value, Header: nats.Header{}}
	for k, v := range header {
		m.Header[k] = v
	}
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(revision, 10))
	crash.Soon("record.put.sent")
	ack, err := s.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	crash.At("record.put.acked")
	if err == nil {
		return ack.Sequence, nil
	}
	// 10164 is what a cluster says while another write of the key is under way, or has just been.
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return 0, fmt.Errorf("set %s: %w (%w)", key, fs.ErrExist, err)
	case errors.As(err, &api), errors.Is(err, jetstream.ErrNoStreamResponse):
		return 0, fmt.Errorf("set %s: %w", key, err)
	}
	return 0, fmt.Errorf("set %s: %w (%w)", key, ErrAmbiguous, natsconn.Cause(ctx, err))
}

// list returns the records of a table by id.
func (s *Store) list(ctx context.Context, table string) (map[string]record, error) {
	ctx, end := s.call(ctx, openLimit)
	defer end()
	watch, err := s.kv.Watch(ctx, table+".*")
	if err != nil {
		return nil, fmt.Errorf("list %s.*: %w", table, natsconn.Cause(ctx, err))
	}
	defer func() { go stopWatch(watch) }()
	records := make(map[string]record)
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("list %s.*: %w", table, context.Cause(ctx))
		case e, ok := <-watch.Updates():
			switch {
			case !ok:
				return nil, fmt.Errorf("list %s.*: the connection was closed", table)
			case e == nil:
				return records, nil
			}
			_, id, ok := splitKey(e.Key())
			if ok && e.Operation() == jetstream.KeyValuePut {
				records[id] = record{value: e.Value(), revision: e.Revision(), created: e.Created()}
			} else if ok {
				delete(records, id)
			}
		}
	}
}

// watch begins to watch keys, within the limit. The watch ends with ctx, and with end, which must be called.
func (s *Store) watch(ctx context.Context, limit time.Duration, keys ...string) (w jetstream.KeyWatcher, end func(), err error) {
	if !s.js.Conn().IsConnected() {
		return nil, nil, nats.ErrDisconnected // see package natsconn
	}
	ctx, cancel := context.WithCancel(ctx)
	opening := time.AfterFunc(limit, cancel) // the context goes on to bound the watch, so it can have no deadline
	w, err = s.kv.WatchFiltered(ctx, keys)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	end = func() {
		go stopWatch(w) // it may take a while, see there
		cancel()
	}
	if !opening.Stop() {
		end()
		return nil, nil, context.DeadlineExceeded
	}
	return w, end, nil
}

// stopWatch stops a watch and empties it: its goroutine would wait for ever for somebody to take what it holds. The
// client asks the server to forget the consumer and waits for the answer, with a limit of its own: nobody else should
// have to.
func stopWatch(w jetstream.KeyWatcher) {
	_ = w.Stop() // fails only if the connection is closed, and then the watch ends too
	for range w.Updates() {
	}
}
