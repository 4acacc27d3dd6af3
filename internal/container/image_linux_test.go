package container

import (
	"crypto/x509"
	"debug/buildinfo"
	"debug/elf"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// user is whom the image runs as: nobody that a host knows.
const user = 65532

func TestMain(m *testing.M) {
	Become()
	os.Exit(m.Run())
}

// image opens the unpacked image that MAILFLUME_CONTAINER names.
func image(t *testing.T) *Image {
	t.Helper()
	dir := os.Getenv("MAILFLUME_CONTAINER")
	if dir == "" {
		t.Skip("MAILFLUME_CONTAINER names no unpacked image; make container builds one and runs this test with it")
	}
	i, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestNothingButTheProgramAndTheAuthorities(t *testing.T) {
	i := image(t)
	want := map[string]os.FileMode{
		".": 0o555 | fs.ModeDir, "etc": 0o755 | fs.ModeDir, "etc/ssl": 0o755 | fs.ModeDir, "etc/ssl/certs": 0o755 | fs.ModeDir,
		"etc/ssl/certs/ca-certificates.crt": 0o644, "mailflume": 0o755, "data": 0o755 | fs.ModeDir,
	}
	files, size := 0, int64(0)
	err := filepath.WalkDir(i.Root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path, err := filepath.Rel(i.Root, name)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode, known := want[path]
		if delete(want, path); !known {
			t.Errorf("/%s is in the image", path)
		} else if path != "." && info.Mode() != mode {
			t.Errorf("/%s has mode %v, want %v", path, info.Mode(), mode)
		}
		owner, belongs := info.Sys().(*syscall.Stat_t), uint32(0)
		if path == "data" { // a new volume takes its owner from here
			belongs = user
		}
		if owner.Uid != belongs || owner.Gid != belongs {
			t.Errorf("/%s belongs to %d:%d, want %d", path, owner.Uid, owner.Gid, belongs)
		}
		if !d.IsDir() {
			files, size = files+1, size+info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range want {
		t.Errorf("/%s is not in the image", path)
	}
	t.Logf("%d files, %.1f MB", files, float64(size)/1e6)
	if size > 40e6 {
		t.Errorf("the image has %d bytes: something large came in", size)
	}
}

func TestProgramIsStatic(t *testing.T) {
	name := filepath.Join(image(t).Root, "mailflume")
	binary, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	for _, p := range binary.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is linked dynamically: %v", p.Type)
		}
	}
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	for key, value := range map[string]string{"CGO_ENABLED": "0", "-tags": "timetzdata", "-trimpath": "true"} {
		if settings[key] != value {
			t.Errorf("it was built with %s=%s, want %s", key, settings[key], value)
		}
	}
}

func TestAuthoritiesCanBeRead(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(image(t).Root, "etc/ssl/certs/ca-certificates.crt"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			t.Errorf("certificate %d: %v", n, err)
		}
		n++
	}
	t.Logf("%d authorities", n)
	if n < 50 {
		t.Errorf("%d authorities, want those of all the world", n)
	}
}

func TestImageSaysHowItIsRun(t *testing.T) {
	i := image(t)
	c := i.Config
	if c.User != "65532:65532" {
		t.Errorf("user %q, want 65532:65532: by number, so that an engine can see that it is not root", c.User)
	}
	for _, list := range []struct {
		what      string
		got, want []string
	}{
		{"entrypoint", c.Entrypoint, []string{"/mailflume"}},
		{"command", c.Cmd, []string{"run"}},
		{"health check", c.Healthcheck.Test, []string{"CMD", "/mailflume", "health"}},
	} {
		if !slices.Equal(list.got, list.want) {
			t.Errorf("%s %q, want %q", list.what, list.got, list.want)
		}
	}
	if file := "MAILFLUME_CONFIG=/etc/mailflume/mailflume.yaml"; !slices.Contains(c.Env, file) {
		t.Errorf("no %s in %q: each command would look for the configuration in /", file, c.Env)
	}
	if len(c.Volumes) > 0 {
		t.Errorf("it declares the volumes %v: engines would make one for every container and lose it", c.Volumes)
	}
	for _, name := range []string{"title", "description", "source", "licenses", "version"} {
		if c.Labels["org.opencontainers.image."+name] == "" {
			t.Errorf("no label %s", name)
		}
	}
	out, code := start(t, i, options{args: []string{"version"}})
	version := c.Labels["org.opencontainers.image.version"]
	if !strings.HasPrefix(out, "mailflume "+version+" ") || code != 0 {
		t.Errorf("version: exit code %d, %q; the label says %q", code, out, version)
	}
	t.Logf("%s", strings.TrimSpace(out))
}
