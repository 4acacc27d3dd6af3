package parser

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"testing"
	"unicode/utf8"
)

// check holds whatever the message: what every result of Parse must be.
func check(t *testing.T, raw []byte) Mail {
	t.Helper()
	before := bytes.Clone(raw)
	m := Parse(raw)
	if !bytes.Equal(before, raw) {
		t.Fatal("Parse changed the message")
	}
	first, err := json.Marshal(m.Mail)
	if err != nil {
		t.Fatalf("the mail is no JSON: %v", err)
	}
	again := Parse(raw)
	if second, err := json.Marshal(again.Mail); err != nil || !bytes.Equal(first, second) {
		t.Fatalf("the same bytes gave another mail (%v)", err)
	}
	validStrings(t, reflect.ValueOf(m.Mail), "mail")
	for _, d := range m.Defects {
		if d.Code == DefectPanic {
			t.Fatalf("the parser panicked: %s", d.Detail)
		}
	}
	if len(m.Email.Preview) > 4*maxPreview || utf8.RuneCountInString(m.Email.Preview) > maxPreview {
		t.Errorf("the preview has %d characters", utf8.RuneCountInString(m.Email.Preview))
	}
	checkLeaves(t, m)
	checkSize(t, raw, m, len(first))
	if f := Fingerprint(raw); f != Fingerprint(bytes.Clone(raw)) || len(f) != 64 {
		t.Errorf("fingerprint %q", f)
	}
	m.Header()
	return m
}

// checkLeaves says that what is inline and what is attached make up the message, and that each leaf gives what it says.
func checkLeaves(t *testing.T, m Mail) {
	t.Helper()
	attached := make(map[string]bool)
	for _, a := range m.Attachments {
		l, ok := m.Leaf(a.PartID)
		if !ok || l.SHA256 != a.SHA256 || l.Size != a.Size {
			t.Errorf("attachment %s is not leaf %+v", a.PartID, l)
		}
		if n := len(a.SafeName); n == 0 || n > maxName {
			t.Errorf("safe name %q has %d bytes", a.SafeName, n)
		}
		attached[a.PartID] = true
	}
	seen := make(map[string]bool)
	for _, l := range m.Leaves() {
		if seen[l.PartID] {
			t.Errorf("two leaves %s", l.PartID)
		}
		seen[l.PartID] = true
		if v, ok := m.Email.BodyValues[l.PartID]; l.Within == "" && !attached[l.PartID] && (!ok || v.IsTruncated) {
			t.Errorf("leaf %s is neither inline nor attached", l.PartID)
		}
		b, err := io.ReadAll(l.Open())
		if err != nil || int64(len(b)) != l.Size || sha256Hex(b) != l.SHA256 {
			t.Errorf("leaf %s: read %d bytes (%v), want %d with hash %s", l.PartID, len(b), err, l.Size, l.SHA256)
		}
	}
}

// checkSize bounds the output. Short parts cost most: each has a few hundred bytes of structure.
func checkSize(t *testing.T, raw []byte, m Mail, out int) {
	t.Helper()
	bound := 20_000 + 40*len(raw) + 4000*len(m.Leaves())
	if out > bound {
		t.Errorf("%d bytes became %d bytes of JSON with %d leaves", len(raw), out, len(m.Leaves()))
	}
}

// validStrings walks a value: every string in it is valid UTF-8.
func validStrings(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			t.Errorf("%s is not UTF-8: %.60q", path, v.String())
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() && v.Type().String() != "*time.Time" {
			validStrings(t, v.Elem(), path)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			validStrings(t, v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	case reflect.Slice:
		for i := range v.Len() {
			validStrings(t, v.Index(i), path)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			validStrings(t, it.Key(), path)
			validStrings(t, it.Value(), path)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
