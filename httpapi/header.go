package httpapi

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// idempotencyKey returns the request's key and repeats it in the answer, where
// one that was made up is learnt from.
func (c *call) idempotencyKey() (string, error) {
	key, err := parseKey(c.r.Header.Get("Idempotency-Key"))
	if err != nil {
		return "", err
	}
	if key == "" {
		key = ulid.Make().String()
	}
	c.w.Header()["Idempotency-Key"] = []string{key}
	return key, nil
}

// parseKey reads an Idempotency-Key header: bare, or quoted with \" and \\ as
// in a string of RFC 8941; empty if it is absent.
func parseKey(header string) (string, error) {
	key := header
	if strings.HasPrefix(header, `"`) {
		var ok bool
		if key, ok = unquote(header); !ok || key == "" {
			return "", invalid("Idempotency-Key", `write it bare, or quoted: "KEY"`)
		}
	}
	if header == "" {
		return "", nil
	}
	return key, checkKey("Idempotency-Key", key)
}

func checkKey(path, key string) error {
	if key == "" || len(key) > partition.MaxKey || !printable(key) {
		return invalid(path, "must have 1 to "+strconv.Itoa(partition.MaxKey)+" printable ASCII characters")
	}
	return nil
}

// unquote reads a quoted string that ends with the input.
func unquote(s string) (string, bool) {
	var out strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return out.String(), i == len(s)-1
		case '\\':
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", false
			}
		}
		out.WriteByte(s[i])
	}
	return "", false
}

// eTag names one version of one life of a hunt: a hunt that is deleted and made
// again matches no tag of its past.
func eTag(info *HuntInfo) string {
	return `"v` + strconv.FormatUint(info.Version, 10) + "-" + strconv.FormatUint(uint64(info.Incarnation), 10) + `"`
}

// parseETag is the inverse of eTag.
func parseETag(tag string) (version uint64, life fsm.Incarnation, ok bool) {
	inner, ok := strings.CutPrefix(tag, `"v`)
	if !ok {
		return 0, 0, false
	}
	inner, closed := strings.CutSuffix(inner, `"`)
	v, l, ok := strings.Cut(inner, "-")
	version, err1 := strconv.ParseUint(v, 10, 64)
	n, err2 := strconv.ParseUint(l, 10, 64)
	return version, fsm.Incarnation(n), ok && closed && err1 == nil && err2 == nil
}

// notModified reports whether If-None-Match names tag. Weak tags match too: the
// comparison of RFC 9110, section 13.1.2.
func notModified(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}

// ifMatch returns the version that If-Match names. The controller compares it:
// this node's copy of the catalogue may lag behind the one the tag is from.
func (c *call) ifMatch() (version uint64, err error) {
	header := strings.TrimSpace(c.r.Header.Get("If-Match"))
	if header == "" {
		return 0, fsm.Errorf(fsm.PreconditionRequired, "send If-Match with the ETag of the version you changed; GET the hunt for it")
	}
	if header == "*" {
		return c.info.Version, nil
	}
	version, life, ok := parseETag(header)
	switch {
	case !ok:
		return 0, invalid("If-Match", "must be one ETag as GET of the hunt returns it, or *")
	case life > c.info.Incarnation:
		return 0, fsm.Errorf(fsm.Unavailable, "this node has not seen that version yet; try again")
	case life < c.info.Incarnation:
		return 0, fsm.Errorf(fsm.PreconditionFailed, "the hunt was deleted and made again since; GET it for its ETag")
	}
	return version, nil
}

// idText writes hashes as part of ids: lower case letters and digits.
var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// digest condenses parts, each behind its length, to n characters (5 bits each,
// at most 51).
func digest(n int, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(strconv.AppendInt(nil, int64(len(p)), 10))
		h.Write([]byte{':'})
		h.Write([]byte(p))
	}
	return idText.EncodeToString(h.Sum(nil))[:n]
}
