package publish

import (
	"context"
	"fmt"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/crash"
	"github.com/nats-io/nats.go"
)

// Notice says that something happened to a mailbox. It becomes the subject mailbox.<mailbox>.<what>.
type Notice struct {
	Mailbox     string // token of the mailbox
	What        string // one of event.States
	ID          string
	ContentType string // event.ContentType if empty
	Data        []byte
}

// Announce stores a notice. Notices are no chain: one that is announced again after ErrUncertain may be there twice.
func (p *Publisher) Announce(ctx context.Context, n Notice) error {
	if err := p.announce(ctx, n); err != nil {
		return fmt.Errorf("announce %s of mailbox %s: %w", n.What, n.Mailbox, err)
	}
	return nil
}

func (p *Publisher) announce(ctx context.Context, n Notice) error {
	if err := checkTokens("mailbox", n.Mailbox, "state", n.What); err != nil {
		return err
	}
	if !plain(n.ID) || !plain(n.ContentType) {
		return fmt.Errorf("%w: id %q or content type %q: use printable ASCII", ErrInvalid, n.ID, n.ContentType)
	}
	contentType := n.ContentType
	if contentType == "" {
		contentType = event.ContentType
	}
	m := &nats.Msg{
		Subject: mailboxRoot + "." + n.Mailbox + "." + n.What, Data: n.Data,
		Header: nats.Header{headerID: {n.ID}, headerContentType: {contentType}},
	}
	if size, limit := wireSize(m), p.MaxPayload(); size > limit {
		return &TooLargeError{ID: n.ID, Size: size, Limit: limit}
	}
	ctx, cancel := context.WithTimeout(ctx, p.commitWait)
	defer cancel()
	answer, err := p.request(ctx, m)
	crash.At("notice.acked")
	if err != nil {
		return err
	}
	_, err = p.parseAck(answer.Data, p.config.Stream.Name)
	return err
}
