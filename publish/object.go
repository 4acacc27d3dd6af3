package publish

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/crash"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// usualChunk is what nats.go uses, in bytes; a server with a smaller max_payload gets smaller ones.
const usualChunk = 128 << 10

// chunkRoom is what the headers of a chunk may take of max_payload.
const chunkRoom = 1 << 10

// Put stores the bytes of r, of which the size in bytes and the SHA-256 in lower-case hex are known, as <mailbox>/<sum>, and
// returns the reference for the event, which must be committed afterwards. A copy that is there already and outlives the event
// is not written again, nor r read. Memory is one chunk, whatever the size. If r gives other bytes than announced the error is
// ErrMismatch.
//
// It writes what nats.go's ObjectStore reads, but not with nats.go's Put, which can store a corrupt object and return
// nil when a leader changes (v1.55.0: it reuses one message for all chunks, and its own retry sends the wrong one).
func (p *Publisher) Put(ctx context.Context, mailbox, sum string, size int64, r io.Reader) (event.Ref, error) {
	ref := event.Ref{Bucket: p.config.Bucket, Name: mailbox + "/" + sum, Size: size, SHA256: sum}
	if err := p.put(ctx, mailbox, ref, r); err != nil {
		return event.Ref{}, fmt.Errorf("store %s: %w", ref.Name, err)
	}
	return ref, nil
}

func (p *Publisher) put(ctx context.Context, mailbox string, ref event.Ref, r io.Reader) error {
	if err := checkTokens("mailbox", mailbox); err != nil {
		return err
	}
	sum, err := hex.DecodeString(ref.SHA256)
	if err != nil || len(sum) != sha256.Size || hex.EncodeToString(sum) != ref.SHA256 || ref.Size < 0 {
		return fmt.Errorf("%w: %d bytes with the digest %q", ErrInvalid, ref.Size, ref.SHA256)
	}
	digest := "SHA-256=" + base64.URLEncoding.EncodeToString(sum)
	if there, err := p.hasObject(ctx, ref, digest); err != nil || there {
		return err
	}
	o := object{Ref: ref, id: nuid.Next()} // a new id for each attempt, so that a late chunk of an older one does no harm
	if err := p.putChunks(ctx, &o, r); err != nil {
		p.purgeChunks(ctx, o)
		return err
	}
	err = p.putMeta(ctx, o, digest)
	if err != nil && !errors.Is(err, ErrUncertain) { // else the chunks may be needed
		p.purgeChunks(ctx, o)
	}
	return err
}

// object is one attempt to store the bytes of a reference.
type object struct {
	event.Ref
	id     string // of its chunks
	chunks uint32 // sent
}

// chunkSubject and metaSubject are where nats.go's object store looks.
func (o object) chunkSubject() string { return "$O." + o.Bucket + ".C." + o.id }

func metaSubject(ref event.Ref) string {
	return "$O." + ref.Bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(ref.Name))
}

// hasObject tells whether the bytes are stored and stay for as long as an event that is published now.
func (p *Publisher) hasObject(ctx context.Context, ref event.Ref, digest string) (bool, error) {
	m, err := p.lastIn(ctx, bucketStream(ref.Bucket), metaSubject(ref))
	if err != nil || m.Seq == 0 {
		return false, err
	}
	var info jetstream.ObjectInfo
	if json.Unmarshal(m.Data, &info) != nil || info.Deleted || info.Digest != digest || info.Size != uint64(ref.Size) {
		return false, nil
	}
	maxAge := time.Duration(p.maxAge.Load())
	if maxAge == 0 {
		return true, nil
	}
	// The bucket keeps 2 x max_age. A tenth covers clocks that differ and the time until the event is committed.
	return time.Since(m.Time) < maxAge-maxAge/10, nil
}

// putChunks sends the chunks one by one. None is sent before the one before it is acknowledged, and none is sent twice,
// so what is stored is what was read, in its order, or the attempt has failed.
func (p *Publisher) putChunks(ctx context.Context, o *object, r io.Reader) error {
	subject, ref := o.chunkSubject(), o.Ref
	hash := sha256.New()
	buf := make([]byte, min(p.chunkSize(), ref.Size+1)) // one more than announced, to notice it
	var total int64
	for end := false; !end; {
		n, err := io.ReadFull(r, buf)
		end = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return fmt.Errorf("read what is to be stored: %w", err)
		}
		if total += int64(n); total > ref.Size {
			return fmt.Errorf("%w: more than the %d bytes announced", ErrMismatch, ref.Size)
		}
		if n == 0 {
			continue
		}
		hash.Write(buf[:n])
		o.chunks++
		if err := p.putMessage(ctx, &nats.Msg{Subject: subject, Data: buf[:n]}); err != nil {
			return fmt.Errorf("chunk %d: %w", o.chunks, err)
		}
		crash.At("blob.chunk")
	}
	if total != ref.Size {
		return fmt.Errorf("%w: %d of the %d bytes announced", ErrMismatch, total, ref.Size)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != ref.SHA256 {
		return fmt.Errorf("%w: the digest is %s", ErrMismatch, got)
	}
	return nil
}

// chunkSize is as large as nats.go's unless the server takes less.
func (p *Publisher) chunkSize() int64 { return max(min(usualChunk, p.MaxPayload()-chunkRoom), 1) }

// putMeta makes the object visible: it replaces the meta message of an older copy, whose chunks stay for those who are
// reading it, until the bucket's TTL.
func (p *Publisher) putMeta(ctx context.Context, o object, digest string) error {
	data, err := json.Marshal(jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{
			Name: o.Name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(p.chunkSize())},
		},
		Bucket: o.Bucket, NUID: o.id, Size: uint64(o.Size), ModTime: time.Now().UTC(), Chunks: o.chunks, Digest: digest,
	})
	if err != nil {
		return err
	}
	m := &nats.Msg{Subject: metaSubject(o.Ref), Data: data, Header: nats.Header{"Nats-Rollup": {"sub"}}}
	if err := p.putMessage(ctx, m); err != nil {
		return fmt.Errorf("its description: %w", err)
	}
	crash.At("blob.described")
	return nil
}

// putMessage stores one message in the bucket's stream.
func (p *Publisher) putMessage(ctx context.Context, m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, p.commitWait)
	defer cancel()
	answer, err := p.request(ctx, m)
	if err != nil {
		return err
	}
	_, err = p.parseAck(answer.Data, bucketStream(p.config.Bucket))
	return err
}

// purgeChunks removes what an attempt that failed has left. If that fails too, the bucket's TTL does it.
func (p *Publisher) purgeChunks(ctx context.Context, o object) {
	if o.chunks == 0 {
		return
	}
	ask, err := json.Marshal(map[string]string{"filter": o.chunkSubject()})
	if err != nil {
		return
	}
	var answer struct{}
	_ = p.ask(context.WithoutCancel(ctx), "$JS.API.STREAM.PURGE."+bucketStream(o.Bucket), ask, &answer)
}
