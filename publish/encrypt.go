package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

// encryptStore encrypts a store that was made without a key. nats-server (2.15.2) does it in place: it writes a block's key
// and then the block over itself, and who is killed between the two leaves a block that nobody can read, and that is
// emptied without a word at the next start. So the store is copied first, which takes as much room again, and whoever
// finds the copy begins anew with it. Nobody can connect meanwhile.
func encryptStore(ctx context.Context, c Embedded, l *serverLog) error {
	store := filepath.Join(c.Dir, server.JetStreamStoreDir)
	kept, unfinished := store+".plain", store+".plain.tmp"
	switch _, err := os.Stat(kept); {
	case err == nil:
		if err := errors.Join(os.RemoveAll(store), os.Rename(kept, store)); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	plain, err := isPlain(c.Dir)
	if err != nil || !plain {
		return errors.Join(err, os.RemoveAll(unfinished))
	}
	l.log.Warn("encrypting the NATS store, with a copy of it beside until that is done", "nats", c.Dir)
	if err := errors.Join(os.RemoveAll(unfinished), copyTree(unfinished, store)); err != nil {
		return errors.Join(err, os.RemoveAll(unfinished))
	}
	if err := os.Rename(unfinished, kept); err != nil {
		return err
	}
	if err := dropIndexes(c.Dir); err != nil {
		return err
	}
	c.Listen = noListener
	srv, err := openServer(ctx, c, l)
	if err != nil {
		return err
	}
	srv.Shutdown()
	srv.WaitForShutdown()
	return errors.Join(os.Rename(kept, unfinished), os.RemoveAll(unfinished))
}

// isPlain says whether a stream of the store is not encrypted.
func isPlain(dir string) (bool, error) {
	streams, err := streamDirs(dir)
	if err != nil {
		return false, err
	}
	for _, stream := range streams {
		_, made := os.Stat(filepath.Join(stream, server.JetStreamMetaFile))
		_, sealed := os.Stat(filepath.Join(stream, server.JetStreamMetaFileKey))
		if made == nil && errors.Is(sealed, fs.ErrNotExist) {
			return true, nil
		}
	}
	return false, nil
}

// dropIndexes has the next server read every block, and so encrypt it; else it would do so whenever it needs the block.
func dropIndexes(dir string) error {
	streams, err := streamDirs(dir)
	for _, stream := range streams {
		if failed := os.Remove(filepath.Join(stream, "msgs", "index.db")); !errors.Is(failed, fs.ErrNotExist) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// copyTree copies a directory, down to the disk.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, below), 0o700)
		}
		return copyFile(filepath.Join(to, below), path)
	})
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
