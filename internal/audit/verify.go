// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"custody.dev/custody/internal/durable"
)

// VerifyConfig is what verifying needs. No key that signs is among it.
type VerifyConfig struct {
	// Folder is the log's, or a copy of it. Nothing in it is changed, and no lock is taken.
	Folder *durable.Folder
	// Verifier is the log's public key, as Signer.Verifier gives it. Take it from where the log's writer cannot write.
	Verifier string
	// Checkpoints were kept elsewhere: a file on another host, a Git tag, a witness.
	Checkpoints [][]byte
	// KnownGaps are places of gaps that whoever verifies knows of: Report.Gaps has them, Findings does not.
	KnownGaps []string
	// Progress, if any, is told now and then how many bytes of how many were read.
	Progress func(read, of int64)
}

// Report is what verifying found.
type Report struct {
	// Origin is the name of the log.
	Origin string `json:"origin"`
	// Size is the number of events in the folder.
	Size uint64 `json:"size"`
	// Trusted names the checkpoint that vouches for the most events, "" when none does; it vouches for TrustedSize.
	Trusted     string `json:"trusted"`
	TrustedSize uint64 `json:"trustedSize"`
	// OutsideSize is the number of events for which a checkpoint kept elsewhere vouches. Events beyond it rest on the
	// log's own checkpoint: whoever can write the folder could have cut off their successors.
	OutsideSize uint64 `json:"outsideSize"`
	// First and Last are the times of the first and the last event.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	// Gaps are where a person went on without events that a checkpoint covers, each at the event that says so.
	Gaps []Finding `json:"gaps,omitempty"`
	// Findings is empty when the log is what its checkpoints say.
	Findings []Finding `json:"findings"`
}

// Sound reports that nothing was found.
func (r Report) Sound() bool { return len(r.Findings) == 0 }

// Verify reads a whole log and every checkpoint, recomputes every hash, and says what it found. An error means that
// it could not look, and says nothing about the log. A log that is being written may show its newest event as
// Uncovered for a moment. Which line of several was altered can be said only when it is no longer an event: otherwise
// the finding spans the lines between one checkpoint that fits and the next that does not.
func Verify(ctx context.Context, cfg VerifyConfig) (Report, error) {
	verifier, err := note.NewVerifier(cfg.Verifier)
	if err != nil {
		return Report{}, fmt.Errorf("verifying audit log: reading the public key: %w", err)
	}
	report := Report{Origin: verifier.Name()}
	var early []Finding
	own, _, finding, err := ownOf(cfg.Folder, verifier)
	if err != nil {
		return Report{}, fmt.Errorf("verifying audit log: %w", err)
	}
	if finding != nil {
		early = append(early, *finding)
	}
	outside := make([]checkpoint, 0, len(cfg.Checkpoints))
	for i, data := range cfg.Checkpoints {
		from := fmt.Sprintf("outside checkpoint %d", i+1)
		read, err := readCheckpoint(from, data, verifier)
		if err != nil {
			early = append(early, Finding{Forged, from, err.Error()})
			continue
		}
		outside = append(outside, read)
	}
	progress, err := cfg.progress()
	if err != nil {
		return Report{}, fmt.Errorf("verifying audit log: %w", err)
	}
	x, err := examine(ctx, cfg.Folder, own, outside, progress)
	if err != nil {
		return Report{}, fmt.Errorf("verifying audit log: %w", err)
	}
	if err := x.follow(cfg.Folder, verifier); err != nil {
		return Report{}, fmt.Errorf("verifying audit log: %w", err)
	}
	report.Size, report.First, report.Last = x.tree.End(), x.first, x.last
	report.Findings, report.Gaps = append(early, x.findings...), x.gaps
	if x.newer != nil && len(report.Findings) == 0 {
		return Report{}, fmt.Errorf("verifying audit log: %w", x.newer)
	}
	for _, gap := range x.gaps {
		if !slices.Contains(cfg.KnownGaps, gap.Where) {
			report.Findings = append(report.Findings, gap)
		}
	}
	for _, o := range outside {
		if x.fits(o) {
			report.OutsideSize = max(report.OutsideSize, o.size)
		}
	}
	report.trust(x, own, outside)
	return report, nil
}

func (c VerifyConfig) progress() (func(read int64), error) {
	if c.Progress == nil {
		return nil, nil
	}
	files, _, err := segments(c.Folder)
	if err != nil {
		return nil, err
	}
	of := int64(0)
	for _, name := range files {
		info, err := c.Folder.Stat(name)
		if err != nil {
			return nil, err
		}
		of += info.Size()
	}
	return func(read int64) { c.Progress(read, of) }, nil
}

// trust names the checkpoint of the largest size that fits; one kept elsewhere before the log's own.
func (r *Report) trust(x *examination, own *checkpoint, outside []checkpoint) {
	candidates := outside
	if own != nil {
		candidates = append(candidates, x.own)
	}
	for _, c := range candidates {
		if x.fits(c) && (r.Trusted == "" || c.size > r.TrustedSize) {
			r.Trusted, r.TrustedSize = c.from, c.size
		}
	}
}

// ownOf reads the folder's checkpoint; nil and a finding when there is none to go by.
func ownOf(folder *durable.Folder, verifier note.Verifier) (*checkpoint, []byte, *Finding, error) {
	data, err := folder.Read(checkpointFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, &Finding{Missing, checkpointFile, "the log's own checkpoint is not there"}, nil
	case err != nil:
		return nil, nil, nil, err
	}
	own, err := readOwnCheckpoint(data, verifier)
	if err != nil {
		return nil, nil, &Finding{Forged, checkpointFile, err.Error()}, nil
	}
	return &own, data, nil, nil
}

// follow takes up the checkpoint again when events stand beyond it: a log that is being written has moved it on.
func (x *examination) follow(folder *durable.Folder, verifier note.Verifier) error {
	if x.own.from != "" && (x.beyond > 0 || x.torn != "") {
		again, _, _, err := ownOf(folder, verifier)
		if err != nil {
			return err
		}
		if again != nil && again.size > x.own.size && again.size <= x.tree.End() &&
			bytes.Equal(again.root, x.roots[again.size-x.own.size-1]) {
			x.beyond = int(x.tree.End() - again.size)
			x.roots = x.roots[again.size-x.own.size:]
			x.own = *again
			x.fit = append(x.fit, *again)
		}
	}
	if x.beyond > 0 {
		x.found(Uncovered, x.prior.String(), "the last %d events have no checkpoint of the log's own", x.beyond)
	}
	if x.torn != "" {
		x.found(Uncovered, x.torn, "the last line is not a whole event")
	}
	return nil
}
