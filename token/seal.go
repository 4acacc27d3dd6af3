package token

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/mailflume/mailflume/internal/crash"
)

// sealVersion begins every sealed value: "v1|key-id|base64(nonce, ciphertext, tag)".
const sealVersion = "v1"

// keySize is the size of a key of AES-256.
const keySize = 32

// Keyring holds the keys that seal grants: the first one seals, all of them open.
type Keyring struct {
	source func() (string, error)
	keys   atomic.Pointer[[]sealKey]
}

type sealKey struct {
	id   string
	aead cipher.AEAD
}

// NewKeyring reads the keys from source, one "NAME:KEY" a line, as NewKey makes them; empty lines and lines that begin
// with # do not count. To change the key, put a new line above the old one and keep the old one until every grant has
// been saved again.
func NewKeyring(source func() (string, error)) (*Keyring, error) {
	k := &Keyring{source: source}
	if err := k.Reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Reload reads the keys again. On an error the keys stay what they were.
func (k *Keyring) Reload() error {
	text, err := k.source()
	if err != nil {
		return fmt.Errorf("read the keys that seal grants: %w", err)
	}
	keys, err := parseKeys(text)
	if err != nil {
		return fmt.Errorf("the keys that seal grants: %w", err)
	}
	k.keys.Store(&keys)
	return nil
}

// IDs returns the ids of the keys, the one that seals first.
func (k *Keyring) IDs() []string {
	var ids []string
	for _, key := range *k.keys.Load() {
		ids = append(ids, key.id)
	}
	return ids
}

// parseKeys never repeats the text in an error: it is or resembles a key.
func parseKeys(text string) ([]sealKey, error) {
	var keys []sealKey
	seen := map[string]bool{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if seen[key.id] {
			return nil, fmt.Errorf("line %d: the id %q stands there twice", number, key.id)
		}
		seen[key.id] = true
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is none; a line is NAME:KEY, KEY being 32 random bytes in base64")
	}
	return keys, nil
}

func parseKey(line string) (sealKey, error) {
	id, text, ok := strings.Cut(line, ":")
	if !ok {
		return sealKey{}, errors.New("is not NAME:KEY, KEY being 32 random bytes in base64")
	}
	if id == "" || len(id) > 32 || strings.Trim(id, keyIDChars) != "" {
		return sealKey{}, errors.New("the id before the colon must be 1 to 32 letters, digits, - or _")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil {
		return sealKey{}, fmt.Errorf("key %q is not base64", id)
	}
	if len(raw) != keySize {
		return sealKey{}, fmt.Errorf("key %q has %d bytes, it must have %d", id, len(raw), keySize)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return sealKey{}, fmt.Errorf("key %q: %w", id, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return sealKey{}, fmt.Errorf("key %q: %w", id, err)
	}
	return sealKey{id: id, aead: aead}, nil
}

const keyIDChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// seal encrypts text with the first key, bound to ad.
func (k *Keyring) seal(text Secret, ad []byte) string {
	key := (*k.keys.Load())[0]
	box := key.aead.Seal(nil, nil, []byte(text.Reveal()), ad)
	return sealVersion + "|" + key.id + "|" + base64.RawStdEncoding.EncodeToString(box)
}

// open decrypts what seal made. A key that is not there yet is looked for once in the source, so that a key added to the
// file is found without a restart. The error is a *SealError without Mailbox.
func (k *Keyring) open(value string, ad []byte) (Secret, error) {
	version, rest, _ := strings.Cut(value, "|")
	id, text, ok := strings.Cut(rest, "|")
	if version != sealVersion || !ok {
		return Secret{}, &SealError{
			Reason: "the sealed value is not of a form that this version knows",
			Hint:   "The record was damaged, or written by a newer version of this program; use that version, or " + forget,
		}
	}
	box, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil {
		return Secret{}, damaged(id)
	}
	key, ok := k.find(id)
	if !ok && k.Reload() == nil {
		key, ok = k.find(id)
	}
	if !ok {
		return Secret{}, &SealError{
			KeyID:  id,
			Reason: fmt.Sprintf("it is sealed with the key %q, and the keys that were given are %q", id, k.IDs()),
			Hint:   fmt.Sprintf("Put the line of the key %q back into the key file, below the new one. If it is lost: ", id) + forget,
		}
	}
	plain, err := key.aead.Open(nil, nil, box, ad)
	if err != nil {
		return Secret{}, damaged(id)
	}
	return NewSecret(string(plain)), nil
}

func (k *Keyring) find(id string) (sealKey, bool) {
	for _, key := range *k.keys.Load() {
		if key.id == id {
			return key, true
		}
	}
	return sealKey{}, false
}

// forget is what is left to do about a grant that nobody can open any more.
const forget = "mailflume token forget NAME --lost, and then connect the mailbox again."

func damaged(id string) *SealError {
	return &SealError{
		KeyID:  id,
		Reason: fmt.Sprintf("the key %q does not open it: either that line of the key file holds other bytes than when it was sealed, or the record was altered, or moved here from another mailbox", id),
		Hint:   fmt.Sprintf("Restore the key file that holds the original key %q. If it is lost, or the record was tampered with: ", id) + forget,
	}
}

// binding is the associated data of a sealed field: whatever it is not read back with is refused. Each part is preceded
// by its length, so that no two lists of parts give the same bytes.
func binding(parts ...[]byte) []byte {
	var b bytes.Buffer
	b.WriteString("mailflume grant " + sealVersion)
	for _, p := range parts {
		b.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		b.Write(p)
	}
	return b.Bytes()
}

// NewKey returns a line for the key file: a new id and 32 random bytes.
func NewKey() string {
	raw := make([]byte, keySize+4)
	rand.Read(raw) //nolint:errcheck // never fails (crypto/rand since Go 1.24)
	return "k" + hex.EncodeToString(raw[keySize:]) + ":" + base64.StdEncoding.EncodeToString(raw[:keySize])
}

// EnsureKeyFile creates the key file with one new key and mode 0600 if there is none, and tells whether it did. Of several
// processes that do so at once, one wins and the others use its key. A file that exists is left alone.
func EnsureKeyFile(path string) (created bool, err error) {
	switch _, err := os.Stat(path); {
	case err == nil:
		return false, nil
	case !errors.Is(err, os.ErrNotExist):
		return false, fmt.Errorf("key file: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return false, fmt.Errorf("create the key file %s: %w", path, err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // the name that stays is path
	_, err = f.WriteString(NewKey() + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return false, fmt.Errorf("write the key file %s: %w", path, err)
	}
	crash.At("key.file.written")
	// A link, unlike a rename, does not replace what another process created meanwhile.
	switch err := os.Link(f.Name(), path); {
	case errors.Is(err, os.ErrExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("create the key file %s: %w", path, err)
	}
	return true, syncDir(filepath.Dir(path))
}

// syncDir makes a new name in a directory survive a crash: a key that is lost takes the grants with it.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync the key file's directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync the key file's directory: %w", err)
	}
	return nil
}
