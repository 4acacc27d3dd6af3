package parser

// Limits bounds what a hostile message can make of itself. A zero field means its default.
type Limits struct {
	Depth        int // nested parts and attached messages; what lies deeper stays one opaque part
	Parts        int // parts of a message, those of attached messages included; what follows stays in the last part
	HeaderFields int // fields of one header block; later ones are left out
	HeaderBytes  int // bytes of the fields of one header block; later ones are left out
	Params       int // parameters of one field; later ones are left out
	Addresses    int // addresses of one field; later ones are left out
	Messages     int // attached messages inside each other; what lies deeper stays one opaque part
	TextPart     int // bytes of one body value; a longer one is truncated and its part is an attachment too
	TextTotal    int // bytes of all body values together
	Unwraps      int // attached messages inside each other that are base64 or quoted-printable
}

// DefaultLimits returns the limits that Parse uses.
func DefaultLimits() Limits {
	return Limits{
		Depth:        256, // real mail is nested up to about 100 deep
		Parts:        5_000,
		HeaderFields: 10_000,
		HeaderBytes:  1 << 20,
		Params:       500,
		Addresses:    10_000,
		Messages:     32, // each is hashed with all that is in it
		TextPart:     4 << 20,
		TextTotal:    16 << 20,
		Unwraps:      4,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l == (Limits{}) {
		return d
	}
	for _, pair := range []struct{ value, preset *int }{
		{&l.Depth, &d.Depth},
		{&l.Parts, &d.Parts},
		{&l.HeaderFields, &d.HeaderFields},
		{&l.HeaderBytes, &d.HeaderBytes},
		{&l.Params, &d.Params},
		{&l.Addresses, &d.Addresses},
		{&l.Messages, &d.Messages},
		{&l.TextPart, &d.TextPart},
		{&l.TextTotal, &d.TextTotal},
		{&l.Unwraps, &d.Unwraps},
	} {
		if *pair.value <= 0 {
			*pair.value = *pair.preset
		}
	}
	return l
}
