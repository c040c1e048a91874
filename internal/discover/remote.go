// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/config"
)

// maxConfig bounds the configuration of a repository.
const maxConfig = 1 << 20

// remote is the web address of where a repository was cloned from, such as https://HOST/OWNER/NAME, without credentials; "" where
// it is not known. Of the repository's configuration nothing else is read.
func remote(gitDir string) string {
	at := filepath.Join(gitDir, "config")
	info, err := os.Lstat(at)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxConfig {
		return ""
	}
	file, err := os.Open(at)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }() // it was read only
	parsed := config.New()
	if config.NewDecoder(file).Decode(parsed) != nil {
		return ""
	}
	section := parsed.Section("remote")
	if address := section.Subsection("origin").Option("url"); address != "" {
		return webAddress(address)
	}
	for _, other := range section.Subsections {
		if address := webAddress(other.Option("url")); address != "" {
			return address
		}
	}
	return ""
}

// webAddress is what a browser takes for an address of Git: git@host:owner/name.git, ssh://… or https://…
func webAddress(text string) string {
	host, path := "", ""
	if parsed, err := url.Parse(text); err == nil && parsed.Host != "" {
		switch parsed.Scheme {
		case "https", "http":
			host, path = parsed.Host, parsed.Path
		case "ssh", "git", "git+ssh":
			host, path = parsed.Hostname(), parsed.Path
		}
	} else if !strings.Contains(text, "://") {
		before, after, is := strings.Cut(text, ":")
		if _, name, named := strings.Cut(before, "@"); named {
			before = name
		}
		if is && before != "" && !strings.ContainsAny(before, `/\`) && len(before) > 1 {
			host, path = before, after
		}
	}
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	if host == "" || path == "" || strings.ContainsAny(host+path, " \t\r\n\"'<>`") {
		return ""
	}
	return "https://" + host + "/" + path
}
