package parser

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// replyText returns what the author wrote: the text without the quoted message and the signature. It is a heuristic; when
// nothing would be left, it returns the whole text.
func replyText(s string) string { return replyLines(splitLines(s, nil)) }

// replyLines is replyText of a text in lines.
func replyLines(lines textLines) string {
	kept := keeper{text: lines.text}
	wroteOn := 0 // the author wrote something at this line
	marked := 0  // the next line that an introduction can end with
	for i := 0; i < lines.count(); i++ {
		line := lines.trimmed(i)
		if line == "" {
			kept.keep(lines.spans[i])
			continue
		}
		if line == pgpSigned { // and its fields, up to an empty line
			for i+1 < lines.count() && lines.trimmed(i+1) != "" {
				i++
			}
			continue
		}
		if endsReply(lines, i, line, &wroteOn) {
			break
		}
		near := min(i+longestAttribution, lines.count())
		for marked = max(marked, i); marked < near && !marksAttribution(lines.at(marked)); {
			marked++
		}
		if marked < near {
			if n, all := attribution(lines, i); all {
				break
			} else if n > 0 {
				i += n - 1
				continue
			}
		}
		if !quotedLine(line) {
			kept.keep(lines.spans[i])
		}
	}
	if out := strings.TrimSpace(withoutNoise(kept.result())); out != "" {
		return out
	}
	return strings.TrimSpace(lines.text)
}

// keeper puts lines of a text together again. As long as they stand side by side in it, nothing is copied.
type keeper struct {
	text     string
	from, to int  // a piece of the text that is kept
	some     bool // something is kept
	copied   bool // pieces before this one are in out
	out      strings.Builder
}

// keep keeps a line, without the white space at its end.
func (k *keeper) keep(line lineSpan) {
	from, to := int(line.start), int(line.end)
	for to > from && isSpace(k.text[to-1]) {
		to--
	}
	if k.some && from == k.to+1 {
		k.to = to
		return
	}
	k.flush()
	k.from, k.to, k.some = from, to, true
}

func (k *keeper) flush() {
	if !k.some {
		return
	}
	if k.copied {
		k.out.WriteByte('\n')
	}
	k.out.WriteString(k.text[k.from:k.to])
	k.copied = true
}

func (k *keeper) result() string {
	if !k.copied {
		return k.text[k.from:k.to]
	}
	k.flush()
	return k.out.String()
}

// longestLine is the longest line that is looked at as a header or an introduction.
const longestLine = 300

// quotedLine says whether a line, without the white space around it, is quoted: "> text", or "AL> text" with the initials
// of its author.
func quotedLine(line string) bool {
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

// withoutNoise takes off the lines at the end that nobody wrote: rulers, and the mark of a mail tracker.
func withoutNoise(s string) string {
	for s != "" {
		start := strings.LastIndexByte(s, '\n') + 1
		if !noise(s[start:]) {
			return s
		}
		s = s[:max(start-1, 0)]
	}
	return s
}

func noise(line string) bool {
	line = trimSet(line, &rulers)
	return line == "" || line[0] >= utf8.RuneSelf && strings.Trim(line, " \t\r=-_*~ᐧ\u200b\ufeff") == ""
}

// endsReply says whether the rest from line i on, which is not empty, is a signature or a message that was forwarded or replied to.
func endsReply(lines textLines, i int, line string, wroteOn *int) bool {
	if len(line) > longestLine {
		return false
	}
	if line == "--" || line == "—" || line == pgpSignature || len(line) > 1 && line[0] == '_' && strings.Trim(line, "_") == "" {
		return true
	}
	if separator(lines, i, line) || headerBlock(lines, i, line) || groupWise(line) || answersAbove(line) || notesTable(lines, i, line) {
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

// groupWise says whether a line is what GroupWise puts before the message that is replied to, which it does not mark:
// ">>> Ann Lee <ann@example.org> 02.03.2026 10:00 >>>".
func groupWise(line string) bool {
	return strings.HasPrefix(line, ">>> ") && strings.HasSuffix(line, " >>>") && hasDate(line)
}

// answersAbove says whether a line is the mark of a ticket system above which to answer: "##- Please type your reply above this
// line -##".
func answersAbove(line string) bool {
	const shortest, longest = 20, 120
	if len(line) < shortest || len(line) > longest || !ticketMarks[line[0]] || !ticketMarks[line[len(line)-1]] {
		return false
	}
	line = strings.ToLower(line)
	return slices.ContainsFunc(aboveWords, func(words string) bool { return strings.Contains(line, words) })
}

// notesTable says whether line i starts what Notes puts before the message that is replied to: its author, its date, and then the
// names of fields and what is in them, each on a line of its own.
func notesTable(lines textLines, i int, author string) bool {
	const longest, window, enough = 40, 12, 2
	if i+2 >= lines.count() || lines.trimmed(i+2) != "" {
		return false
	}
	date := lines.trimmed(i + 1)
	if date == "" || !isDigit(date[0]) || len(date) > longest || !hasDate(date) || !strings.ContainsAny(author, "@/") {
		return false
	}
	found := 0
	for i, end := i+3, min(lines.count(), i+3+window); i < end && found < enough; i++ {
		if name := lines.trimmed(i); name != "" && len(name) <= longest && quotedNames[strings.ToLower(name)] == quotedOther {
			found++
		}
	}
	return found == enough
}

// separator says whether a line is "-----Original Message-----" or the like: known words between dashes, or any words with
// the fields of a message behind them.
func separator(lines textLines, i int, line string) bool {
	if startsWith(forwardWords, line) {
		return true
	}
	if line[0] == ' ' || !dashes[line[0]] {
		return false
	}
	words := strings.TrimSpace(trimSet(line, &dashes))
	if len(words) < 5 || len(line)-len(words) < 4 {
		return false
	}
	return originalWords[strings.ToLower(words)] || headerFields(lines, i+1, 2)
}

// headerBlock says whether a block "From: .. Sent: .. To: .." starts at line i, as Outlook puts it before the message
// that is replied to. Others start it with the date or the subject.
func headerBlock(lines textLines, i int, line string) bool {
	switch quotedField(line) {
	case quotedFrom, quotedOpening:
		return headerFields(lines, i+1, 2)
	case quotedOther:
		return namesSender(lines, i) && headerFields(lines, i+1, 3)
	}
	return false
}

// namesSender says whether one of the next lines names the sender of a message, and one of them a date.
func namesSender(lines textLines, i int) bool {
	const window = 4
	var date, from bool
	for end := min(lines.count(), i+window); i < end; i++ {
		line := lines.trimmed(i)
		date = date || hasDate(line)
		from = from || quotedField(line) == quotedFrom
	}
	return date && from
}

// headerFields says whether there are that many fields of a message in the next lines.
func headerFields(lines textLines, i, enough int) bool {
	const window = 7
	for end := min(lines.count(), i+window); i < end && enough > 0; i++ {
		if field := quotedField(lines.trimmed(i)); field == quotedFrom || field == quotedOther {
			enough--
		}
	}
	return enough == 0
}

// quotedField says which field of a quoted message a line is.
func quotedField(line string) quotedKind {
	const longestName = 40
	head := line[:min(len(line), longestName)]
	end := strings.IndexByte(head, ':')
	if end < 0 && strings.IndexByte(head, 0xef) >= 0 {
		end = strings.Index(head, "：")
	}
	if end <= 0 {
		return quotedNone
	}
	var low [longestName]byte
	for i := range end {
		c := head[i]
		if c >= utf8.RuneSelf || c == '*' {
			return quotedNames[strings.ToLower(strings.Trim(head[:end], " *\u00a0\u202f\u200e\u200f\u202a\u202b\u202c"))]
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	return quotedNames[string(trimRight(low[:end]))]
}

// sentFrom says whether a line is what a phone puts below a message.
func sentFrom(line string) bool {
	const longest = 120
	if line == "" || len(line) > longest {
		return false
	}
	if startsWith(sentWords, line) {
		return true
	}
	return endsWith(sentEnds, line) && strings.Count(line, " ") < 12
}

// bare takes brackets and emphasis off a line.
func bare(line string) string {
	if line == "" || !brackets[line[0]] {
		return line
	}
	return trimSet(line, &brackets)
}

// byteSet says of each byte whether it is in a set.
type byteSet [256]bool

func bytesOf(s string) (set byteSet) {
	for i := range len(s) {
		set[s[i]] = true
	}
	return set
}

var dashes, brackets, rulers, ticketMarks = bytesOf("-_=* "), bytesOf("<>()[] *_-"), bytesOf(" \t\r=-_*~"), bytesOf("#-=*_~")

// trimSet takes the bytes of a set, which are ASCII, off both ends.
func trimSet(s string, set *byteSet) string {
	for s != "" && set[s[0]] {
		s = s[1:]
	}
	for s != "" && set[s[len(s)-1]] {
		s = s[:len(s)-1]
	}
	return s
}

// endsWith says whether a line ends with one of the words, which are in the case in which they are written.
func endsWith(words *wordEnds, line string) bool {
	for _, word := range words[line[len(line)-1]] {
		if strings.HasSuffix(line, word) {
			return true
		}
	}
	return false
}

// startsWith says whether a line starts with one of the words, whatever its case.
func startsWith(words *wordStarts, line string) bool {
	if len(line) < 2 {
		return false
	}
	same := words.ascii[pair(line)]
	if max(line[0], line[1]) >= utf8.RuneSelf {
		same = words.other[line[0]]
	}
	for _, word := range same {
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
func nothingFollows(lines textLines, i int) (next int, ends bool) {
	for ; i < lines.count(); i++ {
		line := lines.trimmed(i)
		if line == "" || sentFrom(bare(line)) || strings.HasPrefix(line, "http") && !strings.Contains(line, " ") {
			continue
		}
		n, _ := attribution(lines, i)
		return i, n > 0 || quotedLine(line) || line == "--" || noise(line) || separator(lines, i, line) || headerBlock(lines, i, line)
	}
	return i, true
}
