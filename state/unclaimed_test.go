package state

import "testing"

// A mailbox that only the newer of two lists has is carried by a replica that has that list, whichever it belongs to. The
// others stay where they are, and when the other replica has the new list too, each carries what belongs to it.
func TestAMailboxThatOnlyOneListHas(t *testing.T) {
	b := newBroker(t)
	var calls book
	old, all := names(8), names(24)
	older := join(t, b.store(b.url()), &calls, lease, old)
	newer := join(t, b.store(b.url()), &calls, lease, old)
	shared := func(mailboxes []string) func() bool {
		return func() bool {
			for _, m := range mailboxes {
				if !calls.each([]string{m}, share(m, []string{older.ID(), newer.ID()})) {
					return false
				}
			}
			return true
		}
	}
	eventually(t, soon, "two replicas share", shared(old))
	newer.SetMailboxes(all)
	eventually(t, soon, "one replica has all that is new", func() bool { return calls.each(all[8:], newer.ID()) })
	eventually(t, soon, "what both know is shared as before", shared(old))
	older.SetMailboxes(all)
	eventually(t, soon, "all is shared", shared(all))
	newer.SetMailboxes(old)
	eventually(t, soon, "the other one has what is in its list alone", func() bool { return calls.each(all[8:], older.ID()) })
	eventually(t, soon, "what both know is shared", shared(old))
	older.leave()
	newer.leave()
	calls.check(t)
}

// Who leaves takes a mailbox along only as far as to the next replica that knows it.
func TestAMailboxThatOnlyTheOthersHave(t *testing.T) {
	b := newBroker(t)
	var calls book
	all := names(12)
	join(t, b.store(b.url()), &calls, lease, []string{})
	first := join(t, b.store(b.url()), &calls, lease, all)
	second := join(t, b.store(b.url()), &calls, lease, all)
	eventually(t, soon, "two replicas carry what a third does not know", func() bool {
		return calls.each(all) && count(first.Owners(), first.ID()) > 0 && count(first.Owners(), second.ID()) > 0
	})
	first.leave()
	eventually(t, soon, "one is left", func() bool { return calls.each(all, second.ID()) })
	second.leave()
	calls.check(t)
}
