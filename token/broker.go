package token

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Foreign hands out access tokens that somebody else's broker keeps fresh; read gets the present one. It is asked at each
// login, and no token is kept here.
type Foreign func(ctx context.Context) (string, error)

// Token asks the broker. If what comes is the token that the server has just refused, the broker has no better one.
func (f Foreign) Token(ctx context.Context, rejected string) (string, error) {
	text, err := f(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", &BrokerError{Err: err, Problem: Problem{
			Code: "broker_failed", At: stamp(time.Now()), Sentence: "The token command or file gives no token.",
			Hint: "Run the command, or look at the file, as the user that mailflume runs as (login.token_command, login.token_file).",
		}}
	}
	text = strings.TrimSpace(text)
	switch {
	case text == "" || strings.ContainsAny(text, " \t\r\n\x00"):
		return "", &BrokerError{Problem: Problem{
			Code: "broker_garbage", At: stamp(time.Now()), Sentence: "What the token command or file gives is not one token.",
			Hint: "It must be the access token and nothing else.",
		}}
	case text == rejected:
		return "", &BrokerError{Problem: Problem{
			Code: "broker_stale", At: stamp(time.Now()), Sentence: "The mail server refuses the token that the token command or file gives.",
			Hint: "It has expired, or it is for another mailbox or another service than IMAP: let whatever makes it renew it.",
		}}
	}
	return text, nil
}

// BrokerError says that somebody else's broker gives no token that works. It is looked for again soon: the broker may be
// about to renew it.
type BrokerError struct {
	Problem
	Err error
}

func (e *BrokerError) Error() string {
	if e.Err == nil {
		return e.text()
	}
	return e.text() + ": " + e.Err.Error()
}

func (e *BrokerError) Unwrap() error { return e.Err }

// Who says that whoever runs the program must act.
func (e *BrokerError) Who() string { return "operator" }

// Advice returns what is wrong and what to do about it.
func (e *BrokerError) Advice() (sentence, hint string) {
	if e.Err != nil {
		return e.Sentence + " (" + e.Err.Error() + ")", e.Hint
	}
	return e.Sentence, e.Hint
}

// RetryIn returns how soon it is worth asking again.
func (e *BrokerError) RetryIn() time.Duration { return lookAgain }

const (
	commandTimeout = 30 * time.Second
	maxToken       = 64 << 10
)

// Command runs a program, without a shell, and returns what it prints. What it prints on standard error is not repeated:
// it may hold anything.
func Command(argv ...string) Foreign {
	return func(ctx context.Context) (string, error) {
		if len(argv) == 0 {
			return "", errors.New("no command is configured")
		}
		ctx, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		c := exec.CommandContext(ctx, argv[0], argv[1:]...)
		c.WaitDelay = time.Second // what it leaves behind may hold its output open
		out := &capped{}
		c.Stdout = out
		err := c.Run()
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return "", fmt.Errorf("it did not end within %v", commandTimeout)
		case err != nil:
			return "", err
		case out.over:
			return "", fmt.Errorf("it printed more than %d bytes", maxToken)
		}
		return string(out.text), nil
	}
}

// capped keeps the beginning of what is written to it. (It embeds no Buffer: io.Copy would go past Write.)
type capped struct {
	text []byte
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	if c.over = c.over || len(c.text)+len(p) > maxToken; !c.over {
		c.text = append(c.text, p...)
	}
	return len(p), nil
}
