// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/lazyregexp"
)

const (
	checkpointFile = "checkpoint"
	lockFile       = "lock"
	ownCheckpoint  = "the log's own checkpoint"
)

var (
	hasher      = rfc6962.DefaultHasher
	tree        = &compact.RangeFactory{Hash: hasher.HashChildren}
	segmentName = lazyregexp.New(`^[0-9]{8}\.jsonl$`)
)

// FindingKind says what was found. Unsent is about another place; Uncovered is also what a crash, or an append that is
// under way, looks like; Gap is on record itself; Misindexed means that a file beside the log was altered; every other kind means that the log was.
type FindingKind string

const (
	// Altered: lines do not hash to what a checkpoint says.
	Altered FindingKind = "altered"
	// Malformed: a line is no event, or not as it was written.
	Malformed FindingKind = "malformed"
	// Repeated: an event stands in the log twice.
	Repeated FindingKind = "repeated"
	// Cut: the log holds fewer events than a checkpoint says.
	Cut FindingKind = "cut"
	// Gap: a person went on with a log that lacks events which a checkpoint covers, or has others in their place.
	Gap FindingKind = "gap"
	// Missing: a file is not there.
	Missing FindingKind = "missing"
	// Forged: a checkpoint is not signed by the log's key, or is not as it was written.
	Forged FindingKind = "forged"
	// Uncovered: lines beyond the last checkpoint.
	Uncovered FindingKind = "uncovered"
	// Misindexed: an index leaves out, or adds to, what its segment holds, so answers about one run or secret may lack events.
	Misindexed FindingKind = "misindexed"
	// Unsent: a sink did not take the newest checkpoint.
	Unsent FindingKind = "unsent"
	// Unread: a place for checkpoints could not be asked what it keeps.
	Unread FindingKind = "unread"
)

// Finding is something wrong with the log, for people and machines.
type Finding struct {
	Kind FindingKind `json:"kind"`
	// Where is FILE:LINE, FILE:LINE to FILE:LINE, or the name of a checkpoint.
	Where string `json:"where"`
	What  string `json:"what"`
}

// String is one line for people.
func (f Finding) String() string { return string(f.Kind) + ": " + f.Where + ": " + f.What }

// place is a line's.
type place struct {
	file   string
	number int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.number) }

type line struct {
	place
	// text is valid until the next line.
	text []byte
	// whole: it ends in a newline.
	whole bool
}

// segments lists the log's files, which are numbered from 1 without a gap; missing is the first that is not there.
func segments(folder *durable.Folder) (names []string, missing string, err error) {
	all, err := folder.Names()
	if err != nil {
		return nil, "", err
	}
	for _, name := range all {
		if !segmentName.MatchString(name) {
			continue
		}
		if want := segment(len(names) + 1); missing == "" && name != want {
			missing = want
		}
		names = append(names, name)
	}
	return names, missing, nil
}

func segment(number int) string { return fmt.Sprintf("%08d.jsonl", number) }

// lines yields every line of the files in order.
func lines(ctx context.Context, folder *durable.Folder, files []string) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		reader := bufio.NewReaderSize(nil, maxLine)
		for _, name := range files {
			if !linesOf(ctx, folder, name, reader, yield) {
				return
			}
		}
	}
}

func linesOf(ctx context.Context, folder *durable.Folder, name string, reader *bufio.Reader, yield func(line, error) bool) bool {
	if err := ctx.Err(); err != nil {
		return yield(line{}, fmt.Errorf("reading audit log: %w", err))
	}
	file, err := folder.Reader(name)
	if err != nil {
		return yield(line{}, fmt.Errorf("reading audit log: %w", err))
	}
	defer func() { _ = file.Close() }()
	reader.Reset(file)
	for number := 1; ; number++ {
		text, err := reader.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(text) == 0:
			return true
		case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull):
			return yield(line{}, fmt.Errorf("reading audit log: %w", err))
		}
		whole := err == nil
		if !yield(line{place{name, number}, bytes.TrimSuffix(text, []byte("\n")), whole}, nil) {
			return false
		}
	}
}

// examination is the log as it was read once, from the first line to the last.
type examination struct {
	tree     *compact.Range
	seen     map[key]struct{}
	findings []Finding
	files    []string
	own      checkpoint
	// first and last are the times of the first and last event, when events were decoded.
	first, last time.Time
	// beyond counts events past the log's own checkpoint; torn says what follows them, "" when nothing.
	beyond int
	torn   string
	// newer is ErrNewer for the first event of a newer schema. It counts only if nothing was found: an altered line
	// can look like one.
	newer error
	// gaps are those that a person accepted.
	gaps []Finding
	// roots holds the tree's root at each size from the log's own checkpoint on, for one that moved meanwhile.
	roots [][]byte

	known   []checkpoint // not yet compared, by size
	fit     []checkpoint // compared, and right
	unfit   []checkpoint // kept outside the folder, and of events that the log does not have
	covered place        // the last line that a checkpoint vouches for
	prior   place
	// part is the segment that is being read, unless a line of it is no event.
	part *part
	// bytes were read so far.
	bytes int64
}

func (x *examination) found(kind FindingKind, where, what string, args ...any) {
	x.findings = append(x.findings, Finding{kind, where, fmt.Sprintf(what, args...)})
}

// examine reads the whole log, looks into every line, and holds it against its own checkpoint and others. What is wrong with the
// log is a finding; an error means that it could not be read. progress, if any, is told how many bytes were read so far.
func examine(ctx context.Context, folder *durable.Folder, own *checkpoint, others []checkpoint, progress func(read int64)) (*examination, error) {
	x := &examination{tree: tree.NewEmptyRange(0), seen: map[key]struct{}{}}
	x.known = slices.Clone(others)
	if own != nil {
		x.own = *own
		x.known = append(x.known, *own)
	}
	slices.SortStableFunc(x.known, func(a, b checkpoint) int { return cmp.Compare(a.size, b.size) })
	files, missing, err := segments(folder)
	if err != nil {
		return nil, fmt.Errorf("reading audit log: %w", err)
	}
	x.files = files
	if missing != "" {
		x.found(Missing, missing, "files of the log are numbered without a gap, and this one is not there")
	}
	x.compare()
	for line, err := range lines(ctx, folder, files) {
		if err != nil {
			return nil, err
		}
		if line.file != x.prior.file {
			x.indexed(folder)
			x.part = newPart(slices.Index(files, line.file)+1, x.tree.End())
		}
		before := x.bytes
		if err := x.take(line); err != nil {
			return nil, err
		}
		if progress != nil && before/progressEvery != x.bytes/progressEvery {
			progress(x.bytes)
		}
	}
	for _, short := range x.known {
		if short.place != "" || short.anchor {
			x.unfit = append(x.unfit, short)
			continue
		}
		x.found(Cut, short.from, "it covers %d events, the log holds %d", short.size, x.tree.End())
	}
	return x, nil
}

func (x *examination) take(l line) error {
	last := l.file == x.files[len(x.files)-1]
	within := x.tree.End() < x.own.size
	x.prior = l.place
	x.bytes += int64(len(l.text)) + 1
	if x.torn != "" { // something follows what was taken for a torn last line
		x.found(Malformed, x.torn, "the line is not an event")
		x.torn = ""
	}
	id, ok := keyOf(l.text)
	if l.whole && ok {
		event, err := Decode(l.text)
		if errors.Is(err, ErrNewer) {
			x.newer = cmp.Or(x.newer, fmt.Errorf("reading audit log: %s: %w", l.place, err))
		} else {
			ok = err == nil
		}
		if err == nil {
			if event.Step == StepGap {
				what := fmt.Sprintf("accepted by %s at %s, because %q: %s", event.By, event.At.Format(time.RFC3339), event.Reason, event.Detail)
				x.gaps = append(x.gaps, Finding{Gap, l.String(), what})
			}
			x.last = event.At
			if x.tree.End() == 0 {
				x.first = event.At
			}
		}
	}
	switch {
	case (!l.whole || !ok) && !within && last:
		x.torn = l.String() // if nothing follows it, an append was cut short
		return nil
	case !l.whole || !ok:
		x.found(Malformed, l.String(), "the line is not an event")
	default:
		if _, twice := x.seen[id]; twice {
			x.found(Repeated, l.String(), "the event stands in the log before")
		}
		x.seen[id] = struct{}{}
	}
	leaf := hasher.HashLeaf(l.text)
	if err := x.tree.Append(leaf, nil); err != nil {
		return fmt.Errorf("hashing audit log: %w", err)
	}
	if x.part != nil {
		fits, err := x.part.add(l.text, leaf)
		if err != nil {
			return err
		}
		if !fits {
			x.part = nil
		}
	}
	if !within {
		x.beyond++
		root, err := rootOf(x.tree)
		if err != nil {
			return err
		}
		x.roots = append(x.roots, root)
	}
	x.compare()
	return nil
}

// compare holds the tree, at its present size, against the checkpoints of that size.
func (x *examination) compare() {
	for len(x.known) > 0 && x.known[0].size == x.tree.End() {
		known := x.known[0]
		x.known = x.known[1:]
		root, err := rootOf(x.tree)
		switch fits := err == nil && bytes.Equal(root, known.root); {
		case !fits && known.place != "":
			x.unfit = append(x.unfit, known)
		case !fits:
			from := place{segment(1), 1}
			if x.covered.file != "" {
				from = place{x.covered.file, x.covered.number + 1}
			}
			x.found(Altered, from.String()+" to "+x.prior.String(), "these lines are not what %s (%d events) covers", known.from, known.size)
		default:
			x.covered = x.prior
			x.fit = append(x.fit, known)
		}
	}
}

// fits says whether a checkpoint was compared and is right.
func (x *examination) fits(c checkpoint) bool {
	return slices.ContainsFunc(x.fit, func(f checkpoint) bool { return f.from == c.from && f.size == c.size })
}

// progressEvery is after how many bytes progress is told.
const progressEvery = 16 << 20

// indexed holds the index of the segment that was just read against what the segment holds. One that is missing or damaged is
// no finding: nobody goes by it.
func (x *examination) indexed(folder *durable.Folder) {
	if x.part == nil || len(x.findings) > 0 {
		return
	}
	s := x.part.seal()
	data, err := folder.Read(indexFile(s.number))
	if err == nil && s.fits(data) && !bytes.Equal(data, indexOf(s, x.part.entries)) {
		x.found(Misindexed, indexFile(s.number), "it does not list every event in %s, so explain, run show and audit log may lack events; remove it: Custody makes it again", segment(s.number))
	}
}

// absent says whether the folder holds no log at all.
func absent(folder *durable.Folder) (bool, error) {
	files, _, err := segments(folder)
	if err != nil {
		return false, err
	}
	_, err = folder.Stat(checkpointFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("looking for checkpoint: %w", err)
	}
	return len(files) == 0 && err != nil, nil
}
