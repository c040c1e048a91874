// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/notify/mail"
	"custody.dev/custody/internal/notify/webhook"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trust"
)

const (
	// credentialLimit bounds the read of a file with a credential: it may lie on a mount.
	credentialLimit = 10 * time.Second
	// mostCredential is more than any URL or password has, and mostCertificates than any list of authorities.
	mostCredential   = 16 << 10
	mostCertificates = 4 << 20
)

// notifications makes what tells owners of findings; nil where the host file names no targets. A channel that cannot be made says why for
// each message, and keeps nothing else from being done.
func (p *parts) notifications() *notify.Notifier {
	spec := p.host.Notifications
	if spec == nil {
		return nil
	}
	channels := map[string]notify.Channel{}
	for name, hook := range spec.Webhooks {
		channels[notify.Webhook(name)] = channel(hook.CAFile, func(certificates string) (notify.Channel, error) {
			return webhook.New(webhook.Config{
				URL: p.credential(webhook.Field, hook.URLFile, hook.SecretRef), Host: hook.Host, CACertificate: certificates, Now: Now,
			})
		})
	}
	if relay := spec.Mail; relay != nil {
		channels[notify.Mail] = channel(relay.CAFile, func(certificates string) (notify.Channel, error) {
			return mail.New(mail.Config{
				Host: relay.Host, Port: relay.Port, TLS: relay.TLS, CACertificate: certificates, From: relay.From, User: relay.User,
				Password: p.credential(mail.Field, relay.PasswordFile, relay.SecretRef),
			})
		})
	}
	return notify.New(notify.Config{
		Platform: p.host.Platform + "/" + p.host.Environment, Rules: rulesOf(spec), Channels: channels, Documents: p.values, Calls: p.calls,
		Now: Now, NewID: NewID, Log: p.log, PerHour: spec.PerHour,
	})
}

// channel makes one with the authorities of a file, "" for the system's.
func channel(file string, build func(certificates string) (notify.Channel, error)) notify.Channel {
	certificates := ""
	if file != "" {
		data, err := readTrusted(file, mostCertificates, false)
		if err != nil {
			return unusable(err.Error())
		}
		certificates = string(data)
	}
	made, err := build(certificates)
	if err != nil {
		return unusable(err.Error())
	}
	return made
}

// unusable is a channel that cannot be made, and why.
type unusable string

// Send implements notify.Channel.
func (u unusable) Send(context.Context, []string, notify.Message) error {
	return &notify.Failure{Detail: string(u)}
}

// rulesOf are who is told where.
func rulesOf(spec *v1alpha1.Notifications) notify.Rules {
	rules := notify.Rules{Teams: map[string]notify.Target{}, Domains: spec.ContactDomains}
	for team, target := range spec.Teams {
		rules.Teams[team] = targetOf(target)
	}
	if spec.Default != nil {
		target := targetOf(*spec.Default)
		rules.Default = &target
	}
	return rules
}

func targetOf(spec v1alpha1.NotifyTarget) notify.Target {
	target := notify.Target{Webhook: spec.Webhook}
	for _, text := range spec.Mail {
		if address, ok := notify.Address(text); ok { // the host file was checked
			target.Mail = append(target.Mail, address)
		}
	}
	return target
}

// credential reads what a message needs, anew for each: from a file that only the operator can have written, or from a secret.
func (p *parts) credential(field, file, secretName string) func(context.Context) (secret.Value, error) {
	if secretName != "" {
		return func(ctx context.Context) (secret.Value, error) { return p.valueFor(ctx, secretName) }
	}
	return func(ctx context.Context) (secret.Value, error) {
		return outward.Do(ctx, p.calls, outward.Call{Part: "file " + file, Limit: credentialLimit, Own: true}, func(context.Context) (secret.Value, error) {
			data, err := readTrusted(file, mostCredential, true)
			if err != nil {
				return secret.Value{}, err
			}
			return secret.New(map[string][]byte{field: data})
		})
	}
}

// valueFor is the value of record of a secret that the host file names, unless it is held: what lies at its path may then be
// another's.
func (p *parts) valueFor(ctx context.Context, secretName string) (secret.Value, error) {
	estate := p.platform.Estate()
	if estate == nil {
		return secret.Value{}, errors.New("no estate is in force, which would say where secret " + secretName + " is")
	}
	declared, ok := estate.ByName(secretName)
	if !ok {
		return secret.Value{}, errors.New("no secret is called " + secretName)
	}
	bound, ok := p.platform.Orchestrator.At(declared.Path)
	if !ok {
		return secret.Value{}, errors.New("secret " + secretName + " is not in force")
	}
	if held, err := p.platform.Orchestrator.Held(ctx, bound); err != nil || !held.None() {
		return secret.Value{}, errors.New("secret " + secretName + " is held back by a finding, or its state is not known")
	}
	held, err := p.values.Read(ctx, declared.Path)
	if err != nil {
		return secret.Value{}, errors.New("secret " + secretName + " has no value that can be read")
	}
	return held.Value, nil
}

// readTrusted reads a file that nobody else can have changed and, where it is private, nobody else can read.
func readTrusted(file string, most int64, private bool) ([]byte, error) {
	if _, err := trust.Check(file, os.Geteuid()); err != nil {
		if untrusted, is := errors.AsType[*trust.Untrusted](err); is {
			return nil, fmt.Errorf("%s is not safe: %s; %s", file, untrusted.Error(), untrusted.Next)
		}
		return nil, unread(file, err)
	}
	opened, err := os.Open(file)
	if err != nil {
		return nil, unread(file, err)
	}
	defer func() { _ = opened.Close() }()
	info, err := opened.Stat()
	switch {
	case err != nil:
		return nil, unread(file, err)
	case !info.Mode().IsRegular():
		return nil, errors.New(file + " is not a file")
	case private && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s has mode %04o, and others can read it; give it mode 0600", file, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(opened, most+1))
	if err != nil {
		return nil, unread(file, err)
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", file, most)
	}
	return data, nil
}

func unread(file string, err error) error {
	if path, is := errors.AsType[*fs.PathError](err); is {
		err = path.Err
	}
	return fmt.Errorf("%s cannot be read: %w", file, err)
}

// tell has owners told of what the newest summary found.
func (p *parts) tell(stop context.Context) {
	summary := p.platform.Summary()
	if p.notifier == nil || summary == nil || stop.Err() != nil {
		return
	}
	p.notifier.Tick(stop, summary.Seen)
}
