// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/discover/clue"
)

// Level is how grave a risk is.
type Level string

// The levels.
const (
	High   Level = "high"
	Medium Level = "medium"
	Low    Level = "low"
)

func (l Level) rank() int { return slices.Index([]Level{Low, Medium, High}, l) + 1 }

// Risk is one thing that is wrong with where a secret is, or with the secret.
type Risk struct {
	Level Level `json:"level"`
	// Rule names what is wrong, and never changes its meaning.
	Rule string `json:"rule"`
	Text string `json:"text"`
}

// Rules are all that can be wrong, with what to do. SARIF shows them.
var Rules = []struct {
	ID   string
	Text string
	Fix  string
}{
	{"in-git", "The value is in clear in Git", "Rotate the secret, then remove the value from the file. Whoever could read the repository has it."},
	{"in-history", "The value is in clear in the history of Git", "Rotate the secret. Deleting the file did not remove the value."},
	{"in-file", "The value is in clear in a file", "Deliver the file from a secrets store, with access for its consumer alone."},
	{"in-state", "The value is in clear in the state of Terraform", "Protect the state like the secret, or make the secret elsewhere."},
	{"expired", "The value has expired", "Replace it, or remove it where nothing uses it."},
	{"expires-soon", "The value expires within 30 days", "Replace it before."},
	{"several-places", "The same value is in clear in several places", "Keep it in one place, and let the others refer to it."},
	{"weak", "The value is short, or like a word", "Replace it with a generated value."},
	{"settings-only", "The secret exists only in settings that nobody can read back", "Write down who set it, when, and how it is replaced."},
	{"by-script", "A script makes the secret, and nothing records when", "Let a policy make and replace it."},
	{"unused", "Nothing in this tree uses the secret", "Find its consumer, or revoke it."},
}

// soon is how long before its end a value is said to expire.
const soon = 30 * 24 * time.Hour

// risks are what is wrong, the gravest first.
func (s *scan) risks(one Secret, g group, tracked map[string]bool) (risks []Risk) {
	add := func(level Level, rule, format string, args ...any) {
		if !slices.ContainsFunc(risks, func(r Risk) bool { return r.Rule == rule }) {
			risks = append(risks, Risk{level, rule, fmt.Sprintf(format, args...)})
		}
	}
	places := map[string]bool{}
	for _, p := range one.Holders {
		if p.Role != clue.Holds {
			continue
		}
		switch {
		case p.Commit != "":
			add(High, "in-history", "its value was in clear in %s, commit %s", p.File, p.Commit[:min(12, len(p.Commit))])
			continue
		case tracked[p.File]:
			add(High, "in-git", "its value is in clear in %s, which is in Git", p.File)
		case strings.HasSuffix(p.File, ".tfstate"):
			add(Medium, "in-state", "its value is in clear in %s", p.File)
		default:
			add(Medium, "in-file", "its value is in clear in %s", p.File)
		}
		places[p.File+"\x00"+p.Name] = true
	}
	if len(places) > 1 {
		add(Medium, "several-places", "its value is in clear in %d places", len(places))
	}
	for _, i := range g.records {
		if r := s.records[i]; r.weak && r.at == nil {
			add(Medium, "weak", "the value in %s is short, or like a word", r.file)
		}
	}
	if one.Expires != nil {
		switch left := one.Expires.At.Sub(s.Now); {
		case left <= 0:
			add(Medium, "expired", "its %s ended %s", one.Expires.By, one.Expires.At.Format(time.DateOnly))
		case left < soon:
			add(Medium, "expires-soon", "its %s ends %s", one.Expires.By, one.Expires.At.Format(time.DateOnly))
		}
	}
	if len(one.Holders) == 0 && len(one.Origins) == 0 && len(one.Consumers) > 0 {
		add(Low, "settings-only", "nothing in this tree has or makes it: it exists only in the settings of %s", where(one.Consumers))
	}
	for _, p := range one.Origins {
		if p.Source == "script" {
			add(Low, "by-script", "%s makes it, and nothing records when", p.File)
		}
	}
	if len(one.Consumers) == 0 {
		add(Low, "unused", "nothing in this tree uses it by name")
	}
	slices.SortStableFunc(risks, func(a, b Risk) int { return b.Level.rank() - a.Level.rank() })
	return risks
}

var settings = map[string]string{
	"github": "GitHub Actions", "gitlab": "GitLab CI", "jenkins": "Jenkins", "circleci": "CircleCI", "drone": "Drone", "azure": "Azure Pipelines",
	"kubernetes": "the cluster", "helm": "the cluster", "external-secrets": "the cluster", "compose": "the engine or its environment", "systemd": "the machine",
	"script": "the environment of the script", "ansible": "variables that are not in this tree", "terraform": "variables that are not in this tree", "dotenv": "the environment",
}

// where are the systems whose settings must have a secret, CI systems first.
func where(consumers []Place) string {
	var names []string
	for _, p := range consumers {
		if name := settings[p.Source]; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " and ")
}

// exists reports whether a file is in the folder.
func exists(folder, file string) bool {
	info, err := os.Stat(filepath.Join(folder, filepath.FromSlash(file)))
	return err == nil && info.Mode().IsRegular()
}
