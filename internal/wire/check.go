// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"log/slog"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/upstream"
)

// CheckEstate makes everything that serving an estate would make, as on a host that has whatever the estate names, and says
// what cannot be made. Lint and serve both ask it, so that neither takes what the other refuses. It calls nothing outside.
func CheckEstate(estate *intent.Estate) []intent.Fault {
	ideal := &parts{
		store: uninitialised{}, log: slog.New(slog.DiscardHandler),
		host: v1alpha1.HostSpec{
			Platform: estate.Platform.Metadata.Name, Environment: estate.Environment, Upstreams: map[string]v1alpha1.Command{}, Folders: map[string]string{},
		},
	}
	for _, declared := range estate.Upstreams {
		t, server := estate.TypeOf(declared.Spec)
		for _, pick := range t.Picks(server) {
			switch pick.From {
			case upstream.HostProgram:
				ideal.host.Upstreams[pick.Name] = v1alpha1.Command{Argv: []string{"/nowhere/program"}}
			case upstream.HostFolder:
				ideal.host.Folders[pick.Name] = "/nowhere"
			}
		}
	}
	var faults []intent.Fault
	for _, name := range estate.SecretNames() {
		declared := estate.Secrets[name]
		bad := func(what string, err error) { faults = append(faults, unservable(declared, what, err)) }
		if _, err := ideal.upstreamOf(estate, declared); err != nil {
			bad("what honours it", err)
		}
		if declared.Spec.Origin.Derived != nil {
			if _, err := derivedSubject(estate, declared); err != nil {
				bad("its formula", err)
			}
		}
		for _, consumer := range declared.Consumers {
			config, err := fileConfig(consumer.ConsumerSpec)
			if err == nil {
				config.Folder = "/"
				_, err = file.New(config)
			}
			if err != nil {
				fault := unservable(declared, "consumer "+consumer.Name, err)
				fault.Consumer = consumer.Name
				faults = append(faults, fault)
			}
		}
	}
	return faults
}

// CheckHere makes the same as on this machine, and says what that cannot be made from: a user that it does not have, a
// program that others can change. Serve holds the consumer, or the secret, that it is about. What lint itself found on the
// host is left out.
func CheckHere(estate *intent.Estate, host v1alpha1.HostSpec) []intent.Fault {
	here := &parts{store: uninitialised{}, log: slog.New(slog.DiscardHandler), host: host}
	var faults []intent.Fault
	for _, name := range estate.SecretNames() {
		declared := estate.Secrets[name]
		if _, err := here.upstreamOf(estate, declared); err != nil {
			fault := unservable(declared, "what honours it", err)
			fault.Here = true
			faults = append(faults, fault)
		}
		for _, consumer := range declared.Consumers {
			if estate.Held[name][consumer.Name] != "" || consumer.Machine != "" {
				continue
			}
			if _, err := here.consumer(consumer.ConsumerSpec); err != nil {
				fault := unservable(declared, "consumer "+consumer.Name, err)
				fault.Here, fault.Consumer = true, consumer.Name
				faults = append(faults, fault)
			}
		}
	}
	return faults
}

func unservable(declared *intent.Secret, what string, err error) intent.Fault {
	return intent.Fault{
		File: declared.Source.File, Line: declared.Source.Line, Column: 1, Rule: intent.RuleUnservable,
		Subject: v1alpha1.KindManagedSecret + "/" + declared.Name, Reason: what + " cannot be made: " + err.Error(), Fix: intent.FixUnservable(),
	}
}
