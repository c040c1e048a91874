// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"slices"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Values that documents may leave out.
const (
	defaultListen  = "127.0.0.1:8470"
	defaultTimeout = "30s"
	defaultLength  = 32
)

func platformDefaults(spec v1alpha1.PlatformSpec) v1alpha1.PlatformSpec {
	spec.Rotation.MaxTimedRunsPerHour = cmp.Or(spec.Rotation.MaxTimedRunsPerHour, 100)
	return spec
}

// secretDefaults leaves spec's own parts as they are and returns a copy.
func secretDefaults(types upstream.Types, spec v1alpha1.ManagedSecretSpec) v1alpha1.ManagedSecretSpec {
	spec.Environments = nil
	if spec.Origin.Generated != nil {
		rule := generateDefaults(*spec.Origin.Generated)
		spec.Origin.Generated = &rule
	}
	if spec.Rotation != nil {
		rotation := accountDefaults(types, *spec.Rotation)
		if rotation.Stagger != nil {
			stagger := *rotation.Stagger
			stagger.Gap = cmp.Or(stagger.Gap, defaultGap)
			rotation.Stagger = &stagger
		}
		spec.Rotation = &rotation
	}
	spec.Consumers = slices.Clone(spec.Consumers)
	for i, c := range spec.Consumers {
		if c.File == nil {
			continue
		}
		file := *c.File
		file.Mode = cmp.Or(file.Mode, "0600")
		if file.Format == "raw" {
			file.Field = cmp.Or(file.Field, secret.SingleField)
		}
		spec.Consumers[i].File = &file
	}
	return spec
}

func generateDefaults(rule v1alpha1.GenerateRule) v1alpha1.GenerateRule {
	rule.Field = cmp.Or(rule.Field, secret.SingleField)
	switch rule.Type {
	case "password":
		rule.Length = cmp.Or(rule.Length, defaultLength)
		if len(rule.Classes) == 0 {
			rule.Classes = []string{"lower", "upper", "digit"}
		}
	case "token":
		rule.Length = cmp.Or(rule.Length, defaultLength)
		rule.Encoding = cmp.Or(rule.Encoding, "base64url")
	case "rsa":
		rule.Bits = cmp.Or(rule.Bits, 3072)
	}
	return rule
}

// hostDefaults fills in what a host document may leave out.
func hostDefaults(spec *v1alpha1.HostSpec) {
	spec.Listen = cmp.Or(spec.Listen, defaultListen)
	backupDefaults(spec.Backup)
	if git := spec.Git; git != nil {
		git.Branch, git.Username = cmp.Or(git.Branch, "main"), cmp.Or(git.Username, "git")
		git.Every, git.StaleAfter = cmp.Or(git.Every, "3m"), cmp.Or(git.StaleAfter, "1h")
	}
	for i := range spec.Webhooks {
		spec.Webhooks[i].PerMinute = cmp.Or(spec.Webhooks[i].PerMinute, defaultPerMinute)
	}
	for name, reload := range spec.Reloads {
		if len(reload.Argv) > 0 {
			reload.Timeout = cmp.Or(reload.Timeout, defaultTimeout)
			spec.Reloads[name] = reload
		}
	}
	for _, commands := range []map[string]v1alpha1.Command{spec.Checks, spec.Upstreams} {
		for name, command := range commands {
			command.Timeout = cmp.Or(command.Timeout, defaultTimeout)
			commands[name] = command
		}
	}
}
