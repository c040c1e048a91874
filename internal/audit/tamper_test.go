// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
	"custody.dev/custody/internal/thorough"
)

const events = 50

// logFiles are those that are the log: its segments and its checkpoint. The others are made from them.
func logFiles(held map[string][]byte) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(held)), func(name string) bool {
		return name != "checkpoint" && !strings.HasSuffix(name, ".jsonl")
	})
}

// linesOf returns the log's lines without their newlines.
func linesOf(held map[string][]byte) [][]byte {
	var all []byte
	for _, name := range logFiles(held) {
		if strings.HasSuffix(name, ".jsonl") {
			all = append(all, held[name]...)
		}
	}
	return bytes.Split(bytes.TrimSuffix(all, []byte("\n")), []byte("\n"))
}

// rewrite makes a folder whose log is lines, in one file, beside a checkpoint.
func rewrite(t testing.TB, lines [][]byte, checkpoint []byte) string {
	t.Helper()
	dir := t.TempDir()
	var all []byte
	for _, line := range lines {
		all = append(append(all, line...), '\n')
	}
	write(t, dir, "00000001.jsonl", all)
	write(t, dir, "checkpoint", checkpoint)
	return dir
}

func sign(t testing.TB, lines [][]byte) []byte {
	t.Helper()
	signed, err := audit.SignLines(signer(t), lines)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func wantTampered(t *testing.T, cfg audit.Config, what string) {
	t.Helper()
	defer cfg.Folder.Close()
	log, err := audit.Open(cfg)
	if err == nil {
		_ = log.Close()
	}
	if !errors.Is(err, audit.ErrTampered) {
		t.Errorf("%s: opening gave %v, want ErrTampered", what, err)
	}
}

func TestVerifyUntouchedLog(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 20)
	middle := contents(t, dir)["checkpoint"]
	fill(t, dir, events)
	before := contents(t, dir)
	report := verify(t, dir, middle)
	if !report.Sound() {
		t.Errorf("findings on an untouched log: %v", report.Findings)
	}
	want := audit.Report{
		Origin: origin, Size: events, Trusted: "the log's own checkpoint", TrustedSize: events, OutsideSize: 20,
		First: audittest.Event(0).At, Last: audittest.Event(events - 1).At,
	}
	want.Findings, report.Findings = nil, nil
	if fmt.Sprint(report) != fmt.Sprint(want) {
		t.Errorf("report %+v, want %+v", report, want)
	}
	if !maps.EqualFunc(before, contents(t, dir), bytes.Equal) {
		t.Error("verifying changed the folder")
	}
	if len(before) < 5 {
		t.Errorf("%d files: the log should span several", len(before))
	}
}

func TestEveryFlippedByteIsFound(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	for number := range events {
		e := audittest.Event(number)
		if number%10 != 0 { // most hold only what they must, so that all their bytes can be tried
			e = audit.Event{Run: e.Run, Step: e.Step, Workflow: "w", Result: "ok", At: e.At}
		}
		if err := log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	held := contents(t, dir)
	stride := thorough.Of(29, 7, 1) // coprime to the length of a line, so every column is met
	for _, name := range logFiles(held) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, data := range held {
				write(t, dir, name, data)
			}
			if name != "checkpoint" && name != newestFile(held) { // of these a start reads the seals, where there are any
				remove(t, dir, strings.TrimSuffix(name, "jsonl")+"seal")
			}
			for at := 0; at < len(held[name]); at += stride {
				flip(t, dir, name, held[name], at)
			}
			write(t, dir, name, held[name])
			if !verify(t, dir).Sound() {
				t.Error("the log was not put back as it was")
			}
		})
	}
}

// flip flips one bit of the byte at a place and wants it found.
func flip(t *testing.T, dir, name string, data []byte, at int) {
	t.Helper()
	mask := byte(1) << (at % 8)
	flipped := bytes.Clone(data)
	flipped[at] ^= mask
	write(t, dir, name, flipped)
	what := fmt.Sprintf("%s, byte %d, mask %#x", name, at, mask)
	if report := verify(t, dir); report.Sound() {
		t.Errorf("%s: verify found nothing", what)
	} else {
		wantPlace(t, what, report.Findings, name, 1+bytes.Count(data[:at], []byte("\n")))
	}
	if at%11 == 0 {
		wantTampered(t, config(t, dir), what)
	}
}

// wantPlace wants a finding that names the altered line, or lines among which it is.
func wantPlace(t *testing.T, what string, findings []audit.Finding, file string, line int) {
	t.Helper()
	for _, f := range findings {
		from, to, span := strings.Cut(f.Where, " to ")
		switch {
		case f.Kind == audit.Forged && file == "checkpoint":
			return
		case f.Kind == audit.Malformed && f.Where == fmt.Sprintf("%s:%d", file, line):
			return
		case f.Kind == audit.Altered && span && from <= fmt.Sprintf("%s:%d", file, line) && to >= file:
			return
		}
	}
	t.Errorf("%s: no finding is about %s:%d: %v", what, file, line, findings)
}

func TestReorderedRepeatedAndRemovedLinesAreFound(t *testing.T) {
	dir := t.TempDir()
	checkpoint := fill(t, dir, events)
	lines := linesOf(contents(t, dir))
	if report := verify(t, rewrite(t, lines, checkpoint)); !report.Sound() {
		t.Fatalf("rewriting alone is not a change: %v", report.Findings)
	}
	for i := range lines {
		changes := map[string][][]byte{
			"repeated": slices.Insert(slices.Clone(lines), i, lines[i]),
			"removed":  slices.Delete(slices.Clone(lines), i, i+1),
			"emptied":  slices.Replace(slices.Clone(lines), i, i+1, []byte{}),
		}
		if i > 0 {
			swapped := slices.Clone(lines)
			swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
			changes["swapped"] = swapped
			changes["repeated at the end"] = append(slices.Clone(lines), lines[i])
		}
		for change, made := range changes {
			what := fmt.Sprintf("line %d %s", i+1, change)
			altered := rewrite(t, made, checkpoint)
			if verify(t, altered).Sound() {
				t.Errorf("%s: verify found nothing", what)
			}
			wantTampered(t, config(t, altered), what)
		}
	}
}

func TestCutTail(t *testing.T) {
	dir := t.TempDir()
	checkpoint := fill(t, dir, events)
	lines := linesOf(contents(t, dir))
	for keep := range events {
		what := fmt.Sprintf("cut to %d events", keep)
		// With the checkpoint left as it was, the cut shows by itself.
		plain := rewrite(t, lines[:keep], checkpoint)
		if report := verify(t, plain); report.Sound() || report.Findings[0].Kind != audit.Cut {
			t.Errorf("%s: findings %v, want a cut", what, report.Findings)
		}
		wantTampered(t, config(t, plain), what)

		// With an old checkpoint put back it does not, and only what is kept elsewhere tells.
		old := rewrite(t, lines[:keep], sign(t, lines[:keep]))
		if report := verify(t, old); !report.Sound() || report.OutsideSize != 0 {
			t.Errorf("%s, old checkpoint: this cannot be found from the folder, yet %+v", what, report)
		}
		if report := verify(t, old, checkpoint); report.Sound() || report.Findings[0].Kind != audit.Cut {
			t.Errorf("%s, old checkpoint, outside checkpoint: findings %v, want a cut", what, report.Findings)
		}
		cfg := config(t, old)
		cfg.Anchor = checkpoint
		wantCut(t, cfg, checkpoint, uint64(keep))
		cfg = config(t, old)
		log, err := audit.Open(cfg)
		if err != nil {
			t.Fatalf("%s, old checkpoint, no anchor: %v", what, err)
		}
		_ = log.Close()
	}
	// Nothing left at all.
	empty := config(t, t.TempDir())
	empty.Anchor = checkpoint
	wantCut(t, empty, checkpoint, 0)
}

// wantCut wants a log that can be read, says how many events it has of those that the anchor covers, and takes none.
func wantCut(t *testing.T, cfg audit.Config, anchor []byte, has uint64) {
	t.Helper()
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatalf("cut to %d events: %v, want it to open", has, err)
	}
	defer log.Close()
	ahead := log.Ahead()
	if len(ahead) != 1 || !ahead[0].Cut || ahead[0].Size != events || !bytes.Equal(ahead[0].Data, anchor) || log.Size() != has {
		t.Errorf("cut to %d events: %+v ahead of %d, want the anchor", has, ahead, log.Size())
	}
	if want := fmt.Sprintf("events %d to %d are missing", has+1, events); ahead[0].Missing(has) != want {
		t.Errorf("got %q, want %q", ahead[0].Missing(has), want)
	}
	if err := log.Append(t.Context(), audittest.Event(90)); !errors.Is(err, audit.ErrBehind) {
		t.Errorf("cut to %d events: appending gave %v, want ErrBehind", has, err)
	}
}

// Where the authority knows of more events, an event beyond the log's own checkpoint is no crash's: nothing vouches for it, and
// it must not become the log's by way of an accepted gap.
func TestEventPutBehindACutTail(t *testing.T) {
	dir := t.TempDir()
	checkpoint := fill(t, dir, events)
	lines := linesOf(contents(t, dir))
	forged := bytes.Replace(lines[20], []byte(`"ok"`), []byte(`"failed"`), 1)
	cfg := config(t, rewrite(t, append(slices.Clone(lines[:20]), forged), sign(t, lines[:20])))
	cfg.Anchor = checkpoint
	wantTampered(t, cfg, "an event of somebody's behind a cut tail")
}

// What a record goes on without stays to be seen for ever, and is counted as known only by who names its place.
func TestAcceptedGapIsReportedForEver(t *testing.T) {
	dir := t.TempDir()
	anchor := fill(t, dir, events)
	lines := linesOf(contents(t, dir))[:20]
	cut := rewrite(t, lines, sign(t, lines))
	cfg := config(t, cut)
	cfg.Anchor = anchor
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e := audittest.Event(events)
	e.Step, e.By, e.Reason, e.Detail = audit.StepGap, "operator", "no copy", audit.GapOf(log.Ahead(), log.Size())
	log.GiveUp(anchor)
	if err := errors.Join(log.Append(t.Context(), e), log.Close()); err != nil {
		t.Fatal(err)
	}
	cfg.GivenUp = [][]byte{anchor} // as after a crash before the authority took the new one
	again, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if ahead := again.Ahead(); len(ahead) != 0 {
		t.Errorf("given up, and still ahead: %v", ahead)
	}
	for n := events + 1; n < 2*events; n++ {
		if err := again.Append(t.Context(), audittest.Event(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	// The gap is at the event behind it, whose line is found wherever the log's files begin.
	report := verify(t, cut)
	if len(report.Findings) != 1 || report.Findings[0].Kind != audit.Gap || len(report.Gaps) != 1 {
		t.Fatalf("report %+v, want the gap", report)
	}
	said := report.Findings[0].String()
	for _, want := range []string{"operator", "no copy", "goes on after event 20: events 21 to 50 are missing, by the checkpoint of 50 events in the authority's checkpoint (root "} {
		if !strings.Contains(said, want) {
			t.Errorf("%s does not say %q", said, want)
		}
	}
	held := folder(t, cut)
	known, err := audit.Verify(t.Context(), audit.VerifyConfig{Folder: held, Verifier: signer(t).Verifier(), KnownGaps: []string{report.Gaps[0].Where}})
	if err != nil || !known.Sound() || len(known.Gaps) != 1 {
		t.Errorf("report %+v, %v, want the gap among what is known", known, err)
	}
	// The copy of before still tells.
	if report := verify(t, cut, anchor); len(report.Findings) < 2 {
		t.Errorf("findings %v, want that the old checkpoint does not fit too", report.Findings)
	}
}

// What nothing vouches for does not open, and the hint leads on: without the folder the log begins again as one that was cut.
func TestAlteredLogNamesTheWayOn(t *testing.T) {
	dir := t.TempDir()
	anchor := fill(t, dir, events)
	lines := linesOf(contents(t, dir))
	altered := rewrite(t, slices.Delete(slices.Clone(lines), 10, 11), anchor)
	cfg := config(t, altered)
	cfg.Anchor = anchor
	_, err := audit.Open(cfg)
	hinted, is := errors.AsType[interface {
		error
		Hint() string
	}](err)
	if !is || !strings.Contains(hinted.Hint(), "mv "+altered+" "+altered+".kept, then start custody") {
		t.Fatalf("%v does not say what to do", err)
	}
	if err := os.Rename(altered, altered+".kept"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(altered, 0o700); err != nil { // as a start does
		t.Fatal(err)
	}
	cfg = config(t, altered)
	cfg.Anchor = anchor
	wantCut(t, cfg, anchor, 0)
}

func TestHistorySignedAnewIsFoundFromOutside(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 20)
	outside := contents(t, dir)["checkpoint"]
	fill(t, dir, events)
	lines := linesOf(contents(t, dir))
	lines[10] = bytes.Replace(lines[10], []byte(`"ok"`), []byte(`"failed"`), 1)
	forged := rewrite(t, lines, sign(t, lines))
	if report := verify(t, forged); !report.Sound() {
		t.Errorf("with the key, another history is sound in itself: %v", report.Findings)
	}
	report := verify(t, forged, outside)
	if report.Sound() || report.Findings[0].Kind != audit.Altered || report.Findings[0].Where != "00000001.jsonl:1 to 00000001.jsonl:20" {
		t.Errorf("findings %v, want lines 1 to 20 altered", report.Findings)
	}
	if report.OutsideSize != 0 || report.TrustedSize != events {
		t.Errorf("report %+v trusts what does not fit", report)
	}
	cfg := config(t, forged)
	cfg.Anchor = outside
	wantTampered(t, cfg, "signed anew")
	// A checkpoint beyond the change is bounded from below by one before it.
	lines = linesOf(contents(t, dir))
	whole := contents(t, dir)["checkpoint"]
	lines[30] = bytes.Replace(lines[30], []byte(`"ok"`), []byte(`"failed"`), 1)
	report = verify(t, rewrite(t, lines, whole), outside)
	if want := "00000001.jsonl:21 to 00000001.jsonl:50"; report.Findings[0].Where != want {
		t.Errorf("findings %v, want %s", report.Findings, want)
	}
	if report.Trusted != "outside checkpoint 1" || report.TrustedSize != 20 {
		t.Errorf("trusted %q of %d, want the outside checkpoint of 20", report.Trusted, report.TrustedSize)
	}
}

func TestForeignCheckpointsAndMissingFiles(t *testing.T) {
	dir := t.TempDir()
	checkpoint := fill(t, dir, events)
	held := contents(t, dir)
	stranger, err := audit.NewSigner(origin, bytes.Repeat([]byte{9}, audit.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := audit.SignLines(stranger, linesOf(held))
	if err != nil {
		t.Fatal(err)
	}
	if report := verify(t, dir, foreign); report.Sound() || report.Findings[0].Kind != audit.Forged {
		t.Errorf("foreign outside checkpoint: findings %v", report.Findings)
	}
	cfg := config(t, dir)
	cfg.Anchor = foreign
	wantTampered(t, cfg, "foreign anchor")

	changes := map[string]func(dir string){
		"foreign checkpoint": func(dir string) { write(t, dir, "checkpoint", foreign) },
		"two signatures": func(dir string) {
			second := foreign[bytes.Index(foreign, []byte("\n\n"))+2:]
			write(t, dir, "checkpoint", append(bytes.Clone(checkpoint), second...))
		},
		"older checkpoint":   func(dir string) { write(t, dir, "checkpoint", sign(t, linesOf(held)[:events-2])) },
		"empty checkpoint":   func(dir string) { write(t, dir, "checkpoint", nil) },
		"no checkpoint":      func(dir string) { remove(t, dir, "checkpoint") },
		"no first file":      func(dir string) { remove(t, dir, "00000001.jsonl") },
		"no file in between": func(dir string) { remove(t, dir, "00000002.jsonl") },
		"no files":           func(dir string) { os.RemoveAll(dir); write(t, folder(t, dir).Dir(), "checkpoint", checkpoint) },
		"emptied file":       func(dir string) { write(t, dir, "00000002.jsonl", nil) },
		"long line":          func(dir string) { write(t, dir, "00000001.jsonl", bytes.Repeat([]byte("x"), 1<<20)) },
	}
	for what, change := range changes {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			for name, data := range held {
				write(t, dir, name, data)
			}
			change(dir)
			if verify(t, dir).Sound() {
				t.Error("verify found nothing")
			}
			wantTampered(t, config(t, dir), what)
		})
	}
}

func remove(t testing.TB, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// A witness signs beside the log, and its signature is no change.
func TestOutsideCheckpointMayCarryWitnesses(t *testing.T) {
	dir := t.TempDir()
	checkpoint := fill(t, dir, 3)
	witness, err := audit.NewSigner("witness.example/w", bytes.Repeat([]byte{3}, audit.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	other, err := audit.SignLines(witness, nil)
	if err != nil {
		t.Fatal(err)
	}
	both := append(bytes.Clone(checkpoint), other[bytes.Index(other, []byte("\n\n"))+2:]...)
	if report := verify(t, dir, both); !report.Sound() || report.OutsideSize != 3 {
		t.Errorf("report %+v, want a sound one that counts the outside checkpoint", report)
	}
}
