// SPDX-License-Identifier: Apache-2.0

package startup

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
)

// percent is what GOGC is now.
func percent() uint64 {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

const tells = "CUSTODY_TELLS_GOGC"

func TestMain(m *testing.M) {
	if os.Getenv(tells) == "" {
		os.Exit(m.Run())
	}
	first := percent()
	runtime.GC()
	// The cleanup runs soon after the collection. A minute ends a test that hangs.
	for ended := time.Now().Add(time.Minute); percent() == first && first == firstPercent && time.Now().Before(ended); {
		time.Sleep(time.Millisecond)
	}
	_, _ = os.Stdout.WriteString(name(first) + " then " + name(percent()))
	os.Exit(0)
}

func name(percent uint64) string {
	switch percent {
	case firstPercent:
		return "first"
	case usualPercent:
		return "usual"
	}
	return "set"
}

func TestTheCollectorRunsAsUsualAfterItsFirstTime(t *testing.T) {
	for _, test := range []struct{ gogc, want string }{
		{"", "first then usual"},
		{"70", "set then set"},
	} {
		t.Run("GOGC="+test.gogc, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), tells+"=1", "GOGC="+test.gogc)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got := strings.TrimSpace(string(out)); got != test.want {
				t.Errorf("the collector is set to %q, want %q", got, test.want)
			}
		})
	}
}
