package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/natsconn"
)

// The codes of JetStream's answers that tell different things to do.
const (
	codeNoPeers         = 10005
	codeNoResources     = 10023
	codeNoMessage       = 10037
	codeNotEnabledHere  = 10039
	codeStorage         = 10047
	codeMsgTooLarge     = 10054
	codeStreamNotFound  = 10059
	codeSubjectOverlap  = 10065
	codeWrongLast       = 10071
	codeNoCluster       = 10074
	codeNotEnabled      = 10076
	codeStoreFailed     = 10077
	codeDuplicateInWork = 10158
	codeWrongLastInWork = 10164
	codeIncomplete      = 10176
	codeDuplicateID     = 10201
)

// answerError is the error part of an answer.
type answerError struct {
	Code int    `json:"err_code"`
	Text string `json:"description"`
}

func (e *answerError) Error() string { return fmt.Sprintf("%s (%d)", e.Text, e.Code) }

// kind maps a definite refusal to who must act. Nothing refused this way was stored (measured, see the package's tests).
func (e *answerError) kind() error {
	switch e.Code {
	case codeWrongLast, codeWrongLastInWork, codeDuplicateInWork, codeDuplicateID:
		return ErrConflict
	case codeNoResources, codeStorage:
		return ErrFull
	case codeStoreFailed:
		// One code for all that a store can say; only the text tells a limit from a broken disk.
		if strings.Contains(e.Text, "maximum") || strings.Contains(e.Text, "no space left") {
			return ErrFull
		}
		return ErrUnavailable
	case codeStreamNotFound, codeNotEnabled, codeNotEnabledHere, codeSubjectOverlap, codeNoCluster:
		return ErrNoStream
	}
	return ErrUnavailable
}

// request sends m and returns the answer. Its errors are classified: a send that did not leave is ErrUnavailable, a
// missing answer is ErrUncertain or a *PermissionError. An answer is missing as soon as the connection is lost.
func (p *Publisher) request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	start := time.Now()
	connected, end := p.calls.While(ctx)
	defer end()
	if errors.Is(context.Cause(connected), nats.ErrDisconnected) { // nothing was sent yet
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, nats.ErrDisconnected)
	}
	answer, err := p.nc.RequestMsgWithContext(connected, m)
	err = natsconn.Cause(connected, err)
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(err, nats.ErrNoResponders):
		return nil, p.nobody(ctx, m.Subject)
	case neverSent(err):
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if denied := p.denied.since(m.Subject, start); denied != nil {
		return nil, denied
	}
	return nil, fmt.Errorf("%w: %w", ErrUncertain, err)
}

// neverSent tells whether a send failed before a byte of it left.
func neverSent(err error) bool {
	return errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrMaxPayload) ||
		errors.Is(err, nats.ErrBadSubject) || errors.Is(err, nats.ErrConnectionDraining)
}

// nobody finds out why nobody listens on a subject of ours: the stream is gone, or it has no leader now.
func (p *Publisher) nobody(ctx context.Context, subject string) error {
	ctx, cancel := context.WithTimeout(ctx, p.readWait)
	defer cancel()
	name := p.config.Stream.Name
	if strings.HasPrefix(subject, "$O.") {
		name = bucketStream(p.config.Bucket)
	}
	connected, end := p.calls.While(ctx)
	defer end()
	m, err := p.nc.RequestWithContext(connected, "$JS.API.STREAM.INFO."+name, nil)
	if err != nil {
		return fmt.Errorf("%w: no stream answers on %s: %w", ErrUnavailable, subject, natsconn.Cause(connected, err))
	}
	var info struct {
		Error *answerError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return fmt.Errorf("%w: NATS answers what is not JSON: %w", ErrUnavailable, err)
	}
	if info.Error != nil && info.Error.kind() == ErrNoStream {
		return fmt.Errorf("%w: %s: %w: restart Mailflume to create it, and mind that its mail is gone", ErrNoStream, name, info.Error)
	}
	return fmt.Errorf("%w: the stream %s has no leader", ErrUnavailable, name)
}

// apiError explains a failed call of the JetStream API, which went out as a request to subject.
func (p *Publisher) apiError(what, subject string, err error) error {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api):
		answer := &answerError{Code: int(api.ErrorCode), Text: api.Description}
		return fmt.Errorf("%s at %s: %w: %w%s", what, p.config.where(), answer.kind(), answer, apiHint(answer.Code))
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return fmt.Errorf("%s at %s: %w: nobody answers for JetStream: enable it there (nats-server -js)", what,
			p.config.where(), ErrNoStream)
	}
	if denied := p.denied.since(subject, time.Time{}); denied != nil {
		return fmt.Errorf("%s at %s: %w", what, p.config.where(), denied)
	}
	return fmt.Errorf("%s at %s: %w: %w", what, p.config.where(), ErrUnavailable, err)
}

func apiHint(code int) string {
	switch code {
	case codeSubjectOverlap:
		return ": another stream has subjects of mail.> or mailbox.>; find it with: nats stream find --subject 'mail.>'"
	case codeNotEnabled, codeNotEnabledHere:
		return ": enable JetStream for the account (nats-server -js)"
	case codeNoPeers, codeNoCluster:
		return ": fewer servers than copies can take it: add servers with JetStream and room, or set nats.stream.replicas to how many there are"
	}
	return ""
}
