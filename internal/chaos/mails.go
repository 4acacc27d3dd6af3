package chaos

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Mails returns n messages: those below the folder messages of a corpus, in a random order and as often as it takes,
// or made up ones if corpus is empty. They are read in place.
func Mails(corpus string, n int, rng *rand.Rand) ([][]byte, error) {
	if corpus == "" {
		return madeUp(n, rng), nil
	}
	var files []string
	err := filepath.WalkDir(filepath.Join(corpus, "messages"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && isMessage(path) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read corpus: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no messages in %s", corpus)
	}
	slices.Sort(files)
	rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	mails := make([][]byte, n)
	for i := range mails {
		if mails[i], err = os.ReadFile(files[i%len(files)]); err != nil {
			return nil, fmt.Errorf("read corpus: %w", err)
		}
	}
	return mails, nil
}

// isMessage leaves out what lies beside the messages: expected results and decoded parts.
func isMessage(path string) bool {
	name := filepath.Base(path)
	return !slices.Contains([]string{".json", ".xml", ".out", ".bin"}, filepath.Ext(name)) && !strings.Contains(name, "_decoded")
}

// madeUp makes messages of many sizes, every tenth with an attachment.
func madeUp(n int, rng *rand.Rand) [][]byte {
	mails := make([][]byte, n)
	for i := range mails {
		var b bytes.Buffer
		fmt.Fprintf(&b, "From: Ada <ada@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: Message %d\r\n", i)
		fmt.Fprintf(&b, "Message-ID: <%d.%x@example.org>\r\nMIME-Version: 1.0\r\n", i, rng.Uint64())
		text := strings.Repeat("All work and no play makes a dull test.\r\n", 1+rng.IntN(100))
		if i%10 != 0 {
			fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\n\r\n%s", text)
		} else {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n%s\r\n--x\r\n"+
				"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=%d.bin\r\n"+
				"Content-Transfer-Encoding: 8bit\r\n\r\n%s\r\n--x--\r\n", text, i, strings.Repeat("0123456789abcdef\r\n", rng.IntN(4000)))
		}
		mails[i] = b.Bytes()
	}
	return mails
}
