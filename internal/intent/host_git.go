// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"path"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/duration"
	where "custody.dev/custody/internal/source/place"
)

const (
	// RuleGit is the rule that speaks of where the estate is read from.
	RuleGit = "host-git"
	// leastEvery bounds how often a server is asked.
	leastEvery = 10 * time.Second
)

// git wants one place of the estate, and what a repository of its kind needs.
func (c *hostChecker) git(spec v1alpha1.HostSpec) {
	if (spec.Estate == "") == (spec.Git == nil) {
		c.bad(RuleGit, at("spec"), "not exactly one of estate, a folder, and git, a repository")
	}
	if spec.Git == nil || spec.Git.URL == "" {
		return // a missing field is reported as such
	}
	t, g := at("spec", "git"), *spec.Git
	repository, err := where.Parse(g.URL)
	if err != nil {
		c.bad(RuleGit, t.to("url"), "the URL is not used: %s", err)
		return
	}
	of := map[where.Kind]bool{repository.Kind: true}
	for _, field := range []struct {
		step, value string
		belongs     bool
	}{
		{"passwordFile", g.PasswordFile, of[where.HTTPS]}, {"caFile", g.CAFile, of[where.HTTPS]},
		{"keyFile", g.KeyFile, of[where.SSH]}, {"knownHosts", g.KnownHosts, of[where.SSH]},
	} {
		if field.value != "" && !field.belongs {
			c.bad(RuleGit, t.to(field.step), "a repository of kind %s does not use %s", repository.Kind, field.step)
		}
	}
	if of[where.SSH] && (g.KeyFile == "" || g.KnownHosts == "") {
		c.bad(RuleGit, t, "SSH needs keyFile and knownHosts")
	}
	if strings.ContainsAny(g.Branch, " ~^:?*[\\\x7f") || strings.HasPrefix(g.Branch, "-") || path.Clean("/"+g.Branch) != "/"+g.Branch {
		c.bad(RuleGit, t.to("branch"), "it is no name of a branch")
	}
	if cleaned := path.Clean("/" + g.Path); g.Path != "" && strings.TrimSuffix("/"+g.Path, "/") != cleaned {
		c.bad(RuleGit, t.to("path"), "it is not a folder inside the repository: write it without dots and without a slash at the beginning")
	}
	for _, field := range []struct {
		step, text string
		least      time.Duration
	}{{"every", g.Every, leastEvery}, {"staleAfter", g.StaleAfter, 1}} {
		if d, err := duration.Parse(field.text); err != nil || d < field.least {
			c.bad("duration-form", t.to(field.step), "it is not a duration of %s or more", max(field.least, time.Second))
		}
	}
	if g.Signers != nil && g.Signers.AllowedSigners == "" && len(g.Signers.OpenPGP) == 0 {
		c.bad(RuleGit, t.to("signers"), "it names no file, so no commit could be accepted")
	}
}
