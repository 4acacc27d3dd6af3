package parser

// detect returns the charset of bytes that are no UTF-8 and of which nothing says what they are, if that can be told: the
// charsets of East Asia with two bytes a letter, the two of Russian, and that of Greek. Where one letter with an accent stands
// among others, as in the languages that Windows-1252 is for, nothing is found.
func detect(b []byte) (cs charset, ok bool) {
	const window = 4 << 10
	b = b[:min(len(b), window)]
	label := alphabetic(b)
	if label == "" {
		label = eastAsian(b)
	}
	return findCharset(label), label != ""
}

// fewestLetters is how many letters it takes to tell a charset.
const fewestLetters = 4

// alphabets are the charsets of one byte a letter that are told apart by the letters that make up two thirds of a text.
var alphabets = [...]struct{ label, frequent string }{
	{"windows-1251", "оеаинтсрвл"},
	{"koi8-r", "оеаинтсрвл"}, // the same letters, but they stand elsewhere
	{"windows-1253", "αοιετσνηυρ"},
}

// alphabetic finds the charset of a text whose words are of letters that are no ASCII.
func alphabetic(b []byte) (label string) {
	high, letters, runs := 0, 0, 0
	for i, c := range b {
		if c < 0x80 {
			continue
		}
		high++
		if c >= 0xc0 {
			letters++
		}
		if i == 0 || b[i-1] < 0x80 {
			runs++
		}
	}
	const shortWord = 3
	if letters < fewestLetters || 10*letters < 9*high || letters < shortWord*runs {
		return ""
	}
	most := letters / 2
	for _, try := range alphabets {
		count := 0
		for _, r := range decodeTable(b, findCharset(try.label)).value {
			for _, f := range try.frequent {
				if r == f || r == f-('а'-'А') { // as far apart as α and Α
					count++
				}
			}
		}
		if count > most {
			label, most = try.label, count
		}
	}
	return label
}

// pairs is how often each first byte stands in a text of letters with two bytes each.
type pairs struct {
	first  [256]int
	total  int
	others int // that are not the same as the one before, as in a ruler
	groups int // of letters that stand side by side
	single int // high bytes that are a letter by themselves
}

// in counts the letters whose first byte is in a range.
func (p *pairs) in(from, to byte) (n int) {
	for c := int(from); c <= int(to); c++ {
		n += p.first[c]
	}
	return n
}

// dense says whether letters of two bytes mostly stand side by side, as they do not where they are found by chance.
func (p *pairs) dense() bool { return p.others >= fewestLetters && 2*p.total >= 3*p.groups }

// pairing says which bytes make a letter of two bytes.
type pairing struct {
	first, second func(c byte) bool
	alone         func(c byte) bool // a high byte that is a letter by itself
}

func between(c, from, to byte) bool { return c >= from && c <= to }

func never(byte) bool { return false }

func eucByte(c byte) bool { return between(c, 0xa1, 0xfe) }

var (
	pairsEUC  = pairing{eucByte, eucByte, never}
	pairsBig5 = pairing{func(c byte) bool { return between(c, 0xa1, 0xf9) }, func(c byte) bool { return between(c, 0x40, 0x7e) || eucByte(c) }, never}
	pairsGBK  = pairing{func(c byte) bool { return between(c, 0x81, 0xfe) }, func(c byte) bool { return between(c, 0x40, 0x7e) || between(c, 0x80, 0xfe) }, never}
	pairsSJIS = pairing{
		func(c byte) bool { return between(c, 0x81, 0x9f) || between(c, 0xe0, 0xfc) },
		func(c byte) bool { return between(c, 0x40, 0x7e) || between(c, 0x80, 0xfc) },
		func(c byte) bool { return between(c, 0xa1, 0xdf) },
	}
)

// count reads a text. It says no if a byte in it is of no letter.
func (k pairing) count(b []byte) (p pairs, ok bool) {
	inside := false
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case c < 0x80:
			inside = false
			continue
		case k.alone(c):
			p.single++
			continue
		case i+1 == len(b): // cut off
			return p, p.dense()
		case !k.first(c) || !k.second(b[i+1]):
			return p, false
		}
		if !inside {
			p.groups++
		}
		if i < 2 || c != b[i-2] || b[i+1] != b[i-1] {
			p.others++
		}
		inside = true
		p.first[c]++
		p.total++
		i++
	}
	return p, p.dense()
}

// eastAsian tells the charsets with two bytes a letter apart by how they are ordered: the letters that are used most stand in
// a block of their own in each.
func eastAsian(b []byte) (label string) {
	if p, ok := pairsEUC.count(b); ok {
		kana, marks := p.in(0xa4, 0xa5), p.in(0xa1, 0xa3)
		letters := p.total - marks
		switch hangul := p.in(0xb0, 0xc8); {
		case letters < fewestLetters:
			return ""
		case 4*kana >= letters:
			return "euc-jp"
		case 10*hangul >= 9*letters:
			return "euc-kr"
		case 5*p.in(0xa4, 0xaf) >= letters: // the letters with the fewest strokes
			return "big5"
		case 10*p.in(0xb0, 0xd7) >= 7*letters:
			return "gb18030"
		}
		return ""
	}
	if p, ok := pairsSJIS.count(b); ok && 4*p.in(0x82, 0x83) >= p.total && 10*p.single <= p.total {
		return "shift_jis"
	}
	if p, ok := pairsBig5.count(b); ok && 10*p.in(0xa4, 0xc6) >= 8*(p.total-p.in(0xa1, 0xa3)) {
		return "big5"
	}
	if p, ok := pairsGBK.count(b); ok && 10*p.in(0xb0, 0xd7) >= 7*(p.total-p.in(0xa1, 0xa3)) {
		return "gb18030"
	}
	return ""
}
