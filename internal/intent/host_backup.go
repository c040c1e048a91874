// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/duration"
)

const (
	ruleBackup = "host-backup"
	// leastBetweenBackups bounds how often everything is copied.
	leastBetweenBackups = 10 * time.Minute
	// mostBackups is more than anybody can tell apart.
	mostBackups = 10_000
)

func backupDefaults(b *v1alpha1.Backup) {
	if b != nil {
		b.Every, b.Keep = cmp.Or(b.Every, "24h"), cmp.Or(b.Keep, 14)
	}
}

// backup wants a folder that is neither what is backed up nor what consumers read.
func (c *hostChecker) backup(spec v1alpha1.HostSpec) {
	b, t := spec.Backup, at("spec", "backup")
	if b == nil {
		return
	}
	if every, err := duration.Parse(b.Every); err != nil || every < leastBetweenBackups {
		c.bad(ruleBackup, t.to("every"), "it is not a duration of at least %s", leastBetweenBackups)
	}
	if b.Keep < 1 || b.Keep > mostBackups {
		c.bad(ruleBackup, t.to("keep"), "keep is not between 1 and %d", mostBackups)
	}
	if b.To == "" {
		return // a missing field, reported as such
	}
	others := []hostPath{{"the state folder", spec.State}, {"the estate", spec.Estate}}
	for _, name := range slices.Sorted(maps.Keys(spec.Folders)) {
		others = append(others, hostPath{"folder " + name, spec.Folders[name]})
	}
	for _, other := range others {
		if other.path != "" && (within(b.To, other.path) || within(other.path, b.To)) {
			c.bad(ruleBackup, t.to("to"), "the folder for backups and %s overlap: one is inside the other", other.what)
		}
	}
}
