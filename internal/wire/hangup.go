// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"reflect"
	"slices"

	"custody.dev/custody/api/v1alpha1"
)

// reread reads the host file again and logs which settings a restart would change. None takes effect in this process: folders,
// programs and keys are held open by what was made with them.
func (p *parts) reread() {
	host, err := LoadHost(p.hostFile)
	switch changed := changedSettings(p.host, host); {
	case err != nil:
		p.log.Error("the host file has faults: custody goes on with the settings that it started with, and would not start with these", "file", p.hostFile, "error", err)
	case len(changed) > 0:
		p.log.Warn("the host file changed: restart custody for it to take effect", "file", p.hostFile, "settings", changed)
	default:
		p.log.Info("the host file has not changed since the start; checking the estate", "file", p.hostFile)
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
