// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/platform"
	"custody.dev/custody/internal/server"
)

// leftoverLimit bounds the look through one folder, and a removal from it.
const leftoverLimit = 20 * time.Second

// leftovers are the files in the host's folders that hold a value of this authority and that nobody is to read any more:
// those of a consumer whose path was changed, which is no longer declared, or whose grant was revoked.
type leftovers struct{ *parts }

var _ platform.Leftovers = leftovers{}

// readers are who reads the host's files, by the file.
type readers map[string]reader

// reader is one consumer's claim on a file. It is barred while what it takes is not granted: it may not have the value.
type reader struct {
	who, barred string
	// mode, when set, and owner are what is not granted: the file may be read as it was delivered with others.
	mode  fs.FileMode
	owner [2]int
}

func (l leftovers) readers(estate *intent.Estate) readers {
	all := readers{}
	wanting := l.grants.wanting(estate)
	for _, name := range estate.SecretNames() {
		declared := estate.Secrets[name]
		barred := ""
		if need, held := wanting.secrets[name]; held && need.Kind == grant.Reader && declared.Spec.Origin.Derived != nil && wanting.places.Used(declared, estate.Secrets[need.Of]) {
			barred = need.Waiting().Text()
		}
		for _, consumer := range declared.Consumers {
			to := consumer.File
			if to == nil || consumer.Machine != "" || l.host.Folders[to.Folder] == "" {
				continue
			}
			one := reader{who: fmt.Sprintf("consumer %s of %s", consumer.Name, name), barred: barred}
			if held := wanting.consumers[name][consumer.Name]; held != "" && barred == "" {
				one.barred = held
				if mode, err := strconv.ParseUint(cmp.Or(to.Mode, "0600"), 8, 32); err == nil {
					one.mode, one.owner = fs.FileMode(mode), ownerOrNobody(to)
				}
			}
			at := filepath.Join(l.host.Folders[to.Folder], to.Path)
			if known, is := all[at]; !is || known.barred != "" {
				all[at] = one
			}
		}
	}
	return all
}

// ownerOrNobody is the user and the group that a consumer names; one that this machine does not have owns no file.
func ownerOrNobody(to *v1alpha1.FileConsumer) [2]int {
	uid, gid, err := file.LookupOwner(to.User, to.Group)
	if err != nil {
		return [2]int{-2, -2}
	}
	return [2]int{uid, gid}
}

// noConsumer is why a file is left.
const noConsumer = "no consumer of the estate is for that file any more"

// left says why nobody is to read a file, "" when somebody is.
func (r readers) left(one file.Leftover) string {
	declared, is := r[one.File]
	switch {
	case !is:
		return noConsumer
	case declared.barred == "" || declared.mode != 0 && (declared.mode != one.Mode || declared.owner != one.Owner):
		return ""
	}
	return declared.who + " may not have it: " + declared.barred
}

// history is what the authority knows of the versions that files were given.
type history struct {
	entries      map[authority.Path]*journal.Entry
	incarnations map[authority.Incarnation]bool
}

func (l leftovers) history(ctx context.Context) (history, error) {
	known := history{map[authority.Path]*journal.Entry{}, map[authority.Incarnation]bool{l.store.Incarnation(): true}}
	entries, err := journal.New(l.values).All(ctx)
	if err != nil {
		return known, err
	}
	for _, entry := range entries {
		known.entries[entry.Path] = entry
		if entry.Current != nil {
			known.incarnations[entry.Current.Incarnation] = true
		}
	}
	return known, nil
}

// told is a leftover as people are told of it, and false when it is not of this authority.
func (h history) told(one file.Leftover, why string) (server.Leftover, bool) {
	left := server.Leftover{
		File: one.File, Stamp: one.Stamp, Secret: string(one.Secret), Path: one.Secret, Version: one.Version, Why: why,
	}
	if entry := h.entries[one.Secret]; entry != nil {
		left.Secret = cmp.Or(entry.Secret, left.Secret)
		left.OfRecord = entry.Current != nil && *entry.Current == one.Version
	}
	return left, h.incarnations[one.Version.Incarnation]
}

// Find implements platform.Leftovers.
func (l leftovers) Find(ctx context.Context, estate *intent.Estate) (found []server.Leftover, unseen []string, err error) {
	known, err := l.history(ctx)
	if err != nil {
		return nil, nil, err
	}
	readers := l.readers(estate)
	by := map[string]server.Leftover{} // a folder may lie in another
	for _, name := range slices.Sorted(maps.Keys(l.host.Folders)) {
		stamped, err := outward.Do(ctx, l.calls, outward.Call{Part: leftIn(name), Limit: leftoverLimit}, func(context.Context) ([]file.Leftover, error) {
			return file.Leftovers(l.host.Folders[name], func(path string) bool { return readers[path].wants() })
		})
		if err != nil {
			unseen = append(unseen, fmt.Sprintf("folder %s: whether files are left in it that no consumer is for cannot be seen: %s", name, err))
			continue
		}
		for _, one := range stamped {
			why := readers.left(one)
			if left, ours := known.told(one, why); ours && why != "" {
				left.Barred = readers[one.File].who != ""
				by[one.File] = left
			}
		}
	}
	elsewhere, blind := l.agents.leftovers(ctx, onMachines(estate))
	unseen = append(unseen, blind...)
	for at, one := range elsewhere {
		if left, ours := known.told(file.Leftover{File: at, Secret: one.Secret, Version: one.Version}, noConsumer); ours {
			by[at] = left
		}
	}
	for _, at := range slices.Sorted(maps.Keys(by)) {
		found = append(found, by[at])
	}
	return found, unseen, nil
}

// onMachines are the files of consumers on other machines, as FOLDER/PATH, by machine.
func onMachines(estate *intent.Estate) map[string][]string {
	on := map[string][]string{}
	for _, declared := range estate.Secrets {
		for _, consumer := range declared.Consumers {
			if consumer.Machine != "" && consumer.File != nil {
				on[consumer.Machine] = append(on[consumer.Machine], consumer.File.Folder+"/"+consumer.File.Path)
			}
		}
	}
	return on
}

// elsewhere is Withdraw for a file on another machine.
func (l leftovers) elsewhere(ctx context.Context, estate *intent.Estate, name, machine, at string, dry bool) (server.Leftover, error) {
	known, err := l.history(ctx)
	if err != nil {
		return server.Leftover{}, err
	}
	there, unseen := l.agents.leftovers(ctx, onMachines(estate))
	one, is := there[name]
	if !is {
		return server.Leftover{}, &server.Problem{
			Class: server.NotFound, Text: strings.Join(append([]string{name + " is not removed: the agent there reports no such file that no consumer is for"}, unseen...), "; "),
			Hint: "see whether it is connected: " + next.Agents(),
		}
	}
	left, ours := known.told(file.Leftover{File: name, Secret: one.Secret, Version: one.Version}, noConsumer)
	if !ours {
		return left, unwithdrawn(name, errors.New("it was delivered by another authority"))
	}
	if dry {
		return left, nil
	}
	v := authority.Versioned{Path: one.Secret, ID: one.Version}
	if held, err := l.given(ctx, file.Leftover{Secret: one.Secret, Version: one.Version}); err != nil {
		return left, unwithdrawn(name, err)
	} else if held != nil {
		v = *held
	}
	return left, unwithdrawn(name, l.agents.clear(ctx, machine, at, v))
}

// Barred implements platform.Leftovers. Its cost, where a consumer is held, is one listing of the journal, and for each such
// consumer a small file that is read.
func (l leftovers) Barred(ctx context.Context, estate *intent.Estate) (found []server.Leftover, err error) {
	readers := l.readers(estate)
	maps.DeleteFunc(readers, func(_ string, one reader) bool { return one.barred == "" })
	if len(readers) == 0 {
		return nil, nil
	}
	known, err := l.history(ctx)
	if err != nil {
		return nil, err
	}
	for _, at := range slices.Sorted(maps.Keys(readers)) {
		folder, path, err := l.beneath(at)
		if err != nil {
			continue
		}
		one, err := outward.Do(ctx, l.calls, outward.Call{Part: leftIn(folder), Limit: leftoverLimit}, func(context.Context) (file.Leftover, error) {
			return file.LeftoverAt(l.host.Folders[folder], path)
		})
		if err != nil {
			continue // there is none, or doctor says why it cannot be seen
		}
		why := readers.left(one)
		if left, ours := known.told(one, why); ours && why != "" {
			found = append(found, left)
		}
	}
	return found, nil
}

// wants reports that the file is delivered to, whatever it was delivered with.
func (r reader) wants() bool { return r.who != "" && r.barred == "" }

func leftIn(folder string) string { return "what is left in folder " + folder }

// Withdraw implements platform.Leftovers.
func (l leftovers) Withdraw(ctx context.Context, estate *intent.Estate, name string, dry bool) (server.Leftover, error) {
	if machine, at, is := onMachine(name); is {
		return l.elsewhere(ctx, estate, name, machine, at, dry)
	}
	folder, path, err := l.beneath(name)
	if err != nil {
		return server.Leftover{}, err
	}
	known, err := l.history(ctx)
	if err != nil {
		return server.Leftover{}, err
	}
	readers := l.readers(estate)
	return outward.Do(ctx, l.calls, outward.Call{Part: leftIn(folder), Limit: leftoverLimit}, func(ctx context.Context) (server.Leftover, error) {
		one, err := file.LeftoverAt(l.host.Folders[folder], path)
		if err != nil {
			return server.Leftover{}, unwithdrawn(name, err)
		}
		why := readers.left(one)
		left, ours := known.told(one, why)
		switch {
		case !ours:
			return left, unwithdrawn(name, errors.New("it was delivered by another authority"))
		case why == "":
			return left, &server.Problem{
				Class: server.Refused, Text: fmt.Sprintf("%s is not removed: it is delivered to %s", name, readers[one.File].who),
				Hint: "take that consumer out of the estate, or change its path, first",
			}
		}
		held, err := l.given(ctx, one)
		if err == nil && dry {
			err = one.Check(held)
		} else if err == nil {
			err = one.Withdraw(ctx, held)
		}
		return left, unwithdrawn(name, err)
	})
}

// beneath finds a file by its absolute name in the innermost of the host's folders.
func (l leftovers) beneath(name string) (folder, path string, err error) {
	for _, one := range slices.Sorted(maps.Keys(l.host.Folders)) {
		relative, err := filepath.Rel(l.host.Folders[one], name)
		if err == nil && filepath.IsLocal(relative) && (folder == "" || len(l.host.Folders[one]) > len(l.host.Folders[folder])) {
			folder, path = one, relative
		}
	}
	if folder == "" {
		return "", "", &server.Problem{
			Class: server.Refused, Text: name + " is not removed: it lies in none of the folders of the host file",
			Hint: "`custody doctor` names the files that nobody should read any more",
		}
	}
	return folder, path, nil
}

// given is the version that a file was given, nil where the authority holds it no more.
func (l leftovers) given(ctx context.Context, one file.Leftover) (*authority.Versioned, error) {
	held, err := l.values.ReadVersion(ctx, one.Secret, one.Version.Number)
	switch {
	case errors.Is(err, authority.ErrNotFound), err == nil && held.ID != one.Version:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &held, nil
}

// unwithdrawn says that a file was not removed, and what a person can do.
func unwithdrawn(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &server.Problem{Class: server.NotFound, Text: fmt.Sprintf("%s is not there", name), Hint: "`custody doctor` names the files that nobody should read any more"}
	case errors.Is(err, file.ErrHeld):
		return &server.Problem{
			Class: server.Refused, Text: fmt.Sprintf("%s is not removed: %s", name, err),
			Hint: "once nothing holds it, run it again: " + next.Withdraw(next.Word(name)),
		}
	}
	return &server.Problem{
		Class: server.Refused, Text: fmt.Sprintf("%s is not removed: %s", name, err),
		Hint: "check its contents; if nobody needs them, remove it by hand",
	}
}
