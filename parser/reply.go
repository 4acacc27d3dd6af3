package parser

import "strings"

// replyText returns what the author wrote: the text without the quoted message and the signature. It is a heuristic; when
// nothing would be left, it returns the whole text.
func replyText(s string) string {
	lines := strings.Split(s, "\n")
	kept := make([]string, 0, len(lines))
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		if endsReply(lines, i) {
			break
		}
		if n := introducesQuote(lines, i); n > 0 {
			i += n - 1
			continue
		}
		if strings.HasPrefix(line, ">") {
			continue
		}
		kept = append(kept, strings.TrimRight(lines[i], " \t\r"))
	}
	if out := strings.TrimSpace(strings.Join(kept, "\n")); out != "" {
		return out
	}
	return strings.TrimSpace(s)
}

// longestLine is the longest line that is looked at as a header or an introduction.
const longestLine = 300

// endsReply says whether the rest from line i on is a signature or a message that was forwarded or replied to.
func endsReply(lines []string, i int) bool {
	line := strings.TrimSpace(lines[i])
	if line == "" || len(line) > longestLine {
		return false
	}
	if line == "--" || line == "—" || line == "__" {
		return true
	}
	low := strings.ToLower(cutText(line, 40))
	for _, start := range []string{"sent from my ", "get outlook for ", "sent from yahoo mail", "von meinem iphone gesendet", "envoyé de mon ", "enviado desde mi ", "inviato da "} {
		if strings.HasPrefix(low, start) {
			return true
		}
	}
	if dashes := strings.Trim(line, "-_ "); strings.HasPrefix(line, "--") && len(dashes) > 5 {
		switch strings.ToLower(strings.TrimSpace(dashes)) {
		case "original message", "ursprüngliche nachricht", "originalnachricht", "message d'origine", "mensaje original", "messaggio originale",
			"mensagem original", "oorspronkelijk bericht", "forwarded message", "weitergeleitete nachricht", "original appointment",
			"reply message", "ursprungligt meddelande", "исходное сообщение", "原始邮件":
			return true
		}
	}
	return headerBlock(lines, i)
}

// headerBlock says whether a block "From: .. Sent: .. To: .." starts at line i, as Outlook puts it before the message
// that is replied to; a line of underscores may stand before it.
func headerBlock(lines []string, i int) bool {
	line := strings.TrimSpace(lines[i])
	if len(line) >= 10 && i+1 < len(lines) && line[0] == '_' && strings.Trim(line, "_") == "" {
		i++
		line = strings.TrimSpace(lines[i])
	}
	if !fromNames[quotedField(line)] {
		return false
	}
	found := 0
	for _, next := range lines[i+1 : min(len(lines), i+6)] {
		if otherNames[quotedField(strings.TrimSpace(next))] {
			found++
		}
	}
	return found >= 2
}

// quotedField returns the name, in lower case, of a field at the start of a line, or "".
func quotedField(line string) string {
	const longestName = 40
	head := line[:min(len(line), longestName)]
	end := strings.IndexByte(head, ':')
	if wide := strings.Index(head, "："); wide >= 0 && (end < 0 || wide < end) {
		end = wide
	}
	if end <= 0 {
		return ""
	}
	return strings.ToLower(strings.Trim(head[:end], " *"))
}

// fromNames and otherNames are the names of fields in the languages of Outlook.
var (
	fromNames = set("from", "von", "de", "da", "van", "från", "od", "fra", "от", "发件人", "差出人")

	otherNames = set("sent", "date", "to", "subject", "cc", "gesendet", "datum", "an", "betreff", "envoyé", "à", "objet", "enviado", "para",
		"asunto", "fecha", "inviato", "a", "oggetto", "data", "verzonden", "aan", "onderwerp", "skickat", "till", "ämne", "assunto",
		"sendt", "emne", "til", "发送时间", "收件人", "主题", "送信日時", "宛先", "件名")
)

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}

// introducesQuote returns how many lines from i on are an introduction such as "On Monday, Ann wrote:", or 0. Behind it
// must stand a quote, or nothing that the author wrote could be told from it.
func introducesQuote(lines []string, i int) int {
	joined := ""
	for n := 0; n < 3 && i+n < len(lines); n++ {
		line := strings.TrimSpace(lines[i+n])
		if line == "" || len(line) > longestLine || strings.HasPrefix(line, ">") {
			return 0
		}
		joined = strings.TrimSpace(joined + " " + line)
		if n == 0 && !opensIntroduction(joined) {
			return 0
		}
		if closesIntroduction(joined) && quoteFollows(lines, i+n+1) {
			return n + 1
		}
	}
	return 0
}

func opensIntroduction(line string) bool {
	low := strings.ToLower(cutText(line, 12))
	for _, start := range []string{"on ", "am ", "le ", "el ", "il ", "em ", "op ", "den ", "dnia ", "w dniu ", "pe ", "vào ", "в ", "在 ", "at "} {
		if strings.HasPrefix(low, start) {
			return true
		}
	}
	return closesIntroduction(line) || len(low) > 4 && low[0] >= '0' && low[0] <= '9'
}

func closesIntroduction(line string) bool {
	end := strings.TrimRight(line, " :：>")
	if len(end) == len(strings.TrimRight(line, " ")) {
		return false // no colon
	}
	low := strings.ToLower(end)
	for _, end := range []string{
		"wrote", "writes", "schrieb", "a écrit", "escribió", "escribio", "ha scritto", "escreveu", "schreef", "skrev", "napisał", "napisał(a)", "写道",
		"написал", "пишет", "said", "kirjoitti", "yazdı", "のメッセージ", "より", "geschreven",
	} {
		if strings.HasSuffix(low, end) {
			return true
		}
	}
	for _, middle := range []string{" schrieb ", " schreef ", " skrev "} { // languages that put the name behind it
		if strings.Contains(low, middle) {
			return true
		}
	}
	return false
}

// quoteFollows says whether the next line that is not empty is quoted, or there is none.
func quoteFollows(lines []string, i int) bool {
	for skipped := 0; i < len(lines) && skipped < 5; i, skipped = i+1, skipped+1 {
		if line := strings.TrimSpace(lines[i]); line != "" {
			return strings.HasPrefix(line, ">")
		}
	}
	return i >= len(lines)
}
