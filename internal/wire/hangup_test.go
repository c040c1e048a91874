// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
)

func TestChangedSettings(t *testing.T) {
	host := v1alpha1.HostSpec{State: "/state", Listen: "127.0.0.1:1", Folders: map[string]string{"app": "/run/app"}}
	same, other, fewer := host, host, host
	same.Folders = map[string]string{"app": "/run/app"}
	other.Listen, other.Folders = "127.0.0.1:2", map[string]string{"app": "/run/other"}
	fewer.Folders = nil
	for name, test := range map[string]struct {
		after v1alpha1.HostSpec
		want  []string
	}{"same": {same, nil}, "other": {other, []string{"folders", "listen"}}, "fewer": {fewer, []string{"folders"}}} {
		if diff := cmp.Diff(test.want, changedSettings(host, test.after)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
