package fetcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailflume/mailflume/internal/crash"
)

// Action is what to do to messages. The zero value is nothing; without one, a Session changes nothing in a mailbox.
type Action struct {
	Seen, Flag bool
	Keyword    string // a flag of our own, if the server keeps those
	Label      string // of Gmail; made if it is missing
	Move       string // a folder by name, made if it is missing, or by special use
	Delete     bool   // not together with Move
}

// IsZero reports whether there is nothing to do.
func (a Action) IsZero() bool { return a == Action{} }

// MaxAct is how many messages one call of Act takes: what a slow server moves within a few seconds.
const MaxAct = 100

// ErrRenumbered says that UIDs belong to a former life of their folder: nothing was done to the messages, nor ever will be.
var ErrRenumbered = errors.New("the folder's UIDVALIDITY has changed")

// Act does what a says to messages of a watched folder, if validity still is its UIDVALIDITY in the session that acts, else
// it returns ErrRenumbered. What is done already or gone is no error, so Act may be repeated. It is not for the time of a
// pass. An *ActionError is final until somebody acts; a *ServerError, *FolderError or *ThrottledError may pass by itself; any
// other error is that of a Session that has ended.
//
// Messages leave a folder by MOVE, or by COPY and UID EXPUNGE of just them (UIDPLUS); where a server has neither nothing
// is done, since EXPUNGE alone would remove what others have marked. If the program dies between COPY and UID EXPUNGE, the
// target has two copies in the end.
func (s *Session) Act(ctx context.Context, name string, validity uint32, uids []uint32, a Action) error {
	if a.IsZero() || len(uids) == 0 {
		return nil
	}
	if len(uids) > MaxAct {
		return fmt.Errorf("act on %d messages: %d at most", len(uids), MaxAct)
	}
	t := &task{s: s, folder: name, action: a}
	for _, uid := range uids {
		t.uids.AddNum(imap.UID(uid))
	}
	if err := t.open(ctx, validity); err != nil {
		return err
	}
	defer func() { s.selected = nil }() // the next pass opens its folders for reading only
	for _, step := range []func(context.Context) error{t.mark, t.label, t.leave} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// task is one call of Act.
type task struct {
	s      *Session
	folder string
	uids   imap.UIDSet
	action Action
}

// open selects the folder for writing. What SELECT tells of news is left for the next EXAMINE to tell.
func (t *task) open(ctx context.Context, validity uint32) error {
	s := t.s
	s.selected = nil
	var is uint32
	err := s.do(ctx, "SELECT", func() error {
		data, err := s.client.Select(t.folder, nil).Wait()
		if err == nil {
			is = data.UIDValidity
		}
		return err
	})
	if err != nil {
		return t.refused("open it for writing", err)
	}
	permanent, readOnly := s.filter.writable()
	switch {
	case validity == 0:
		return t.cannot("change anything", "the server has no UIDVALIDITY, so that its UIDs may be those of other messages", "remove after")
	case is == 0:
		return &ServerError{Command: "SELECT", Text: "the server did not say UIDVALIDITY this time"}
	case is != validity:
		return ErrRenumbered
	case readOnly:
		return t.cannot("change anything", "the server opens it for reading only", "give this account the right to change it, or remove after")
	case t.action.Keyword != "" && permanent != nil && !slices.Contains(permanent, `\*`) && !slices.Contains(permanent, t.action.Keyword):
		return t.cannot("set the keyword "+t.action.Keyword, "the server does not keep keywords in it", "use after.flag or after.move instead")
	}
	return nil
}

// writable returns what the server said of the folder that was selected last.
func (f *filter) writable() (permanent []string, readOnly bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.permanent, f.readOnly
}

func (t *task) cannot(what, text, hint string) error {
	return &ActionError{Folder: t.folder, What: what, Text: text, Hint: hint}
}

// refused makes an ActionError of a refusal that time does not heal.
func (t *task) refused(what string, err error) error {
	var answer *ServerError
	if errors.As(err, &answer) && t.s.dead == nil && final(answer.Text) {
		return t.cannot(what, answer.Text, "check what this account may do in the mailbox, or change after")
	}
	return err
}

// final reports whether a refusal stays what it is until somebody acts (RFC 5530).
func final(text string) bool {
	return slices.ContainsFunc([]string{"[NOPERM]", "[CANNOT]", "[TRYCREATE]", "[READ-ONLY]", "[NONEXISTENT]"}, func(code string) bool {
		return has(text, code)
	})
}

// mark sets flags.
func (t *task) mark(ctx context.Context) error {
	var flags []string
	if t.action.Seen {
		flags = append(flags, `\Seen`)
	}
	if t.action.Flag {
		flags = append(flags, `\Flagged`)
	}
	if t.action.Keyword != "" {
		flags = append(flags, t.action.Keyword)
	}
	if len(flags) == 0 {
		return nil
	}
	list := strings.Join(flags, " ")
	return t.refused("set "+list, t.s.command(ctx, "STORE", "UID STORE "+t.uids.String()+" +FLAGS.SILENT ("+list+")"))
}

// label adds a label of Gmail (developers.google.com/workspace/gmail/imap/imap-extensions).
func (t *task) label(ctx context.Context) error {
	switch {
	case t.action.Label == "":
		return nil
	case !t.s.caps["X-GM-EXT-1"]:
		return t.cannot("set a label", "only Gmail has labels", "use after.move or after.keyword instead")
	}
	return t.refused("set the label "+t.action.Label, t.s.command(ctx, "STORE",
		"UID STORE "+t.uids.String()+" +X-GM-LABELS ("+quote(toUTF7(t.action.Label))+")"))
}

// leave takes the messages out of the folder, if that is asked for.
//
// QUIRK(gmail): delete. \Deleted and EXPUNGE only take the folder's label away; what is to be deleted is moved to the folder
// \Trash (chatmail/core#3957, MailKit#726).
func (t *task) leave(ctx context.Context) error {
	switch {
	case t.action.Move != "":
		return t.move(ctx, t.action.Move)
	case !t.action.Delete:
		return nil
	case t.s.caps["X-GM-EXT-1"]:
		return t.move(ctx, `\Trash`)
	case !t.s.caps["UIDPLUS"]:
		return t.cannot("delete messages", "the server has no UID EXPUNGE (UIDPLUS), and EXPUNGE would remove what others have marked", "use after.flag or after.keyword instead")
	}
	return t.verify(ctx, "delete messages", t.remove(ctx, t.uids))
}

// remove marks messages as deleted and expunges them, and no others.
func (t *task) remove(ctx context.Context, uids imap.UIDSet) error {
	if err := t.s.command(ctx, "STORE", "UID STORE "+uids.String()+` +FLAGS.SILENT (\Deleted)`); err != nil {
		return err
	}
	return t.s.command(ctx, "EXPUNGE", "UID EXPUNGE "+uids.String())
}

func (t *task) move(ctx context.Context, to string) error {
	target, err := t.target(ctx, to)
	if err != nil || target == t.folder {
		return err
	}
	what := fmt.Sprintf("move to folder %q", target)
	err = t.transfer(ctx, target)
	var answer *ServerError
	if errors.As(err, &answer) && t.s.dead == nil && (has(answer.Text, "[TRYCREATE]") || has(answer.Text, "[NONEXISTENT]")) {
		if err := t.create(ctx, target); err != nil { // it went since we looked
			return err
		}
		err = t.transfer(ctx, target)
	}
	// QUIRK(gmail): all mail. What is moved from All Mail stays in it, unless it goes to the trash.
	if err == nil && t.folder == t.s.allMail && t.s.caps["X-GM-EXT-1"] && !t.action.Delete {
		return nil
	}
	return t.verify(ctx, what, err)
}

// transfer moves the messages that are still there.
func (t *task) transfer(ctx context.Context, target string) error {
	name := quote(toUTF7(target))
	switch {
	case t.s.caps["MOVE"]:
		return t.s.command(ctx, "MOVE", "UID MOVE "+t.uids.String()+" "+name)
	case !t.s.caps["UIDPLUS"]:
		return t.cannot(fmt.Sprintf("move to folder %q", target), "the server has neither MOVE nor UID EXPUNGE (UIDPLUS), and EXPUNGE would remove what others have marked",
			"use after.flag or after.keyword instead")
	}
	left, err := t.left(ctx)
	if err != nil || len(left) == 0 {
		return err
	}
	var set imap.UIDSet
	for _, uid := range left {
		set.AddNum(imap.UID(uid))
	}
	if err := t.s.command(ctx, "COPY", "UID COPY "+set.String()+" "+name); err != nil {
		return err
	}
	return t.remove(ctx, set)
}

// verify looks whether the messages have left.
//
// QUIRK(exchange): copyuid. What MOVE and COPY answer of UIDs may be empty, or stand on a line of its own (MailKit#115,
// MailKit#555), so it is not read at all.
func (t *task) verify(ctx context.Context, what string, err error) error {
	if err != nil {
		return t.refused(what, err)
	}
	left, err := t.left(ctx)
	if err == nil && len(left) > 0 {
		err = &ServerError{Command: "SEARCH", Text: fmt.Sprintf("%d messages are still there after the server agreed to %s", len(left), what)}
	}
	return err
}

// left returns which of the messages are in the folder.
func (t *task) left(ctx context.Context) ([]uint32, error) {
	p := &pass{s: t.s}
	found, err := p.search(ctx, t.uids, time.Time{})
	return slices.DeleteFunc(found, func(uid uint32) bool { return !t.uids.Contains(imap.UID(uid)) }), err
}

// target returns what the server calls the folder to move to, which is made if it is missing.
func (t *task) target(ctx context.Context, want string) (string, error) {
	if name, known := t.s.targets[want]; known {
		return name, nil
	}
	all, err := t.s.list(ctx)
	if err != nil {
		return "", err
	}
	t.s.allMail, _ = all.named(`\All`)
	name, ok := all.named(want)
	if !ok && strings.HasPrefix(want, `\`) {
		return "", t.cannot("move to "+want, "the mailbox has no such folder", "show it in IMAP, or name another folder: the mailbox has "+namesOf(all))
	}
	if !ok {
		name = want
		if err := t.create(ctx, name); err != nil {
			return "", err
		}
	}
	if t.s.targets == nil {
		t.s.targets = map[string]string{}
	}
	t.s.targets[want] = name
	return name, nil
}

func (t *task) create(ctx context.Context, name string) error {
	err := t.s.command(ctx, "CREATE", "CREATE "+quote(toUTF7(name)))
	var answer *ServerError
	if err == nil || !errors.As(err, &answer) || t.s.dead != nil || passing(answer.Text) || answer.Command == "" {
		return err
	}
	if has(answer.Text, "exists") { // somebody was faster
		return nil
	}
	return t.cannot(fmt.Sprintf("make the folder %q", name), answer.Text, "make it in the mailbox, or name another one in after.move")
}

// command sends a command that go-imap has no safe word for: it goes out in place of a NOOP, and has its answer.
func (s *Session) command(ctx context.Context, verb, text string) error {
	return s.do(ctx, verb, func() error {
		s.filter.mu.Lock()
		s.filter.carried = text
		s.filter.mu.Unlock()
		crash.Soon("postaction.sent")
		return s.client.Noop().Wait()
	})
}
