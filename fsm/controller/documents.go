package controller

import (
	"crypto/sha256"
	"time"

	"cairn/fsm"
)

// document is a hunt's document, or as much of it as has been uploaded. It is
// immutable but for the spare capacity of data: the next chunk is appended in
// place, behind the length that every older State has of it.
type document struct {
	total int
	data  []byte // the first len(data) bytes of total
	refs  int    // hunts of the catalogue that refer to it
	idle  uint64 // the State version since which none does; 0 while one does
}

func (d *document) complete() bool { return len(d.data) == d.total }

// uploadAgain is when a client whose upload was pushed out may try again.
const uploadAgain = time.Second

func errUploadAgain(msg string) *fsm.Error {
	return &fsm.Error{Kind: fsm.Unavailable, Msg: msg, After: uploadAgain}
}

func (t *tx) putChunk(c *PutChunk) Result {
	switch {
	case c.Total < 1 || len(c.Data) == 0 || c.Off < 0:
		return reject(fsm.Invalid, "a chunk must lie inside its document and not be empty")
	case c.Total > MaxDocument:
		return reject(fsm.TooLarge, "the document has %d bytes deflated, the most is %d", c.Total, MaxDocument)
	case len(c.Data) > MaxChunk:
		return reject(fsm.TooLarge, "the chunk has %d bytes, the most is %d", len(c.Data), MaxChunk)
	case c.Off > c.Total-len(c.Data):
		return reject(fsm.Invalid, "the chunk reaches beyond its document's %d bytes", c.Total)
	}
	key := string(c.Hash[:])
	old := t.documents.get(key)
	var d document
	switch {
	case old == nil && c.Off > 0:
		return rejected(errUploadAgain("the upload was pushed out by newer ones: upload the document again"))
	case old == nil:
		d = document{total: c.Total, data: make([]byte, 0, c.Total), idle: t.version}
	case old.total != c.Total:
		return reject(fsm.Invalid, "the document was announced with %d bytes, not %d", old.total, c.Total)
	case c.Off+len(c.Data) <= len(old.data):
		return Result{}
	case c.Off != len(old.data):
		return rejected(errUploadAgain("the chunk does not follow the last one: upload the document again"))
	default:
		d = *old
	}
	d.data = append(d.data, c.Data...)
	if d.complete() && sha256.Sum256(d.data) != c.Hash {
		t.documents = t.documents.without(key)
		res := reject(fsm.Invalid, "the document does not have the hash it was announced with: upload it again")
		res.Changed = old != nil
		return res
	}
	t.documents = t.documents.with(key, &d)
	t.dropUploads()
	return Result{Changed: true}
}

// dropUploads drops the oldest of the documents that no hunt refers to, beyond
// MaxUploads. No two are of one age: a command idles at most one document.
func (t *tx) dropUploads() {
	idle, oldest, since := 0, "", uint64(0)
	for key, d := range t.documents.all() {
		if d.refs > 0 {
			continue
		}
		idle++
		if since == 0 || d.idle < since {
			oldest, since = key, d.idle
		}
	}
	if idle > MaxUploads {
		t.documents = t.documents.without(oldest)
	}
}

// refer counts one more hunt for a document, which must be here whole.
func (t *tx) refer(hash [32]byte) *fsm.Error {
	old := t.documents.get(string(hash[:]))
	if old == nil || !old.complete() {
		return errUploadAgain("the hunt's document is not here whole: upload it again")
	}
	d := *old
	if d.refs == 0 {
		t.held += d.total
	}
	if t.held > MaxDocuments {
		return fsm.Errorf(fsm.TooLarge, "the hunts' documents would have %d bytes deflated, the most is %d: delete a hunt first",
			t.held, MaxDocuments)
	}
	d.refs++
	d.idle = 0
	t.documents = t.documents.with(string(hash[:]), &d)
	return nil
}

// release undoes one refer.
func (t *tx) release(hash [32]byte) {
	d := *t.documents.get(string(hash[:]))
	d.refs--
	if d.refs == 0 {
		t.held -= d.total
		d.idle = t.version
	}
	t.documents = t.documents.with(string(hash[:]), &d)
	t.dropUploads()
}
