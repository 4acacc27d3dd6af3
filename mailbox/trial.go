package mailbox

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/mailflume/mailflume/internal/crash"
	"github.com/mailflume/mailflume/parser"
)

// trial is a process that parses messages and nothing else, for messages that a process may die of. A message goes to it as
// its length (4 bytes, the highest first) and its bytes; one byte comes back for each that it survived.
type trial struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// survived is what the process answers.
const survived = 'k'

// startTrial starts the process. It gets no environment: nothing in there is its business.
func startTrial(command []string) (*trial, error) {
	t := &trial{cmd: exec.Command(command[0], command[1:]...)}
	t.cmd.Env = []string{"GOTRACEBACK=none"}
	in, err := t.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a process to parse in: %w", err)
	}
	out, err := t.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a process to parse in: %w", err)
	}
	t.in, t.out = in, bufio.NewReader(out)
	if err := t.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process to parse in: %w", err)
	}
	return t, nil
}

// parse returns what became of the process over a message: nothing, or why the message is dead. If ctx ends, so does the
// process, and the answer means nothing.
func (t *trial) parse(ctx context.Context, raw []byte, patience time.Duration) (why string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = t.cmd.Process.Kill() })()
	size := binary.BigEndian.AppendUint32(nil, uint32(len(raw)))
	_, err := t.in.Write(size)
	if err == nil {
		_, err = t.in.Write(raw)
	}
	var answer byte
	if err == nil {
		answer, err = t.out.ReadByte()
	}
	switch {
	case err == nil && answer == survived:
		return ""
	case ctx.Err() != nil:
		return whyHangs
	default:
		return whyDied
	}
}

// end ends the process.
func (t *trial) end() {
	_ = t.in.Close()
	_ = t.cmd.Process.Kill()
	_ = t.cmd.Wait() // how it ended is known already, or not asked for
}

// longestTrial is when a process of Config.Trial ends by itself: whoever has not ended it by then is gone.
const longestTrial = 15 * time.Minute

// ServeTrials is what the process of Config.Trial does: it parses the messages that come in, and makes of them all that a
// worker would, until there are no more, or one takes longer than 15 minutes. out must be used by nobody else.
func ServeTrials(in io.Reader, out io.Writer, p Parser) error {
	// If memory runs out, it is this process that has to go. Where that cannot be said, chance decides.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	return serveTrials(in, out, p)
}

func serveTrials(in io.Reader, out io.Writer, p Parser) error {
	r := bufio.NewReader(in)
	for {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the size of a message: %w", err)
		}
		raw := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(r, raw); err != nil {
			return fmt.Errorf("read a message: %w", err)
		}
		parsed := make(chan struct{})
		go func() { exercise(raw, p); close(parsed) }()
		select {
		case <-parsed:
		case <-time.After(longestTrial):
			return fmt.Errorf("a message of %d bytes is being parsed for %v", len(raw), longestTrial)
		}
		if _, err := out.Write([]byte{survived}); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

// exercise parses a message, decodes its leaves and encodes the result. Errors and panics say nothing: a worker survives them.
func exercise(raw []byte, p Parser) {
	defer func() { _ = recover() }()
	crash.With("parse.begin", raw)
	mail := p.Parse(raw)
	parser.Fingerprint(raw)
	for _, leaf := range mail.Leaves() {
		_, _ = io.Copy(io.Discard, leaf.Open())
	}
	_, _ = json.Marshal(mail.Mail)
}
