package parser

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// policies are the golden messages in which another parser decides otherwise than we do, each with the reason. Not one of
// them is a case in which the standards are on its side.
var policies = map[string]string{
	// RFC 2046, section 5.1.2: the line of an outer boundary ends the inner multipart, closed or not.
	"stalwart-mail-parser/malformed/001.eml": "the line of an inner boundary starts a part though the outer one has ended that multipart",
	"stalwart-mail-parser/malformed/009.eml": "the line of the outer boundary is text, because the inner multipart is not closed",
	"stalwart-mail-parser/malformed/011.eml": "the line of the outer boundary is text, because the inner multipart is not closed",
	"stalwart-mail-parser/malformed/016.eml": "the lines of inner boundaries start parts though the outer one has ended those multiparts",
	// Nothing says what it means; we keep what a person would miss.
	"stalwart-mail-parser/malformed/019.eml":                    "a line in a header that is no field is dropped; we take it for the start of the text",
	"stalwart-mail-parser/malformed/020.eml":                    "the last of two Content-Types counts, so that the boundary lines are text; for us the first does",
	"stalwart-mail-parser/malformed/021.eml":                    "the last of two Content-Types counts, so that the boundary lines are text; for us the first does",
	"mime4j/mimetools-testmsgs/hdr-fakeout.msg":                 "a line of one space does not end the header, so that the text is lost",
	"mime4j/testmsgs/basic-plain-with-bad-header-separator.msg": "a line of one space does not end the header, so that half of the text is lost",
	"mime4j/testmsgs/missing-boundary.msg":                      "a multipart whose boundary does not occur has no parts, so that the text is lost",
	// RFC 2045, section 6.8: what is no letter of base64 is ignored.
	"stalwart-mail-parser/rfc/000.eml":        "words in place of base64 stay as they are; we decode their letters, and note the defect",
	"stalwart-mail-parser/thirdparty/002.eml": "what follows the padding is decoded as well; broken base64 stays as it is",
	// The message is cut off in the middle of a group of base64.
	"mime4j/mimetools-testmsgs/frag.msg":       "the bytes that an incomplete last group holds are dropped",
	"mime4j/mimetools-testmsgs/multi-frag.msg": "the bytes that an incomplete last group holds are dropped",
}

// The leaves of each message that comes with golden files are theirs, in number, order and content.
func TestCorpusGoldenLeaves(t *testing.T) {
	messages := filepath.Join(corpusFolder(t), "messages")
	for _, source := range []struct {
		folder, ext string
		golden      func(t *testing.T, file string) []string
		ours        func(t *testing.T, m Mail) []string
	}{
		{"stalwart-mail-parser", ".eml", stalwartLeaves, textLeaves},
		{"mime4j", ".msg", mime4jLeaves, rawLeaves},
	} {
		var same, total, excepted int
		err := filepath.WalkDir(filepath.Join(messages, source.folder), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(file) != source.ext {
				return err
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			want, got := source.golden(t, file), source.ours(t, Parse(raw))
			name, err := filepath.Rel(messages, file)
			if err != nil {
				return err
			}
			if reason, ok := policies[filepath.ToSlash(name)]; ok {
				if excepted++; slices.Equal(got, want) {
					t.Errorf("%s is as the golden files have it, so this is no exception any more: %s", name, reason)
				}
				return nil
			}
			total += max(len(want), len(got))
			for i := range min(len(want), len(got)) {
				if got[i] == want[i] {
					same++
				} else {
					t.Logf("%s, leaf %d: got %.100q, want %.100q", name, i, got[i], want[i])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		atLeast(t, source.folder+" leaves", same, total, 99)
		t.Logf("%s: %d messages in which it is its own policy that differs", source.folder, excepted)
	}
}

// textLeaves lists what a message holds, those of attached messages in place of them: texts as UTF-8 with their white space
// squeezed, anything else by its bytes.
func textLeaves(t *testing.T, m Mail) []string {
	t.Helper()
	var out []string
	for _, l := range m.Leaves() {
		if l.Within != "" || l.Container != "" {
			continue
		}
		b, err := io.ReadAll(l.Open())
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case isMessage(l.Type):
			out = append(out, textLeaves(t, Parse(b))...)
		case strings.HasPrefix(l.Type, "text/"):
			out = append(out, squeeze(m.Email.BodyValues[l.PartID].Value))
		default:
			out = append(out, leafForm(b))
		}
	}
	return out
}

// leafForm is the form in which bytes are compared. Text is text even where one parser calls it binary, and its line ends
// are those of a checkout.
func leafForm(b []byte) string {
	if bytes.IndexByte(b, 0) < 0 {
		return squeeze(string(b))
	}
	return sha256Hex(b)
}

// stalwartMessage is a message in the golden files of stalwart's mail-parser.
type stalwartMessage struct {
	Parts []struct {
		Body struct {
			Text         *string
			HTML         *string `json:"Html"`
			Binary       []int
			InlineBinary []int
			Message      *stalwartMessage
		} `json:"body"`
	} `json:"parts"`
}

func stalwartLeaves(t *testing.T, file string) []string {
	t.Helper()
	var m stalwartMessage
	readJSON(t, strings.TrimSuffix(file, ".eml")+".json", &m)
	return m.leaves()
}

func (m stalwartMessage) leaves() []string {
	var out []string
	for _, p := range m.Parts {
		switch body := p.Body; {
		case body.Message != nil:
			out = append(out, body.Message.leaves()...)
		case body.Text != nil:
			out = append(out, squeeze(*body.Text))
		case body.HTML != nil:
			out = append(out, squeeze(*body.HTML))
		case body.Binary != nil || body.InlineBinary != nil:
			var b []byte
			for _, c := range slices.Concat(body.Binary, body.InlineBinary) {
				b = append(b, byte(c))
			}
			out = append(out, leafForm(b))
		}
	}
	return out
}

// rawLeaves lists the decoded bytes of each leaf, and whether it is text.
func rawLeaves(t *testing.T, m Mail) []string {
	t.Helper()
	var out []string
	for _, l := range m.Leaves() {
		if isMessage(l.Type) || l.Container != "" {
			continue
		}
		b, err := io.ReadAll(l.Open())
		if err != nil {
			t.Fatal(err)
		}
		kind := "binary-body "
		if strings.HasPrefix(l.Type, "text/") {
			kind = "text-body "
		}
		out = append(out, kind+leafForm(b))
	}
	return out
}

// mime4jLeaves reads which file holds the bytes of each leaf, and those files.
func mime4jLeaves(t *testing.T, file string) []string {
	t.Helper()
	tokens, err := os.Open(strings.TrimSuffix(file, ".msg") + "_decoded.xml")
	if err != nil {
		t.Fatal(err)
	}
	defer tokens.Close()
	var out []string
	decoder := xml.NewDecoder(tokens)
	for decoder.Strict = false; ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(file, err)
		}
		element, ok := token.(xml.StartElement)
		if !ok || !strings.HasSuffix(element.Name.Local, "-body") {
			continue
		}
		for _, a := range element.Attr {
			if a.Name.Local == "name" {
				b, err := os.ReadFile(filepath.Join(filepath.Dir(file), a.Value))
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, element.Name.Local+" "+leafForm(b))
			}
		}
	}
}
