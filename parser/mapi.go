package parser

import (
	"encoding/binary"
	"strconv"
)

// propScan reads a list of MAPI properties ([MS-OXTNEF], section 2.1.3.4). Of a property with several values the first
// counts.
type propScan struct {
	data     []byte
	pos, end int
	left     int // properties
	started  bool
	broken   bool
}

// next returns the next property that has a value.
func (s *propScan) next() (property, bool) {
	if !s.started {
		s.started = true
		s.left = s.uint32()
	}
	for s.left > 0 && !s.broken {
		s.left--
		if p, ok := s.property(); ok {
			return p, true
		}
	}
	return property{}, false
}

// take moves behind n bytes, and what pads them to four.
func (s *propScan) take(n int) span {
	if n < 0 || n > s.end-s.pos {
		s.broken = true
		s.pos = s.end
		return span{s.end, s.end}
	}
	out := span{s.pos, s.pos + n}
	s.pos = min(s.end, s.pos+(n+3)&^3)
	return out
}

func (s *propScan) uint32() int {
	at := s.take(4)
	if s.broken {
		return 0
	}
	return int(binary.LittleEndian.Uint32(s.data[at.start:]))
}

// property reads one property with all its values.
func (s *propScan) property() (p property, ok bool) {
	tag := s.uint32()
	p.kind, p.id = uint16(tag&0xffff), tag>>16
	if p.id >= 0x8000 { // a name stands before the value
		s.take(16)
		if kind := s.uint32(); kind == 0 {
			s.uint32()
		} else {
			s.take(s.uint32())
		}
	}
	const several = 0x1000
	multi := p.kind&several != 0
	p.kind &^= several
	fixed, known := mapiSizes[p.kind]
	if s.broken || !known {
		s.broken = true
		return p, false
	}
	count := 1
	if multi || fixed == 0 {
		count = s.uint32()
	}
	for i := 0; i < count && !s.broken; i++ {
		size := fixed
		if fixed == 0 {
			size = s.uint32()
		}
		value := s.take(size)
		if i == 0 {
			p.value = value
			ok = true
		}
	}
	return p, ok && !s.broken
}

// mapiSizes are the sizes of values by type; 0 says that the size stands before each value.
var mapiSizes = map[uint16]int{
	0x01: 4, 0x02: 4, 0x03: 4, 0x04: 4, 0x05: 8, 0x06: 8, 0x07: 8, 0x0a: 4, 0x0b: 4, 0x14: 8, 0x40: 8, 0x48: 16,
	0x0d: 0, 0x1e: 0, 0x1f: 0, 0x102: 0,
}

func itoa(n int) string { return strconv.Itoa(n) }

// rtfDictionary is what the window of compressed RTF holds at the start ([MS-OXRTFCP], section 2.1.2.1).
const rtfDictionary = "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArial" +
	"Times New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"

// decompressRTF returns the RTF of a compressed stream ([MS-OXRTFCP]), at most so many bytes.
func decompressRTF(data []byte, most int) ([]byte, bool) {
	const header, compressed, stored, window = 16, 0x75465a4c, 0x414c454d, 4096
	if len(data) < header {
		return nil, false
	}
	size := int(binary.LittleEndian.Uint32(data[4:]))
	kind := binary.LittleEndian.Uint32(data[8:])
	data = data[header:]
	if kind == stored {
		return data[:min(size, len(data), max(most, 0))], true
	}
	if kind != compressed || size > most {
		return nil, false
	}
	var ring [window]byte
	at := copy(ring[:], rtfDictionary)
	out := make([]byte, 0, min(size, 9*len(data)))
	for pos := 0; pos < len(data); {
		flags := data[pos]
		pos++
		for bit := 0; bit < 8; bit++ {
			if flags>>bit&1 == 0 {
				if pos >= len(data) || len(out) >= size {
					return out, len(out) == size
				}
				ring[at%window] = data[pos]
				out = append(out, data[pos])
				at++
				pos++
				continue
			}
			if pos+1 >= len(data) {
				return out, len(out) == size
			}
			reference := int(data[pos])<<8 | int(data[pos+1])
			pos += 2
			from, n := reference>>4, reference&15+2
			if from == at%window {
				return out, true
			}
			for i := 0; i < n && len(out) < size; i++ {
				c := ring[(from+i)%window]
				ring[at%window] = c
				out = append(out, c)
				at++
			}
		}
	}
	return out, len(out) == size
}
