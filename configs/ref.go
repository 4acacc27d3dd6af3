package configs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxSecret is the largest secret that a Ref reads, in bytes.
const maxSecret = 64 << 10

// Ref is a reference to a secret: "file:PATH" or "env:NAME". It holds no secret itself, so it can be printed and
// compared. The zero value refers to nothing.
type Ref struct {
	key  string       // the path of the setting, for errors
	text string       // as the file writes it
	file string       // resolved path, if it is a file
	name string       // name of the variable, if it is one
	env  *environment // nil: the process's
}

// FileRef returns a reference to a file; key names the setting in errors.
func FileRef(key, path string) Ref { return Ref{key: key, text: "file:" + path, file: path} }

// EnvRef returns a reference to an environment variable of this process; key names the setting in errors.
func EnvRef(key, name string) Ref { return Ref{key: key, text: "env:" + name, name: name} }

// IsZero reports whether the reference refers to nothing.
func (r Ref) IsZero() bool { return r.text == "" }

// String returns the reference, never the secret.
func (r Ref) String() string { return r.text }

// GoString returns the reference, never the secret.
func (r Ref) GoString() string { return "configs.Ref(" + r.text + ")" }

// MarshalText returns the reference, never the secret.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.text), nil }

// Path returns the path of the file that the reference names, or "".
func (r Ref) Path() string { return r.file }

// Read returns the secret without the newlines at its end. It is read anew each time, so that a replaced file is seen.
func (r Ref) Read() (string, error) {
	var text string
	switch {
	case r.file != "":
		raw, err := readLimited(r.file)
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", r.key, r.text, withoutPath(err))
		}
		text = string(raw)
	case r.name != "":
		value, ok := r.env.lookup(r.name)
		if !ok {
			return "", fmt.Errorf("%s: %s: the variable is not set", r.key, r.text)
		}
		text = value
	default:
		return "", fmt.Errorf("%s: no secret is configured", r.key)
	}
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return "", fmt.Errorf("%s: %s: the secret is empty", r.key, r.text)
	}
	return text, nil
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxSecret {
		return nil, fmt.Errorf("the file is larger than %v", Size(maxSecret))
	}
	return raw, nil
}

// withoutPath takes the path out of an error of package os: the reference names it already.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// parseRef reads a reference. What is not one is probably the secret itself, so no error repeats it.
func parseRef(s string, at place) (Ref, error) {
	scheme, target, _ := strings.Cut(s, ":")
	target = strings.TrimSpace(target)
	ref := Ref{key: at.path, text: s, env: at.env}
	switch {
	case scheme == "file" && target != "" && printable(target):
		ref.file = at.resolve(target)
	case scheme == "env" && variableName.MatchString(target):
		ref.name = target
	case scheme == "file" && target == "", scheme == "env":
		return Ref{}, flawf("write file:PATH or env:NAME", "the reference to the secret names nothing that can be read")
	default:
		return Ref{}, flawf("put it into a file and write file:PATH here, or into a variable and write env:NAME",
			"must be a reference, not the secret itself")
	}
	return ref, nil
}

// check says what would keep Read from succeeding, without reading the secret from anything but a plain file.
func (r Ref) check() *flaw {
	if r.name != "" {
		if value, ok := r.env.lookup(r.name); !ok || value == "" {
			return flawf("set it to the secret, or point to a file with file:PATH", "the variable %s is not set", r.name)
		}
		return nil
	}
	return checkFile(r.file, "it must hold the secret and nothing else")
}

// checkFile says what keeps a file from being read. It opens plain files only: a pipe could block.
func checkFile(path, fix string) *flaw {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return flawf("create it ("+fix+") or correct the path; relative paths start at the configuration file", "the file %s does not exist", quote(path))
	case err != nil:
		return flawf("correct the path or its permissions", "the file %s cannot be read: %v", quote(path), withoutPath(err))
	case info.IsDir():
		return flawf("name a file in it", "%s is a directory", quote(path))
	case !info.Mode().IsRegular():
		return nil
	case info.Size() == 0:
		return flawf(fix, "the file %s is empty", quote(path))
	}
	f, err := os.Open(path)
	if err != nil {
		return flawf("let the user that runs mailflume read it", "the file %s cannot be read: %v", quote(path), withoutPath(err))
	}
	_ = f.Close()
	return nil
}

// place is where a value stands, for those kinds of value that depend on it.
type place struct {
	path string // of the setting
	base string // directory of the configuration file
	env  *environment
}

func (p place) resolve(path string) string {
	if filepath.IsAbs(path) || p.base == "" {
		return filepath.Clean(path)
	}
	return filepath.Join(p.base, path)
}
