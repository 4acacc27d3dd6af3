package rivals

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// delivery is one copy of a message at its destination.
type delivery struct {
	id   string // empty: it is none of ours, or a part of one
	body string
	at   time.Time // when it appeared
}

// readMaildirs reads what lies in new and cur of every Maildir below root.
func readMaildirs(root string) ([]delivery, error) {
	var all []delivery
	err := eachMail(root, func(path string, info fs.FileInfo) error {
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		all = append(all, delivery{mailID(raw), bodyDigest(raw), appeared(info)})
		return nil
	})
	return all, err
}

// countMaildirs counts the messages.
func countMaildirs(root string) (n int, err error) {
	err = eachMail(root, func(string, fs.FileInfo) error { n++; return nil })
	return n, err
}

func eachMail(root string, visit func(path string, info fs.FileInfo) error) error {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // moved meanwhile
		}
		if err != nil || d.IsDir() {
			return err
		}
		if parent := filepath.Base(filepath.Dir(path)); parent != "new" && parent != "cur" {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return visit(path, info)
	})
	if err != nil {
		return fmt.Errorf("look into the Maildirs: %w", err)
	}
	return nil
}

// appeared is when the file got its name: the change time, since a fetcher may set the other times to those of the message.
func appeared(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return info.ModTime()
}

// makeMaildir makes an empty Maildir.
func makeMaildir(path string) error {
	for _, name := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(path, name), 0o700); err != nil {
			return fmt.Errorf("make Maildir: %w", err)
		}
	}
	return nil
}
