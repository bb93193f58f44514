package httpapi

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"net/url"
	"strconv"

	"cairn/fsm"
	"cairn/fsm/partition"
	"cairn/fsm/wire"
)

// page is what a list is asked for.
type page struct {
	size  int
	token string
}

// pageOf reads page_size and page_token.
func pageOf(q url.Values) (page, error) {
	p := page{size: DefaultPage, token: q.Get("page_token")}
	if s := q.Get("page_size"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > MaxPage {
			return page{}, invalid("page_size", "must be a number from 1 to "+strconv.Itoa(MaxPage))
		}
		p.size = n
	}
	return p, nil
}

// listing is what a page token is bound to: continuing another list with it is a
// mistake, and shows as one.
type listing struct {
	route  string
	hunt   HuntRef
	filter string // parameters that choose rows, and whose rows they are
}

// A page token is base64url of
//
//	u8     version (1)
//	raw    position, laid out by the list
//	u32    CRC-32 (IEEE) of the list and of all before it
//
// The checksum finds mistakes, not forgeries: a position gives no access.
const cursorVersion = 1

// maxCursor bounds a token, in characters.
const maxCursor = 512

func (l listing) sum(b []byte) uint32 {
	var w wire.Writer
	w.String(l.route)
	w.String(string(l.hunt.ID))
	w.U64(uint64(l.hunt.Incarnation))
	w.String(l.filter)
	return crc32.Update(crc32.ChecksumIEEE(w.B), crc32.IEEETable, b)
}

// token seals a position.
func (l listing) token(position []byte) string {
	b := append([]byte{cursorVersion}, position...)
	return base64.RawURLEncoding.EncodeToString(binary.LittleEndian.AppendUint32(b, l.sum(b)))
}

// position opens a token of this list; nil for the empty token, which is the
// top.
func (l listing) position(token string) (*wire.Reader, error) {
	if token == "" {
		return nil, nil
	}
	if len(token) > maxCursor {
		return nil, errCursor
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 5 || b[0] != cursorVersion {
		return nil, errCursor
	}
	body, sum := b[:len(b)-4], b[len(b)-4:]
	if l.sum(body) != binary.LittleEndian.Uint32(sum) {
		return nil, errCursor
	}
	return wire.NewReader(body[1:]), nil
}

var errCursor = invalid("page_token", "is not a token of this list; start again without it")

// idToken and idPosition are for lists ordered by id.
func (l listing) idToken(id string) string { return l.token([]byte(id)) }

func (l listing) idPosition(token string) (string, error) {
	r, err := l.position(token)
	if err != nil || r == nil {
		return "", err
	}
	return string(r.B), nil
}

// numberToken and numberPosition are for lists ordered by number, downwards.
func (l listing) numberToken(n uint32) string {
	var w wire.Writer
	w.U32(n)
	return l.token(w.B)
}

func (l listing) numberPosition(token string) (uint32, error) {
	r, err := l.position(token)
	if err != nil || r == nil {
		return 0, err
	}
	n := r.U32()
	if r.Done() != nil || n == 0 {
		return 0, errCursor
	}
	return n, nil
}

// placeToken and placePosition are for boards.
func (l listing) placeToken(p partition.Place) string {
	var w wire.Writer
	for _, k := range p.Key {
		w.Varint(k)
	}
	w.String(string(p.Team))
	return l.token(w.B)
}

func (l listing) placePosition(token string) (*partition.Place, error) {
	r, err := l.position(token)
	if err != nil || r == nil {
		return nil, err
	}
	var p partition.Place
	for i := range p.Key {
		p.Key[i] = r.Varint()
	}
	p.Team = fsm.TeamID(r.String(fsm.MaxID))
	if r.Done() != nil || !fsm.ValidID(string(p.Team)) {
		return nil, errCursor
	}
	return &p, nil
}

// after cuts rows, sorted by id, to the page behind an id.
func after[T any](rows []T, id func(*T) string, from string, size int) (cut []T, more bool) {
	start := 0
	for start < len(rows) && from != "" && id(&rows[start]) <= from {
		start++
	}
	rows = rows[start:]
	if len(rows) > size {
		return rows[:size], true
	}
	return rows, false
}
