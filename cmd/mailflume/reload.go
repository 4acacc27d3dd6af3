package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/internal/crash"
	"github.com/mailflume/mailflume/mailbox"
)

const (
	// settle is how long to wait after a file has changed: editors and volume mounts change files in several steps.
	settle = 150 * time.Millisecond
	// lookAnyway is how often files are looked at that did not report a change: some file systems report none.
	lookAnyway = 5 * time.Second
)

// watchConfig reads the configuration anew when its file changes and on SIGHUP, and has mailboxes tried again when a file
// with their secrets changes. It ends with ctx.
func (s *service) watchConfig(ctx context.Context, c *core) {
	if s.config.File == "" { // it was made by ourselves: the demo
		return
	}
	r := &reloader{service: s, core: c, seen: s.seen}
	changes, stop := r.openWatch()
	defer stop()
	defer r.trials.Wait()
	r.compare(ctx) // NATS may have come long after the file was read
	anyway := time.NewTicker(lookAnyway)
	defer anyway.Stop()
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.hangup:
			r.read(ctx)
			r.wakeAll()
		case <-changes:
			settled = time.After(settle)
			continue
		case <-settled:
		case <-anyway.C:
		}
		settled = nil
		r.compare(ctx)
		r.watchFolders()
	}
}

// openWatch begins to watch. Without it changes are noticed all the same, later.
func (r *reloader) openWatch() (changes <-chan fsnotify.Event, stop func()) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		r.service.log.Warn("changes of the configuration file are noticed late", "error", err)
		return nil, func() {}
	}
	r.watcher = watcher
	r.watchFolders()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for range watcher.Errors { // an overflow: lookAnyway makes up for it
		}
	}()
	return watcher.Events, func() {
		_ = watcher.Close() // what it watched is forgotten in any case
		<-drained
	}
}

// watchFolders watches the directories of the configuration and of its secrets, and not the files: a mounted volume changes
// the link that leads to them.
func (r *reloader) watchFolders() {
	if r.watcher == nil {
		return
	}
	for _, file := range watched(r.core.fleet.Load().config) {
		_ = r.watcher.Add(filepath.Dir(file)) // what cannot be watched is looked at anyway
		if real, err := filepath.EvalSymlinks(file); err == nil {
			_ = r.watcher.Add(filepath.Dir(real))
		}
	}
}

// watched are the files of a configuration: itself and the secrets of its mailboxes.
func watched(config *configs.Config) []string {
	files := []string{config.File}
	for _, m := range config.Mailboxes {
		files = append(files, config.SecretFiles(m)...)
	}
	return files
}

// reloader brings a running service in step with its files.
type reloader struct {
	service *service
	core    *core
	watcher *fsnotify.Watcher // nil: there is none
	seen    map[string]string // what the files looked like, by path
	trials  sync.WaitGroup
}

// look returns what the files of a configuration look like: its text as its hash, and of the others when they were written.
func look(config *configs.Config) map[string]string {
	looks := make(map[string]string)
	for _, file := range watched(config)[1:] {
		info, err := os.Stat(file)
		if err != nil {
			looks[file] = "not there"
			continue
		}
		looks[file] = fmt.Sprint(info.ModTime().UnixNano(), info.Size())
	}
	text, err := os.ReadFile(config.File)
	looks[config.File] = fmt.Sprintf("%x %v", sha256.Sum256(text), err)
	return looks
}

// compare does what changed files ask for.
func (r *reloader) compare(ctx context.Context) {
	f := r.core.fleet.Load()
	was, is := r.seen, look(f.config)
	r.seen = is
	if is[f.config.File] != was[f.config.File] {
		r.read(ctx)
		return
	}
	for i, m := range f.config.Mailboxes {
		for _, file := range f.config.SecretFiles(m) {
			if before, known := was[file]; known && is[file] != before { // what a mailbox that was added reads is not known
				r.service.log.Info("a secret has changed; the mailbox is tried again if it waits", "mailbox", f.ids[i], "file", file)
				f.workers[i].Wake()
				r.tryToken(ctx, f, i)
				break
			}
		}
	}
}

// tryToken has another refresh token tried now if there is one, and not when the mailbox logs in again: that may be in an
// hour, and whoever has changed it is looking now. The session that the mailbox has is left alone.
func (r *reloader) tryToken(ctx context.Context, f *fleet, i int) {
	account, ok := f.config.Account(f.config.Mailboxes[i], f.ids[i])
	if !ok || account.RefreshToken == nil || f.workers[i].Status().State == mailbox.StateElsewhere {
		return
	}
	r.trials.Go(func() {
		_, _ = r.core.tokens.Token(ctx, account, "") // what is wrong with it is in the log, and in the grant's record
	})
}

// wakeAll has every mailbox that waits tried again: whoever sends a signal has done something.
func (r *reloader) wakeAll() {
	for _, w := range r.core.fleet.Load().workers {
		w.Wake()
	}
}

// read reads the configuration and lets what has changed take effect. Where anything is wrong with it the old one goes on.
func (r *reloader) read(ctx context.Context) {
	r.seen = look(r.core.fleet.Load().config) // before, so that what changes meanwhile is seen to have changed
	err := r.apply(ctx)
	if err == nil || ctx.Err() != nil {
		r.service.refused.Store(nil)
		return
	}
	r.service.refused.Store(&err)
	var wrong *configs.Error
	if !errors.As(err, &wrong) {
		r.service.log.Error("the configuration was not taken over; the old one goes on", "error", err)
		return
	}
	for _, m := range wrong.Mistakes {
		r.service.log.Error("the configuration was not taken over; the old one goes on", "mistake", m.String())
	}
}

func (r *reloader) apply(ctx context.Context) error {
	old := r.core.fleet.Load()
	next, err := configs.Load(r.service.config.File)
	if err != nil {
		return err
	}
	if err := r.service.config.Fixed(next); err != nil {
		return err
	}
	var f *fleet
	err = mailbox.Retry(ctx, r.service.log, "read the configuration anew", func(ctx context.Context) (err error) {
		f, err = r.service.muster(ctx, r.core, next, old)
		return err
	})
	if err != nil {
		return err
	}
	r.core.fleet.Store(f)
	crash.At("config.swap")
	r.core.group.Change(f.workers)
	r.service.log.Info("the configuration was read anew", "what", old.config.Summary(next))
	return nil
}
