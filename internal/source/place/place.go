// SPDX-License-Identifier: Apache-2.0

// Package place reads where a repository of an estate is. It asks nobody.
package place

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"

	"custody.dev/custody/internal/lazyregexp"
)

// Kind is how a repository is reached.
type Kind string

// The kinds.
const (
	Folder Kind = "folder"
	HTTPS  Kind = "https"
	SSH    Kind = "ssh"
)

// Place is where a repository is. Parse makes one.
type Place struct {
	Kind Kind
	// URL is that of a server, nil for a folder; Path is the folder's.
	URL  *url.URL
	Path string
}

// short is the form USER@HOST:PATH of SSH.
var short = lazyregexp.New(`^([A-Za-z0-9._-]+)@([A-Za-z0-9.-]+):([^:/][^:]*|/[^:]*)$`)

// Parse reads where a repository is: an absolute path, a file, https or ssh URL, or USER@HOST:PATH. Plain HTTP is taken for
// this machine alone. Passwords stand in no URL.
func Parse(text string) (Place, error) {
	if filepath.IsAbs(text) {
		return Place{Kind: Folder, Path: filepath.Clean(text)}, nil
	}
	if parts := short.FindStringSubmatch(text); parts != nil {
		return Place{Kind: SSH, URL: &url.URL{Scheme: "ssh", User: url.User(parts[1]), Host: parts[2], Path: parts[3]}}, nil
	}
	at, err := url.Parse(text)
	if err != nil {
		return Place{}, errors.New("it is no URL") // the library would quote it
	}
	if _, has := at.User.Password(); has {
		return Place{}, errors.New("it has a password")
	}
	switch {
	case at.RawQuery != "" || at.Fragment != "":
		return Place{}, errors.New("it has a query or a fragment")
	case at.Scheme == "file" && (at.Host == "" || at.Host == "localhost") && filepath.IsAbs(at.Path):
		return Place{Kind: Folder, Path: filepath.Clean(at.Path)}, nil
	case at.Hostname() == "" || strings.Trim(at.Path, "/") == "":
		return Place{}, errors.New("it is neither an absolute path nor the URL of a repository")
	case at.Scheme == "https" && at.User == nil, at.Scheme == "http" && at.User == nil && loopback(at.Hostname()):
		return Place{Kind: HTTPS, URL: at}, nil
	case at.Scheme == "https" || at.Scheme == "http" && loopback(at.Hostname()):
		return Place{}, errors.New("it names a user, whom `username` names")
	case at.Scheme == "http":
		return Place{}, errors.New("it is plain HTTP, which anybody on the network can read and change")
	case at.Scheme == "ssh" && at.User.Username() == "":
		return Place{}, errors.New("it names no user, as in ssh://git@HOST/PATH")
	case at.Scheme == "ssh":
		return Place{Kind: SSH, URL: at}, nil
	}
	return Place{}, fmt.Errorf("%s is not one of https, ssh and file", at.Scheme)
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}

// Name is where it is, for people.
func (p Place) Name() string {
	if p.Kind == Folder {
		return p.Path
	}
	return p.URL.String()
}
