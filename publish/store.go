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
// not open the stream any more: it leaves such a stream out, and whoever then makes the stream overwrites what it held.
// It must be called before the server starts.
func mendStore(dir string, encrypted bool) error {
	streams, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "*"))
	if err != nil {
		return err
	}
	for _, stream := range streams {
		if encrypted {
			err = mendBlocks(stream)
		}
		if err = errors.Join(err, mendMeta(stream, encrypted)); err != nil {
			return fmt.Errorf("mend the stream %s of the NATS store %s: %w", filepath.Base(stream), dir, err)
		}
	}
	return nil
}

// mendBlocks removes the file of a block that was begun and has neither its key nor data: nats-server makes the file
// first, and takes a block without a key for damaged.
func mendBlocks(stream string) error {
	blocks, err := filepath.Glob(filepath.Join(stream, "msgs", "*.blk"))
	if err != nil {
		return err
	}
	for _, block := range blocks {
		switch _, err := os.Stat(strings.TrimSuffix(block, ".blk") + ".key"); {
		case err == nil:
			continue
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if is, err := os.Stat(block); err != nil || is.Size() > 0 {
			return err
		}
		if err := os.Remove(block); err != nil {
			return err
		}
	}
	return nil
}

// leastSealed is what nonce and tag alone take; nats-server panics at less.
const leastSealed = 24 + 16

// mendMeta makes the checksum of a stream's settings anew if it is missing or they were written after it: nats-server
// writes first the one file and then the other, and never the second if it finds the first. Settings that were damaged are
// not younger than their checksum, and stay refused.
func mendMeta(stream string, encrypted bool) error {
	metaFile, sumFile := filepath.Join(stream, server.JetStreamMetaFile), filepath.Join(stream, server.JetStreamMetaFileSum)
	meta, err := os.Stat(metaFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // the stream was never made
	case err != nil:
		return err
	}
	switch sum, err := os.Stat(sumFile); {
	case err == nil && !meta.ModTime().After(sum.ModTime()):
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
	key := sha256.Sum256([]byte(filepath.Base(stream)))
	hash, err := highwayhash.New64(key[:])
	if err != nil {
		return err
	}
	hash.Write(data)
	return os.WriteFile(sumFile, []byte(hex.EncodeToString(hash.Sum(nil))), 0o600)
}

// unopened is an error if there is a stream with messages that the server could not open, because making it anew, as is
// done with a stream that is missing, would destroy them.
func unopened(srv *server.Server, dir, said string) error {
	for _, e := range srv.Healthz(&server.HealthzOptions{Details: true}).Errors {
		if e.Type != server.HealthzErrorStream || !holdsMessages(filepath.Join(dir, "jetstream", e.Account, "streams", e.Stream)) {
			continue
		}
		return fmt.Errorf("the built-in NATS server cannot open its stream %s in %s (%s): nothing was changed: bring that directory back "+
			"from a backup, or move it away to begin without what it holds", e.Stream, dir, said)
	}
	return nil
}

func holdsMessages(stream string) bool {
	blocks, err := filepath.Glob(filepath.Join(stream, "msgs", "*.blk"))
	for _, block := range blocks {
		is, statErr := os.Stat(block)
		if statErr != nil || is.Size() > 0 {
			return true
		}
	}
	return err != nil
}
