// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// overSSH speaks Git's protocol with the program that the server runs. The library's own transport would read the user's
// configuration of SSH and ask an agent.
type overSSH struct {
	client     *ssh.Client
	session    *ssh.Session
	in         io.WriteCloser
	out        io.Reader
	said       *said
	stop       func() bool
	advertised *packp.AdvRefs
}

func (r Repository) ssh(ctx context.Context) (remote, error) {
	if r.KnownHosts == "" || !r.Key.Has(KeyField) {
		return nil, errors.New("SSH needs a private key (keyFile) and the server's keys (knownHosts)")
	}
	key, err := ssh.ParsePrivateKey(r.Key.Expose(KeyField))
	if err != nil {
		return nil, errors.New("the private key (keyFile) cannot be read; it must have no passphrase")
	}
	address := r.URL.Host
	if r.URL.Port() == "" {
		address = net.JoinHostPort(r.URL.Hostname(), "22")
	}
	known, algorithms, err := hostKeys(r.KnownHosts, address)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	o := &overSSH{stop: context.AfterFunc(ctx, func() { _ = conn.Close() })} // which ends every read and write
	config := &ssh.ClientConfig{
		User: r.URL.User.Username(), Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: known, HostKeyAlgorithms: algorithms,
	}
	raw, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		o.stop()
		_ = conn.Close()
		return nil, hostKeyError(err, address)
	}
	o.client = ssh.NewClient(raw, channels, requests)
	if err := o.run("git-upload-pack " + quoted(r.URL.Path)); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// quoted is a word for the server's shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// hostKeys are what a server must show, and of which types: it is asked for a type that is known, so that one which has
// others too is not taken for a stranger.
func hostKeys(file, address string) (ssh.HostKeyCallback, []string, error) {
	check, err := knownhosts.New(file)
	if err != nil {
		return nil, nil, errors.New("the file of the server's keys (knownHosts) cannot be read")
	}
	asked, err := ssh.NewPublicKey(make(ed25519.PublicKey, ed25519.PublicKeySize))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the server's keys: %w", err)
	}
	wrong, is := errors.AsType[*knownhosts.KeyError](check(address, &net.TCPAddr{IP: net.IPv4zero}, asked))
	if !is || len(wrong.Want) == 0 {
		return nil, nil, fmt.Errorf("the file of the server's keys (knownHosts) has none of %s; compare what `ssh-keyscan` says with what the server's operator publishes", address)
	}
	var algorithms []string
	for _, want := range wrong.Want {
		types := []string{want.Key.Type()}
		if want.Key.Type() == ssh.KeyAlgoRSA {
			types = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, one := range types {
			if !slices.Contains(algorithms, one) {
				algorithms = append(algorithms, one)
			}
		}
	}
	return check, algorithms, nil
}

func hostKeyError(err error, address string) error {
	if wrong, is := errors.AsType[*knownhosts.KeyError](err); is {
		return fmt.Errorf("the server at %s shows another key than the %d that knownHosts has of it: nothing was sent", address, len(wrong.Want))
	}
	return err
}

func (o *overSSH) run(command string) error {
	var err error
	if o.session, err = o.client.NewSession(); err != nil {
		return err
	}
	o.said = &said{}
	o.session.Stderr = o.said
	if o.in, err = o.session.StdinPipe(); err != nil {
		return err
	}
	if o.out, err = o.session.StdoutPipe(); err != nil {
		return err
	}
	return o.session.Start(command)
}

func (o *overSSH) close() {
	if o.session != nil {
		_ = o.session.Close()
	}
	_ = o.client.Close()
	o.stop()
}

// said keeps the beginning of what a server says of an error.
type said struct{ bytes.Buffer }

// Write implements io.Writer.
func (s *said) Write(p []byte) (int, error) {
	_, err := s.Buffer.Write(p[:min(len(p), max(0, maxSaid-s.Len()))])
	return len(p), err
}

func (o *overSSH) failed(err error) error {
	_ = o.in.Close()
	_ = o.session.Wait() // so that all that it says is there
	if text := strings.TrimSpace(o.said.String()); text != "" {
		return fmt.Errorf("%w (the server says: %q)", err, text)
	}
	return err
}

func (o *overSSH) head(_ context.Context, branch string) (plumbing.Hash, error) {
	o.advertised = packp.NewAdvRefs()
	if err := o.advertised.Decode(io.LimitReader(o.out, maxReply)); errors.Is(err, packp.ErrEmptyAdvRefs) {
		return plumbing.ZeroHash, fmt.Errorf("it is empty: %w", ErrNoBranch)
	} else if err != nil {
		return plumbing.ZeroHash, o.failed(err)
	}
	head, err := branchOf(o.advertised, branch)
	if err != nil {
		return head, err
	}
	return head, nil
}

func (o *overSSH) pack(_ context.Context, want plumbing.Hash, have []plumbing.Hash, w io.Writer) error {
	request := requestOf(o.advertised, want, have)
	if err := request.UploadRequest.Encode(o.in); err != nil {
		return o.failed(err)
	}
	if err := request.UploadHaves.Encode(o.in, false); err != nil {
		return o.failed(err)
	}
	if err := pktline.NewEncoder(o.in).EncodeString("done\n"); err != nil {
		return o.failed(err)
	}
	answer := packp.NewUploadPackResponse(request)
	if err := answer.Decode(io.NopCloser(o.out)); err != nil {
		return o.failed(err)
	}
	_, err := io.Copy(w, demultiplexed(request, answer))
	return err
}
