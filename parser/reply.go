package parser

import (
	"strings"
	"unicode/utf8"
)

// replyText returns what the author wrote: the text without the quoted message and the signature. It is a heuristic; when
// nothing would be left, it returns the whole text.
func replyText(s string) string {
	lines := splitLines(s)
	kept := make([]string, 0, len(lines))
	wroteOn := 0 // the author wrote something at this line
	marked := 0  // the next line that an introduction can end with
	for i := 0; i < len(lines); i++ {
		if lines[i] == "" {
			kept = append(kept, "")
			continue
		}
		if endsReply(lines, i, &wroteOn) {
			break
		}
		for marked = max(marked, i); marked < len(lines) && !marksAttribution(lines[marked]); {
			marked++
		}
		if marked < i+longestAttribution {
			if n, all := attribution(lines, i); all {
				break
			} else if n > 0 {
				i += n - 1
				continue
			}
		}
		if quotedLine(lines[i]) {
			continue
		}
		kept = append(kept, strings.TrimRight(lines[i], " \t\r"))
	}
	for len(kept) > 0 && noise(kept[len(kept)-1]) {
		kept = kept[:len(kept)-1]
	}
	if out := strings.TrimSpace(strings.Join(kept, "\n")); out != "" {
		return out
	}
	return strings.TrimSpace(s)
}

func splitLines(s string) []string {
	lines := make([]string, 0, 1+strings.Count(s, "\n"))
	for {
		end := strings.IndexByte(s, '\n')
		if end < 0 {
			return append(lines, s)
		}
		lines = append(lines, s[:end])
		s = s[end+1:]
	}
}

// longestLine is the longest line that is looked at as a header or an introduction.
const longestLine = 300

// quotedLine says whether a line is quoted: "> text", or "AL> text" with the initials of its author.
func quotedLine(line string) bool {
	line = strings.TrimSpace(line)
	const initials = 3
	for i := 0; i < len(line) && i <= initials; i++ {
		if line[i] == '>' {
			return i == 0 || i+1 == len(line) || line[i+1] == ' ' || line[i+1] == '>'
		}
		if line[i] < 'A' || line[i] > 'Z' {
			return false
		}
	}
	return false
}

// noise says whether a line at the end of a reply is nothing that anybody wrote: a ruler, or the mark of a mail tracker.
func noise(line string) bool {
	return line == "" || strings.Trim(line, " \t\r=-_*~ᐧ\u200b\ufeff") == ""
}

// endsReply says whether the rest from line i on is a signature or a message that was forwarded or replied to.
func endsReply(lines []string, i int, wroteOn *int) bool {
	line := strings.TrimSpace(lines[i])
	if line == "" || len(line) > longestLine {
		return false
	}
	if c := line[0]; (c == '-' || c == '_' || c >= utf8.RuneSelf) && (line == "--" || line == "—" || len(line) > 1 && strings.Trim(line, "_") == "") {
		return true
	}
	if separator(lines, i) || headerBlock(lines, i) {
		return true
	}
	plain := bare(line)
	if fromDevice(plain) {
		return true
	}
	if i >= *wroteOn && sentFrom(plain) {
		next, ends := nothingFollows(lines, i+1)
		*wroteOn = next
		return ends
	}
	return false
}

// separator says whether a line is "-----Original Message-----" or the like: known words between dashes, or any words with
// the fields of a message behind them.
func separator(lines []string, i int) bool {
	line := strings.TrimSpace(lines[i])
	if startsWith(forwardWords, line) {
		return true
	}
	if line == "" || strings.IndexByte("-_=*", line[0]) < 0 {
		return false
	}
	words := strings.TrimSpace(strings.Trim(line, "-_=* "))
	if len(words) < 5 || len(line)-len(words) < 4 {
		return false
	}
	return originalWords[strings.ToLower(words)] || i+1 < len(lines) && headerFields(lines, i+1) >= 2
}

// headerBlock says whether a block "From: .. Sent: .. To: .." starts at line i, as Outlook puts it before the message
// that is replied to.
func headerBlock(lines []string, i int) bool {
	field := quotedField(strings.TrimSpace(lines[i]))
	if field == "" {
		return false
	}
	return fromNames[field] && headerFields(lines, i+1) >= 2 || field == "message du" && headerFields(lines, i+1) >= 2
}

// headerFields counts the fields of a message in the next lines.
func headerFields(lines []string, i int) int {
	const window = 7
	found := 0
	for _, next := range lines[min(i, len(lines)):min(len(lines), i+window)] {
		if field := quotedField(strings.TrimSpace(next)); otherNames[field] || fromNames[field] {
			found++
		}
	}
	return found
}

// quotedField returns the name, in lower case, of a field at the start of a line, or "".
func quotedField(line string) string {
	const longestName = 40
	head := line[:min(len(line), longestName)]
	end := strings.IndexByte(head, ':')
	if end < 0 && strings.IndexByte(head, 0xef) >= 0 {
		end = strings.Index(head, "：")
	}
	if end <= 0 {
		return ""
	}
	return strings.ToLower(strings.Trim(head[:end], " *\u00a0"))
}

// sentFrom says whether a line is what a phone puts below a message.
func sentFrom(line string) bool {
	const longest = 120
	if len(line) > longest {
		return false
	}
	if startsWith(sentWords, line) {
		return true
	}
	for _, end := range sentEnds {
		if strings.HasSuffix(line, end) && strings.Count(line, " ") < 12 {
			return true
		}
	}
	return false
}

// bare takes brackets and emphasis off a line.
func bare(line string) string {
	const around = "<>()[] *_-"
	if line == "" || strings.IndexByte(around, line[0]) < 0 {
		return line
	}
	return strings.Trim(line, around)
}

// startsWith says whether a line starts with one of the words, whatever its case.
func startsWith(words *wordList, line string) bool {
	if line == "" {
		return false
	}
	c := line[0]
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	for _, word := range words[c] {
		if len(line) >= len(word) && strings.EqualFold(line[:len(word)], word) {
			return true
		}
	}
	return false
}

// fromDevice says whether a line is what a phone puts below a message, and no sentence that starts like it.
func fromDevice(line string) bool {
	const longest, words = 50, 8
	if len(line) > longest {
		return false
	}
	return startsWith(deviceWords, line) && strings.Count(line, " ") < words && !strings.ContainsAny(line, ",;")
}

// nothingFollows says whether the author wrote nothing from line i on, only a quote or more of a signature follows, and
// how far that was looked at.
func nothingFollows(lines []string, i int) (next int, ends bool) {
	for ; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		if line == "" || sentFrom(bare(line)) {
			continue
		}
		n, _ := attribution(lines, i)
		return i, n > 0 || quotedLine(line) || line == "--" || noise(line) || separator(lines, i) || headerBlock(lines, i)
	}
	return i, true
}
