package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// The bill of materials has all that the tool chain finds in the program, with the versions and hashes of go.sum, and nothing
// else.
func TestBillOfMaterials(t *testing.T) {
	path, err := exec.LookPath("mailflume")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), name, args...).Output()
		if err != nil {
			t.Fatalf("%s %v: %v", name, args, err)
		}
		return string(out)
	}
	text := ask(path, "version", "--sbom")
	var b bill
	if err := json.Unmarshal([]byte(text), &b); err != nil || b.Format != "CycloneDX" || b.Version != "1.6" {
		t.Fatalf("%v\n%s", err, text)
	}
	listed := map[string]bool{}
	for _, c := range b.Components {
		at, hashed := c.Name+" "+c.Version, c.Name == "std" || len(c.Hashes) == 1 && len(c.Hashes[0].Content) == 64
		if listed[at] || !hashed || c.Kind != "library" || !strings.HasPrefix(c.URL, "pkg:golang/"+strings.ToLower(c.Name)+"@") || c.Ref != c.URL {
			t.Errorf("%+v", c)
		}
		listed[at] = true
	}
	linked := 0
	for line := range strings.Lines(ask("go", "version", "-m", path)) {
		if f := strings.Fields(line); len(f) == 4 && f[0] == "dep" {
			linked++
			if !listed[f[1]+" "+f[2]] {
				t.Errorf("it lacks %s %s", f[1], f[2])
			}
		}
	}
	if linked < 20 || len(listed) != linked+1 {
		t.Errorf("%d modules are listed, %d are linked", len(listed)-1, linked)
	}
	if main := b.Metadata.Component; main.Name != "github.com/mailflume/mailflume" || main.Kind != "application" || main.Version == "" {
		t.Errorf("%+v", main)
	}
	if ask(path, "version", "--sbom") != text {
		t.Error("it is another one each time")
	}
}
