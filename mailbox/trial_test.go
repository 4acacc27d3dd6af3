package mailbox

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"

	"github.com/mailflume/mailflume/parser"
)

type hanging struct{ until chan struct{} }

func (h hanging) Parse(raw []byte) parser.Mail {
	<-h.until
	return parser.Parse(raw)
}

// A process that a message hangs in, and that nobody is left to end, ends by itself.
func TestTrialsThatNobodyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hanging{make(chan struct{})}
		if err := serveTrials(bytes.NewReader([]byte{0, 0, 0, 1, 'x'}), io.Discard, h); err == nil {
			t.Error("it ends as if all was well")
		}
		close(h.until)
	})
}
