// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"custody.dev/custody/internal/adopt"
	"custody.dev/custody/internal/discover"
	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/scaffold"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// checkedList is the answer of --check.
type checkedList struct {
	Folder string          `json:"folder"`
	Left   int             `json:"left"`
	Items  []adopt.Checked `json:"items"`
}

func (a *app) adoptCheck(ctx context.Context, o adoption) error {
	data, err := os.ReadFile(o.check)
	if errors.Is(err, fs.ErrNotExist) {
		return &server.Problem{Class: server.NotFound, Text: "there is no checklist " + o.check, Hint: "`custody adopt DIR` writes one beside the estate"}
	}
	if err != nil {
		return fmt.Errorf("reading the checklist: %w", err)
	}
	list, err := adopt.ParseChecklist(data)
	if err != nil {
		return usage("reading the checklist "+o.check+": "+visible(err.Error()), "name a file that custody adopt wrote")
	}
	if info, err := os.Stat(list.Folder); err != nil || !info.IsDir() {
		return &server.Problem{Class: server.NotFound, Text: "the folder of the checklist is not here: " + visible(list.Folder), Hint: "check it where the folder is, or correct folder in the checklist"}
	}
	world, err := a.world(ctx, list, o)
	if err != nil {
		return err
	}
	result := checkedList{Folder: list.Folder, Items: list.Check(world)}
	for _, item := range result.Items {
		if item.State != adopt.Done {
			result.Left++
		}
	}
	err = a.answer(result, func(p *printer) {
		for _, item := range result.Items {
			mark := map[adopt.State]string{adopt.Done: "x", adopt.Open: " ", adopt.Unknown: "?"}[item.State]
			overdue := ""
			if item.Overdue {
				overdue = "overdue: "
			}
			p.linef("[%s] %s%s", mark, overdue, visible(itemText(item.Item)))
			p.linef("      %s", visible(item.Why))
		}
		if result.Left == 0 {
			p.linef("nothing is left: %s done", plural(len(result.Items), "item"))
		}
	})
	if err == nil && result.Left > 0 {
		return &server.Problem{Class: server.Found, Text: fmt.Sprintf("%d of %s left", result.Left, plural(len(result.Items), "item")), Hint: "do what is not marked with x; where nothing can be looked at, write done: into the checklist"}
	}
	return err
}

// world is what the items are checked against.
func (a *app) world(ctx context.Context, list adopt.Checklist, o adoption) (adopt.World, error) {
	w := adopt.World{Today: wire.Now().UTC()}
	var files []string
	for _, item := range list.Items {
		if item.File != "" && !filepath.IsAbs(item.File) && !slices.Contains(files, item.File) {
			files = append(files, item.File)
		}
	}
	seen, err := discover.Look(list.Folder, files, discover.Usual)
	if err != nil {
		return w, err
	}
	w.Tracked = func(file string) (bool, bool) { return seen.Tracked[file], seen.Repository }
	has := func(file, name, source string, role clue.Role) (bool, error) {
		if why := seen.Unread[file]; why != "" {
			return false, errors.New(why)
		}
		return slices.ContainsFunc(seen.Places[file], func(p discover.Place) bool {
			return p.Role == role && p.Name == name && (source == "" || p.Source == source)
		}), nil
	}
	w.Holds = func(source, file, name string) (bool, error) { return has(file, name, source, clue.Holds) }
	w.Makes = func(file, name string) (bool, error) { return has(file, name, "", clue.Makes) }
	w.Folder = func(string) (string, bool) { return "", false }
	if !a.noHost() {
		host, err := wire.LoadHost(a.hostFile())
		if err != nil {
			return w, err
		}
		w.Folder = func(name string) (string, bool) { return realPath(host.Folders[name]), true }
		if o.seal.Estate == "" && host.Git == nil {
			o.seal.Estate = host.Estate
		}
	}
	if o.seal.Estate == "" { // the checklist lies beside it
		if beside := filepath.Join(filepath.Dir(o.check), "estate"); isDir(beside) {
			o.seal.Estate = beside
		}
	}
	w.Declared = func(string, string) (bool, bool, bool) { return false, false, false }
	if o.seal.Estate != "" {
		existing, err := scaffold.Exists(o.seal.Estate, adopt.Annotation)
		if err != nil {
			return w, err
		}
		w.Declared = func(name, place string) (bool, bool, bool) {
			for secret, keys := range existing.Notes {
				if place != "" && slices.Contains(keys, place) {
					return true, existing.Upstreams[secret], true
				}
			}
			return place == "" && existing.Names[name], existing.Upstreams[name], true
		}
	}
	w.Version = a.versions(ctx, list)
	return w, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// versions are those of the platform's secrets, if it can be asked. It is asked only where an item needs it.
func (a *app) versions(ctx context.Context, list adopt.Checklist) func(string) (uint64, bool) {
	known := map[string]uint64{}
	if !a.noHost() && slices.ContainsFunc(list.Items, func(i adopt.Item) bool { return i.Do == adopt.Rotate && i.Done == "" }) {
		var rows []inventory.Row
		err := a.ask(ctx, func(ctx context.Context, platform *wire.Connection) (err error) {
			rows, err = platform.Inventory(ctx, server.Filter{})
			return err
		})
		if err != nil {
			_, _ = fmt.Fprintf(a.err, "note: the platform cannot be asked which values were replaced: %s\n", visible(err.Error()))
		}
		for _, row := range rows {
			number, _, _ := strings.Cut(row.Version, ".")
			if n, err := strconv.ParseUint(number, 10, 64); err == nil {
				known[row.Secret] = n
			}
		}
	}
	return func(name string) (uint64, bool) { n, ok := known[name]; return n, ok }
}
