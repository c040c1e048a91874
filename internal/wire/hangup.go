// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"reflect"
	"slices"

	"custody.dev/custody/api/v1alpha1"
)

// reread looks at the host file, of which nothing takes effect while this process runs: folders, programs and keys are held open
// by what was made with them. It says what a restart would change.
func (p *parts) reread() {
	host, err := LoadHost(p.hostFile)
	switch changed := changedSettings(p.host, host); {
	case err != nil:
		p.log.Error("the host file has faults, and would keep custody from starting: the former one counts", "file", p.hostFile, "error", err)
	case len(changed) > 0:
		p.log.Warn("the host file changed: restart custody for it to take effect", "file", p.hostFile, "settings", changed)
	default:
		p.log.Info("the host file is as it was at the start; the estate is looked at", "file", p.hostFile)
	}
}

// changedSettings names the settings, the topmost of each, in which two host files differ.
func changedSettings(before, after v1alpha1.HostSpec) []string {
	settings := func(spec v1alpha1.HostSpec) (out map[string]any) {
		data, err := json.Marshal(spec)
		if err != nil || json.Unmarshal(data, &out) != nil {
			return nil
		}
		return out
	}
	old, current := settings(before), settings(after)
	var changed []string
	for name, value := range current {
		if !reflect.DeepEqual(value, old[name]) {
			changed = append(changed, name)
		}
	}
	for name := range old {
		if _, kept := current[name]; !kept {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	return changed
}
