// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/materialize/file"
)

// machine is what consumers on a machine are made with: its own configuration names folders and programs, documents pick from the
// names.
type machine struct {
	folders map[string]string
	reloads map[string]v1alpha1.Reload
	checks  map[string]v1alpha1.Command
	// syncs and mounts are shared by all its consumers.
	syncs  *durable.Syncs
	mounts *file.Mounts
}

// consumer makes the adapter of one consumer.
func (m machine) consumer(spec v1alpha1.ConsumerSpec) (*file.Consumer, error) {
	config, err := fileConfig(spec)
	if err != nil {
		return nil, err
	}
	config.Folder, config.Syncs, config.Mounts = m.folders[spec.File.Folder], m.syncs, m.mounts
	if config.UID, config.GID, err = file.LookupOwner(spec.File.User, spec.File.Group); err != nil {
		return nil, err
	}
	if name := spec.File.Reload; name != "" {
		if config.Reload, err = reloader(m.reloads[name]); err != nil {
			return nil, fmt.Errorf("reload %s: %w", name, err)
		}
		config.ReloadName = name
	}
	if name := spec.File.Check; name != "" {
		if config.Check, err = command(m.checks[name]); err != nil {
			return nil, fmt.Errorf("check %s: %w", name, err)
		}
	}
	return file.New(config)
}

func reloader(spec v1alpha1.Reload) (file.Reloader, error) {
	if spec.Signal != "" {
		return file.NewSignal(file.SignalConfig{Signal: spec.Signal, PIDFile: spec.PIDFile, Program: spec.Program, Clock: Now})
	}
	return command(v1alpha1.Command{Argv: spec.Argv, Timeout: spec.Timeout})
}

func command(spec v1alpha1.Command) (*file.Command, error) {
	if err := trustProgram(spec.Argv); err != nil {
		return nil, err
	}
	timeout := time.Duration(0)
	if spec.Timeout != "" {
		var err error
		if timeout, err = duration.Parse(spec.Timeout); err != nil {
			return nil, err
		}
	}
	return file.NewCommand(file.CommandConfig{Argv: spec.Argv, Timeout: timeout})
}
