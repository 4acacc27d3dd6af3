package token

import "time"

// lookAgain is how soon it is worth asking again for a grant that needs someone to act. It costs no request to the provider:
// the record says that it waits, and whether another refresh token or client secret was configured.
const lookAgain = time.Minute

// Who says that the mailbox's owner must act.
func (e *GrantError) Who() string { return "person" }

// Advice returns what is wrong and what to do about it.
func (e *GrantError) Advice() (sentence, hint string) { return e.Sentence, e.Hint }

// RetryIn returns how soon it is worth asking again.
func (e *GrantError) RetryIn() time.Duration { return lookAgain }

// Who says that whoever runs the program must act.
func (e *ClientError) Who() string { return "operator" }

// Advice returns what is wrong and what to do about it.
func (e *ClientError) Advice() (sentence, hint string) {
	return "OAuth client " + e.Client + ": " + e.Sentence, e.Hint
}

// RetryIn returns how soon it is worth asking again.
func (e *ClientError) RetryIn() time.Duration { return lookAgain }

// Who says that it passes by itself.
func (e *UnavailableError) Who() string { return "passes" }

// Advice returns what is wrong and what to do about it.
func (e *UnavailableError) Advice() (sentence, hint string) { return e.Sentence, e.Hint }

// RetryIn returns what the endpoint asked for.
func (e *UnavailableError) RetryIn() time.Duration { return e.Wait }

// Who says that whoever runs the program must act.
func (e *SealError) Who() string { return "operator" }

// Advice returns what is wrong and what to do about it.
func (e *SealError) Advice() (sentence, hint string) { return e.Error(), e.Hint }

// RetryIn returns how soon it is worth asking again.
func (e *SealError) RetryIn() time.Duration { return lookAgain }
