// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/outward"
)

// leftoverLimit bounds the look through one folder.
const leftoverLimit = 20 * time.Second

// leftovers finds files in the host's folders that hold a value of this authority and that no consumer of the estate is for:
// those of a consumer whose path was changed, or which is no longer declared. They are not removed: somebody may still read
// them, and only people know whether that one has moved.
func (p *parts) leftovers(ctx context.Context, estate *intent.Estate) ([]string, error) {
	wanted := map[string]bool{}
	for _, declared := range estate.Secrets {
		for _, consumer := range declared.Consumers {
			if to := consumer.File; to != nil && p.host.Folders[to.Folder] != "" {
				wanted[filepath.Join(p.host.Folders[to.Folder], to.Path)] = true
			}
		}
	}
	entries, err := journal.New(p.values).All(ctx)
	if err != nil {
		return nil, err
	}
	of := map[authority.Incarnation]bool{p.store.Incarnation(): true}
	current := map[authority.Path]authority.VersionID{}
	for _, entry := range entries {
		if entry.Current != nil {
			of[entry.Current.Incarnation], current[entry.Path] = true, *entry.Current
		}
	}
	found := map[string]string{} // a folder may lie in another
	for _, name := range slices.Sorted(maps.Keys(p.host.Folders)) {
		call := outward.Call{Part: "what is left in folder " + name, Limit: leftoverLimit}
		left, err := outward.Do(ctx, p.calls, call, func(context.Context) ([]file.Leftover, error) {
			return file.Leftovers(p.host.Folders[name], func(path string) bool { return wanted[path] })
		})
		if err != nil {
			found[name] = fmt.Sprintf("folder %s: whether files are left in it that no consumer is for cannot be seen: %s", name, err)
			continue
		}
		for _, one := range left {
			if of[one.Version.Incarnation] {
				found[one.File] = leftover(one, current)
			}
		}
	}
	var texts []string
	for _, at := range slices.Sorted(maps.Keys(found)) {
		texts = append(texts, found[at])
	}
	return texts, nil
}

func leftover(left file.Leftover, current map[authority.Path]authority.VersionID) string {
	what := "an earlier value of " + string(left.Secret)
	if current[left.Secret] == left.Version {
		what = "the value of record of " + string(left.Secret)
	}
	return fmt.Sprintf("%s holds %s, and no consumer of the estate is for that file any more; once nothing reads it: rm %s %s",
		left.File, what, left.File, left.Stamp)
}
