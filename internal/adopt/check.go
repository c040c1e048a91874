// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"fmt"
	"time"
)

// World is what a checklist is checked against. Each answer says whether it is known.
type World struct {
	// Holds reports whether a place of the folder still has a value in clear.
	Holds func(source, file, name string) (held bool, err error)
	// Makes reports whether a script still makes it.
	Makes func(file, name string) (makes bool, err error)
	// Tracked reports whether the newest commit has a file.
	Tracked func(file string) (tracked, known bool)
	// Folder is the path of a folder of the host file.
	Folder func(name string) (path string, known bool)
	// Version is the number of the newest version of a secret.
	Version func(secret string) (version uint64, known bool)
	// Declared is what the estate says of a secret that was found under a name: whether it has a document, and an upstream.
	Declared func(secret, place string) (declared, upstream, known bool)
	Today    time.Time
}

// State is how an item stands.
type State string

// How items stand.
const (
	Done    State = "done"
	Open    State = "open"
	Unknown State = "unknown"
)

// Checked is an item with how it stands.
type Checked struct {
	Item
	State State `json:"state"`
	// Why says what was seen.
	Why     string `json:"why"`
	Overdue bool   `json:"overdue,omitempty"`
}

// Check looks how the items stand. What cannot be looked at is not done, unless a person wrote that it is.
func (c Checklist) Check(w World) []Checked {
	var list []Checked
	for _, item := range c.Items {
		one := Checked{Item: item, State: Done}
		if item.Done != "" {
			one.Why = "somebody wrote: " + oneLine(item.Done)
		} else {
			one.State, one.Why = w.look(item)
		}
		if due, err := time.Parse(time.DateOnly, item.Due); err == nil && one.State != Done {
			one.Overdue = w.Today.After(due.AddDate(0, 0, 1))
		}
		list = append(list, one)
	}
	return list
}

func (w World) look(i Item) (State, string) {
	is := func(done, known bool, yes, no, unknown string) (State, string) {
		switch {
		case !known:
			return Unknown, unknown
		case done:
			return Done, yes
		}
		return Open, no
	}
	switch i.Do {
	case AddFolder:
		path, known := w.Folder(i.Name)
		return is(path == i.File, known, "the host file has it", "the host file has no folder "+i.Name+" at "+i.File, "there is no host file to look at")
	case Untrack:
		tracked, known := w.Tracked(i.File)
		return is(!tracked, known, "the newest commit does not have it", "the newest commit has it", "the folder is not a Git repository")
	case Remove:
		held, err := w.Holds(i.Source, i.File, i.Name)
		return is(!held, err == nil, "no value is there", "a value is still there", fmt.Sprint(err))
	case StopScript:
		makes, err := w.Makes(i.File, i.Name)
		return is(!makes, err == nil, "no script there makes it", "the script still makes it", fmt.Sprint(err))
	case Rotate:
		version, known := w.Version(i.Secret)
		return is(version > 1, known, fmt.Sprintf("version %d is current", version), "its first version is current: custody supply "+i.Secret+" --reason TEXT", "the platform cannot be asked, or does not have it yet")
	case GiveValue:
		declared, _, known := w.Declared("", Place{Source: i.Source, File: i.File, Name: i.Name}.Key())
		return is(declared, known, "the estate declares it", "nobody gave its value", "the estate cannot be read")
	case AddUpstream:
		declared, upstream, known := w.Declared(i.Secret, "")
		return is(declared && upstream, known, "its document names an upstream", "its document names no upstream", "the estate cannot be read")
	}
	return Unknown, "nothing can be looked at: write what was done under done"
}
