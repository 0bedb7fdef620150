package journal

import (
	"time"

	"postern/spool"
	"postern/spool/disk"
)

// Options say how to open a spool. Only Dir is needed.
type Options struct {
	// Dir is the folder, empty or a spool. Where it is missing it is made, mode
	// 0700, if the folder above it is there.
	Dir string
	// Create makes missing folders above it, too.
	Create bool
	// MaxSize is how many bytes the spool may occupy before it takes no more
	// messages; 0: no limit. What becomes of messages is still recorded.
	MaxSize int64
	// MinFree is how many bytes have to stay free on the disk; 0: none.
	MinFree int64
	// MaxMessages is how many messages are held before no more are taken;
	// 0: no limit. Each takes some 100 bytes of memory and more on the disk,
	// however small it is.
	MaxMessages int
	// MaxKeys is how many keys of messages are remembered; 0: a million. Each
	// takes 60 to 120 bytes of memory, and all of them at most a sixteenth of MaxSize.
	MaxKeys int
	// SegmentSize is the size in bytes at which a new segment is begun;
	// 0: 64 MiB. At most 1 GiB.
	SegmentSize int64
	// BigBody is the size in bytes from which on a body gets a file of its
	// own; 0: 256 KiB. No more than this of one message is kept in memory.
	BigBody int64
	// ZeroAhead is how many bytes are zero-filled beyond the end of the
	// journal when it grows; 0: 1 MiB; negative: none.
	ZeroAhead int64
	// Slack is how many bytes of settled messages may lie in the journal,
	// beyond twice the live ones, before live messages are copied forward to
	// free segments; 0: 256 MiB.
	Slack int64
	// Reserve is how many bytes are kept occupied, to be used for what becomes
	// of messages once the disk is full to the last byte; 0: 16 MiB, or a part
	// of a small MaxSize; negative: none.
	Reserve int64
	// FS is the disk; nil: the real one.
	FS disk.FS
	// Events hears what happens; nil: nobody does.
	Events func(Event)
}

func (o Options) withDefaults() Options {
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	if o.MaxKeys == 0 {
		o.MaxKeys = mostKeys
	}
	def(&o.SegmentSize, 64<<20)
	def(&o.BigBody, 256<<10)
	def(&o.ZeroAhead, 1<<20)
	def(&o.Slack, 256<<20)
	o.SegmentSize = min(max(o.SegmentSize, segmentStart+1), 1<<30)
	def(&o.Reserve, 16<<20)
	if o.MaxSize > 0 {
		o.Reserve = min(o.Reserve, o.MaxSize/16)
		// A small spool frees its space in small steps.
		o.SegmentSize = min(o.SegmentSize, max(o.MaxSize/8, 64<<10))
		o.Slack = min(o.Slack, o.MaxSize/4)
		o.MaxKeys = min(o.MaxKeys, int(o.MaxSize/16/keySize))
	}
	if o.FS == nil {
		o.FS = disk.At(o.Dir)
	}
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	return o
}

// Event is what a Store tells of: a pointer to one of the types below, or a
// *Recovery. It is valid until the function that it is given to returns; that
// function may be called by several goroutines at once, with locks held, so it
// must be quick and must not call the store.
type Event interface{ event() }

// Committed: one sync made so many messages durable.
type Committed struct {
	Messages int
	Bytes    int64         // what they occupy
	Took     time.Duration // for writing and syncing
}

// SegmentBegun: the journal goes on in this segment.
type SegmentBegun struct{ Segment uint32 }

// SegmentReclaimed: the oldest segment was removed, after so many live messages
// were copied forward.
type SegmentReclaimed struct {
	Segment uint32
	Copied  int
	Bytes   int64 // of messages
	Keys    int   // that were carried over, too
}

// RecordSetAside: something damaged was put under bad/ with this name.
type RecordSetAside struct {
	Name   string
	ID     spool.ID // 0 where it isn't known
	Reason string
}

// TornTailCut: a crash left so many bytes of unfinished writing.
type TornTailCut struct {
	Segment       uint32
	Offset, Bytes int64
}

// WriteFailed: writing or syncing failed; nothing more is trusted to the segment
// where it was a sync.
type WriteFailed struct {
	Segment   uint32
	Operation string
	Err       error
}

// ReadFailed: the disk failed to read a message, which waits and is read again,
// or a segment that is to be copied forward, and stays (ID is 0); told once a
// minute at most.
type ReadFailed struct {
	ID  spool.ID
	Err error
}

// Full and HasRoom: no more, and again, messages are taken.
type Full struct{ Usage spool.Usage }

// HasRoom ends what Full began.
type HasRoom struct{ Usage spool.Usage }

// BodiesSwept: bodies that belong to no message were removed at start.
type BodiesSwept struct {
	Count int
	Bytes int64
}

func (*Recovery) event()         {}
func (*Committed) event()        {}
func (*SegmentBegun) event()     {}
func (*SegmentReclaimed) event() {}
func (*RecordSetAside) event()   {}
func (*TornTailCut) event()      {}
func (*WriteFailed) event()      {}
func (*ReadFailed) event()       {}
func (*Full) event()             {}
func (*HasRoom) event()          {}
func (*BodiesSwept) event()      {}

// Recovery is what was found when the spool was opened.
type Recovery struct {
	Messages  int   // still owed
	Shares    int   // still owed
	Records   int   // read, or taken from the index of a segment
	Segments  int   // that hold something
	Scanned   int   // of them, segments that had to be read for want of an index
	TornBytes int64 // of unfinished writing that was cut
	SetAside  int   // damaged records put under bad/ at this start
	Repaired  int   // headers of which one of two copies was damaged
	Keys      int   // of messages, that are remembered
	InDoubt   int   // shares whose final dot was sent and whose answer isn't known
	Swept     int   // bodies that belonged to no message
	Took      time.Duration
}
