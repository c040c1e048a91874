// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// build says what this program was made of.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "version",
		Short:       "print the version",
		Long:        `Prints the version, the commit that it was built from, and the version of Go.`,
		Example:     `  custody version -o json`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(context.Context, []string) error {
			b := built()
			return a.answer(b, func(p *printer) { p.linef("%s", strings.TrimSuffix(b.text(), "\n")) })
		}),
	}
}

// text is what people are told.
func (b build) text() string {
	text := fmt.Sprintf("custody %s (%s, %s)\n", b.Version, b.Go, b.Platform)
	if b.Revision != "" {
		text += "commit " + b.Revision + "\n"
	}
	return text
}

func built() build {
	b := build{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = or(info.Main.Version, b.Version)
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Revision = setting.Value
		case "vcs.modified":
			b.Modified = setting.Value == "true"
		}
	}
	return b
}
