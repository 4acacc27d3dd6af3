package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"runtime/debug"
	"strings"
)

// bill is a software bill of materials: the part of CycloneDX 1.6 (ECMA-424) that says what a program was linked from.
type bill struct {
	Format     string     `json:"bomFormat"`
	Version    string     `json:"specVersion"`
	Metadata   billAbout  `json:"metadata"`
	Components []billPart `json:"components"`
}

type billAbout struct {
	Component billPart `json:"component"`
}

// billPart is the program, or a module in it.
type billPart struct {
	Kind    string     `json:"type"` // application, library
	Ref     string     `json:"bom-ref"`
	Name    string     `json:"name"`
	Version string     `json:"version"`
	URL     string     `json:"purl"`
	Hashes  []billHash `json:"hashes,omitempty"`
}

type billHash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"` // of the module's zip file, as go.sum has it
}

// writeBill writes what the linker noted in this program. It has no time and no number, so the same program has the same.
func writeBill(w io.Writer, info *debug.BuildInfo) error {
	b := bill{Format: "CycloneDX", Version: "1.6", Components: []billPart{}}
	b.Metadata.Component = part("application", info.Main.Path, version(), "")
	b.Components = append(b.Components, part("library", "std", strings.TrimPrefix(info.GoVersion, "go"), ""))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.Components = append(b.Components, part("library", m.Path, m.Version, m.Sum))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(b)
}

func part(kind, name, version, sum string) billPart {
	at := "pkg:golang/" + strings.ToLower(name) + "@" + url.PathEscape(version)
	p := billPart{Kind: kind, Ref: at, Name: name, Version: version, URL: at}
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sum, "h1:")); err == nil && len(raw) > 0 {
		p.Hashes = []billHash{{"SHA-256", hex.EncodeToString(raw)}}
	}
	return p
}
