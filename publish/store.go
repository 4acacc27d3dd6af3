package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
)

// mendStore takes back what a process leaves half done in the store when it is killed, where nats-server (2.15.2) would
// not open the stream or the consumer any more: it leaves such a one out, and whoever then makes the stream overwrites what
// it held. It must be called before the server starts.
func mendStore(dir string, encrypted bool) error {
	streams, err := streamDirs(dir)
	if err != nil {
		return fmt.Errorf("look at the streams of the NATS store %s: %w", dir, err)
	}
	for _, stream := range streams {
		if err := mendStream(stream, encrypted); err != nil {
			return fmt.Errorf("mend the stream %s of the NATS store %s: %w", filepath.Base(stream), dir, err)
		}
	}
	return nil
}

func mendStream(stream string, encrypted bool) error {
	if encrypted {
		if err := mendBlocks(filepath.Join(stream, "msgs")); err != nil {
			return err
		}
	}
	name := filepath.Base(stream)
	if err := mendMeta(stream, name, encrypted); err != nil {
		return err
	}
	consumers, err := subdirs(filepath.Join(stream, "obs"))
	for _, consumer := range consumers {
		err = errors.Join(err, mendMeta(consumer, name+"/"+filepath.Base(consumer), encrypted))
	}
	return err
}

// streamDirs returns the directories of the streams in a store.
func streamDirs(dir string) (all []string, err error) {
	accounts, err := subdirs(filepath.Join(dir, server.JetStreamStoreDir))
	for _, account := range accounts {
		streams, failed := subdirs(filepath.Join(account, "streams"))
		all, err = append(all, streams...), errors.Join(err, failed)
	}
	return all, err
}

// subdirs returns the directories in a directory, if there is one, but those that begin with a dot: nats-server has given
// them that name to remove them.
func subdirs(dir string) (all []string, err error) {
	entries, err := readDir(dir)
	for _, e := range entries {
		if !e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") { // a link leads to one
			all = append(all, filepath.Join(dir, e.Name()))
		}
	}
	return all, err
}

func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// blocks returns the files of messages in a directory.
func blocks(msgs string) (all []string, err error) {
	entries, err := readDir(msgs)
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".blk" {
			all = append(all, filepath.Join(msgs, e.Name()))
		}
	}
	return all, err
}

// mendBlocks removes the file of a block that was begun and has neither its key nor data: nats-server makes the file
// first, and takes a block without a key for damaged.
func mendBlocks(msgs string) error {
	all, err := blocks(msgs)
	if err != nil {
		return err
	}
	for _, block := range all {
		switch _, err := os.Stat(strings.TrimSuffix(block, ".blk") + ".key"); {
		case err == nil:
			continue
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		is, err := os.Stat(block)
		if err == nil && is.Size() == 0 {
			err = os.Remove(block)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leastSealed is what nonce and tag alone take; nats-server panics at less.
const leastSealed = 24 + 16

// mendMeta makes the checksum of the settings of a stream or consumer anew if it is missing or they were written after it:
// nats-server writes first the one file and then the other, and never the second if it finds the first. Settings that were
// damaged are not younger than their checksum, and stay refused. name is what nats-server makes the key of the checksum of.
func mendMeta(dir, name string, encrypted bool) error {
	metaFile, sumFile := filepath.Join(dir, server.JetStreamMetaFile), filepath.Join(dir, server.JetStreamMetaFileSum)
	meta, err := os.Stat(metaFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // it was never made
	case err != nil:
		return err
	}
	switch sum, err := os.Stat(sumFile); {
	case err == nil && sum.Size() > 0 && !meta.ModTime().After(sum.ModTime()):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	data, err := os.ReadFile(metaFile)
	if err != nil {
		return err
	}
	if encrypted && len(data) < leastSealed || !encrypted && !json.Valid(data) {
		return nil // nobody wrote them like this
	}
	key := sha256.Sum256([]byte(name))
	hash, err := highwayhash.New64(key[:])
	if err != nil {
		return err
	}
	hash.Write(data)
	unfinished := sumFile + ".tmp" // so that a kill or a full disk does not leave half of one, which would be the younger
	if err := os.WriteFile(unfinished, []byte(hex.EncodeToString(hash.Sum(nil))), 0o600); err != nil {
		return err
	}
	return os.Rename(unfinished, sumFile)
}

// unopened is an error if there is a stream with messages that the server could not open, because making it anew, as is
// done with a stream that is missing, would destroy them. said is what the server said last.
func unopened(srv *server.Server, dir, said string) error {
	found, err := srv.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return fmt.Errorf("ask the built-in NATS server for its streams: %w", err)
	}
	open := map[string]bool{}
	for _, account := range found.AccountDetails {
		for _, stream := range account.Streams {
			open[filepath.Join(dir, server.JetStreamStoreDir, account.Id, "streams", stream.Name)] = true
		}
	}
	streams, err := streamDirs(dir)
	if err != nil {
		return fmt.Errorf("look at the streams of the NATS store %s: %w", dir, err)
	}
	for _, stream := range streams {
		if open[stream] || !holdsMessages(stream) {
			continue
		}
		return fmt.Errorf("the built-in NATS server cannot open its stream %s in %s (%s): nothing was changed: bring that directory back "+
			"from a backup, or move it away to begin without what it holds", filepath.Base(stream), dir, said)
	}
	return nil
}

func holdsMessages(stream string) bool {
	all, err := blocks(filepath.Join(stream, "msgs"))
	for _, block := range all {
		is, statErr := os.Stat(block)
		if statErr != nil || is.Size() > 0 {
			return true
		}
	}
	return err != nil
}
