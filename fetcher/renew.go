package fetcher

// ending reports whether the session's token is about to end.
func (s *Session) ending() bool { return false }
