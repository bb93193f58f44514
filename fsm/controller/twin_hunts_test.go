package controller

import (
	"crypto/sha256"
	"slices"

	"cairn/fsm"
)

func (w *twin) doHunt(c Command) fsm.Kind {
	switch c := c.(type) {
	case *CreateHunt:
		return w.create(c)
	case *PutHunt:
		return w.put(c)
	case *SetHuntState:
		h, ok := w.Hunts[c.Hunt]
		switch {
		case c.State == "ajar":
			return fsm.Invalid
		case !ok:
			return fsm.NotFound
		case h.State != c.State:
			h.State, h.Reason, h.Changed = c.State, c.Reason, c.Now
			h.Version++
		}
		w.answer(h)
	case *DeleteHunt:
		return w.deleteHunt(c)
	case *ForgetDeleted:
		delete(w.Deleted, c.Incarnation)
	}
	return fine
}

// answer stores a hunt and answers it.
func (w *twin) answer(h Hunt) {
	w.Hunts[h.ID] = h
	w.Hunt = &h
}

// content is the document of a hash, if it is here whole.
func (w *twin) content(hash [32]byte) (string, bool) {
	for doc, n := range w.Documents {
		if sha256.Sum256([]byte(doc)) == hash {
			return doc, n == len(doc)
		}
	}
	return "", false
}

// age brings the list of idle documents up to date: one that a hunt took is
// off, one that the last hunt let go of comes behind the others, and the oldest
// beyond the limit is dropped.
func (w *twin) age() {
	used := map[string]bool{}
	for _, h := range w.Hunts {
		doc, _ := w.content(h.Hash)
		used[doc] = true
	}
	w.Age = slices.DeleteFunc(w.Age, func(doc string) bool { return used[doc] || w.Documents[doc] == 0 })
	for doc := range w.Documents {
		if !used[doc] && !slices.Contains(w.Age, doc) {
			w.Age = append(w.Age, doc)
		}
	}
	if len(w.Age) > MaxUploads {
		delete(w.Documents, w.Age[0])
		w.Age = w.Age[1:]
	}
}

func (w *twin) create(c *CreateHunt) fsm.Kind {
	if c.State == "ajar" {
		return fsm.Invalid
	}
	if h, ok := w.Hunts[c.Hunt]; ok {
		if h.Hash != c.Hash || h.Version != 1 {
			return fsm.Conflict
		}
		w.answer(h)
		return fine
	}
	if _, whole := w.content(c.Hash); !whole {
		return fsm.Unavailable
	}
	w.answer(Hunt{
		ID: c.Hunt, Incarnation: w.Life, Version: 1, Document: 1, State: c.State, Hash: c.Hash, Created: c.Now, Changed: c.Now,
	})
	w.Life++
	w.Created = true
	w.age()
	return fine
}

func (w *twin) put(c *PutHunt) fsm.Kind {
	h, ok := w.Hunts[c.Hunt]
	if !ok {
		return fsm.NotFound
	}
	if c.IfVersion > 0 && h.Document == c.IfVersion+1 && h.Hash == c.Hash {
		w.answer(h)
		return fine
	}
	if h.Version != c.IfVersion {
		return fsm.PreconditionFailed
	}
	if _, whole := w.content(c.Hash); !whole {
		return fsm.Unavailable
	}
	h.Version++
	h.Document, h.Hash, h.Changed = h.Version, c.Hash, c.Now
	w.answer(h)
	w.age()
	return fine
}

func (w *twin) deleteHunt(c *DeleteHunt) fsm.Kind {
	h, ok := w.Hunts[c.Hunt]
	if c.Incarnation != 0 && (!ok || h.Incarnation != c.Incarnation) {
		if c.Incarnation >= w.Life {
			return fsm.NotFound
		}
		if gone, ok := w.Deleted[c.Incarnation]; ok {
			w.Hunt = &gone
		}
		return fine
	}
	if !ok {
		return fsm.NotFound
	}
	was := h
	w.Hunt = &was
	delete(w.Hunts, c.Hunt)
	for id, token := range w.Tokens {
		if token.Hunt == c.Hunt {
			delete(w.Tokens, id)
		}
	}
	h.Changed = c.Now
	w.Deleted[h.Incarnation] = h
	w.age()
	return fine
}

func (w *twin) chunk(c *PutChunk) fsm.Kind {
	doc := ""
	for i := range MaxUploads + 6 {
		if sha256.Sum256(randomDocument(i)) == c.Hash {
			doc = string(randomDocument(i))
		}
	}
	have, end := w.Documents[doc], c.Off+len(c.Data)
	switch {
	case end <= have:
		return fine
	case c.Off != have:
		return fsm.Unavailable
	case string(c.Data) != doc[c.Off:end] && end == len(doc):
		delete(w.Documents, doc)
		w.age()
		return dropped
	}
	w.Documents[doc] = end
	w.age()
	return fine
}
