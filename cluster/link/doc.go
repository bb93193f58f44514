// Package link is the channel between the nodes of a cluster, and the authority
// that decides who is one of them.
//
//	        Authority ── Issue ──> Credentials
//	                                    │
//	Call, Stream ──> Link ── TLS 1.3, mutual, "cairn/1" ──> Link ──> Handler, StreamHandler
//	Join ──────────────── TLS 1.3, "cairn-join/1" ────────> Link ──> JoinHandler
//
// A cluster has one [Authority], made by its founder. A node's certificate names
// the cluster and the node, and nothing else makes a node: a [Link] talks to
// whoever has a certificate of its cluster and is let in by Config.Member, and
// when it dials, only to the node it meant. A process without a certificate can
// do one thing, [Join]: one bounded request with a token, to a server that has
// proved to belong to the cluster that the token is for.
//
// [Link.Call] is request and answer over one connection per pair and direction;
// [Link.Stream] is a connection of its own for bulk. A call ends with the remote
// handler's answer or error, with [ErrUnsent] (the node never saw it) or with
// [ErrLost] (nobody knows): DESIGN.md has the truth table.
//
// # Frames
//
// After the handshake the accepting side sends one frame: ready, or error with
// the reason and closes. Only then does the dialling side speak. Its first frame
// may be stream: what follows, in both directions, is the stream's own.
// Otherwise both sides exchange the frames below, integers little endian:
//
//	offset  size  field
//	0       4     length of the rest: 18 + body, at most 4 MiB (4,194,304)
//	4       1     type
//	5       8     id of the request, chosen by the caller, not in use
//	13      1     kind       } for the handlers, not looked at here
//	14      4     group      }
//	18      4     deadline: milliseconds the caller still waits, 0: no limit
//	22      …     body
//
//	type          from       fields used                   body
//	1 request     dialling   id, kind, group, deadline     the request
//	2 response    accepting  id                            the answer
//	3 error       accepting  id (0 instead of ready)       error, below
//	4 cancel      dialling   id                            none
//	5 ping        dialling   none                          none
//	6 pong        accepting  none                          none
//	7 stream      dialling   kind, group                   none
//	8 ready       accepting  none                          none
//
// A field that a type does not use is zero. An error's body, in the encoding of
// [cairn/fsm/wire]: uvarint kind (of [cairn/fsm.Kind]), varint nanoseconds of
// After, string message of at most 4,096 bytes.
//
// The join protocol is one request frame (body at most 16 KiB, id, kind, group
// and deadline 0) and one response or error frame (at most 1 MiB).
//
// A frame that breaks these rules ends its connection. A change of them is a new
// protocol name ("cairn/2"), negotiated by TLS.
package link
