package mailbox

import (
	"slices"
	"time"

	"github.com/mailflume/mailflume/fetcher"
)

// behind notes whether there is backfill to read, and when that goes on.
func (b *board) behind(positions map[string]fetcher.Position, folders []string, a *fetcher.Allowance) {
	b.update(func(s *Status) {
		s.Backfill = slices.ContainsFunc(folders, func(f string) bool { return positions[f].Behind() })
		if s.Resumes = (time.Time{}); s.Backfill {
			s.Resumes = a.Resumes(time.Now())
		}
	})
}

// noticer is what a Session may be too: it hands out the last text that the server wanted a person to read, once.
type noticer interface{ Notice() error }

// listen notes what the mail server wanted a person to read. The text is bounded and has no control characters.
func (w *Worker) listen() {
	n, can := w.session.(noticer)
	if !can {
		return
	}
	said := n.Notice()
	if said == nil {
		return
	}
	w.board.update(func(s *Status) { s.Said, s.SaidAt = w.plain(said), time.Now() })
	w.log.Info("the mail server has a word for the mailbox's owner", "text", w.plain(said))
}
