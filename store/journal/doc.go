// Package journal is a write-ahead log of batches in segments: files of a fixed
// size that are full of zeros, or of an older segment, before they are written
// to. A batch costs one write and one sync of data, no change of any metadata.
//
// Every sector of 512 bytes proves itself: it carries the number of its segment
// and of its batch, its place in the batch, and a checksum over these, its
// position and its content. Disks write a sector whole or not at all. So after a
// crash each sector is one of three things: written, with a right checksum;
// unwritten, which is zeros or a sector of an older segment; or wrong, which no
// crash can make. That is how a batch that was cut off by a crash, which nobody
// was told of, is told from a batch that was acknowledged and has rotted:
//
//   - the last batch lacks sectors: the crash cut it off, and it never was;
//   - a sector is wrong, or a batch that is not the last lacks one: damage. So it
//     is if the first batch lacks one, which was whole before the list of segments
//     named its segment.
//
// A segment is written once, in one life of the process: opening a journal ends
// the newest segment and the caller begins another. So no sector is ever written
// twice under one segment's number, and what a cut-off batch left behind cannot
// be taken for a part of a later one.
//
// The package knows nothing of what is in a batch. The first batch of a segment
// must say all that counts besides what is in the segments that are kept: the
// caller decides at each Roll which of the older segments those are.
package journal
