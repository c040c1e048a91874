// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/revlist"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/source/place"
	outward "custody.dev/custody/internal/transport"
)

// Repository is where a repository is, and how this side and that one are known.
type Repository struct {
	place.Place

	// User and Password sign in over HTTPS; the field of the password is "password". An empty one signs in nowhere.
	User     string
	Password secret.Value
	// CA are the certificates by which the server is known, in PEM; nil takes the machine's.
	CA []byte
	// Key is a private key of SSH, in the field "key", and KnownHosts the file of the servers' keys, in the form of OpenSSH.
	Key        secret.Value
	KnownHosts string
}

// The fields of a Repository's values.
const (
	PasswordField = "password"
	KeyField      = "key"
)

func (r Repository) connect(ctx context.Context) (remote, error) {
	switch r.Kind {
	case place.Folder:
		return openLocal(r.Path)
	case place.HTTPS:
		return r.http()
	case place.SSH:
		return r.ssh(ctx)
	}
	return nil, errors.New("there is no repository to fetch from")
}

const (
	// connectTimeout bounds connecting to a server of SSH.
	connectTimeout = 20 * time.Second
	// maxReply bounds what is read of an answer that is no pack: the list of references of a large repository, an error.
	maxReply = 16 << 20
	// maxSaid bounds what is quoted of a server's own words.
	maxSaid = 200
)

// overHTTP speaks Git's protocol over HTTPS, by the library.
type overHTTP struct {
	session    transport.UploadPackSession
	client     *http.Client
	advertised *packp.AdvRefs
}

func (r Repository) http() (remote, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.CA != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(r.CA) {
			return nil, errors.New("the file of certificates (caFile) has none")
		}
	}
	client := &http.Client{
		Transport: outward.HTTP(config),
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			if from := via[0].URL; to.URL.Host != from.Host || to.URL.Scheme != from.Scheme {
				return fmt.Errorf("the server redirects to %s, another server: name that one in the host file", to.URL.Host)
			}
			return nil
		},
	}
	endpoint, err := transport.NewEndpoint(r.URL.String())
	if err != nil {
		return nil, errors.New("the URL cannot be used")
	}
	var auth transport.AuthMethod
	if r.Password.Has(PasswordField) {
		auth = &githttp.BasicAuth{Username: r.User, Password: strings.TrimSpace(r.Password.ExposeText(PasswordField))}
	}
	session, err := githttp.NewClient(&http.Client{Transport: shortErrors{client.Transport}, CheckRedirect: client.CheckRedirect}).NewUploadPackSession(endpoint, auth)
	if err != nil {
		return nil, err
	}
	return &overHTTP{session: session, client: client}, nil
}

// shortErrors cuts the body of answers that are no success: the library reads them whole.
type shortErrors struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (s shortErrors) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := s.RoundTripper.RoundTrip(r)
	if err != nil {
		return answer, err
	}
	most := int64(maxReply)
	switch {
	case answer.StatusCode < http.StatusOK || answer.StatusCode >= http.StatusMultipleChoices:
		most = maxSaid
	case r.Method == http.MethodPost:
		return answer, nil // a pack, which who reads it bounds
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, most), answer.Body}
	return answer, nil
}

func (h *overHTTP) close() {
	_ = h.session.Close()
	h.client.CloseIdleConnections()
}

func (h *overHTTP) head(ctx context.Context, branch string) (plumbing.Hash, error) {
	advertised, err := h.session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return plumbing.ZeroHash, plain(err)
	}
	h.advertised = advertised
	return branchOf(advertised, branch)
}

// plain gives the library's errors words for people.
func plain(err error) error {
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return errors.New("the server refuses to let this host read it (username, passwordFile)")
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return errors.New("the server has no such repository, or does not show it to this host")
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return fmt.Errorf("it is empty: %w", ErrNoBranch)
	}
	return err
}

func branchOf(advertised *packp.AdvRefs, branch string) (plumbing.Hash, error) {
	if head, there := advertised.References[plumbing.NewBranchReferenceName(branch).String()]; there {
		return head, nil
	}
	return plumbing.ZeroHash, ErrNoBranch
}

func (h *overHTTP) pack(ctx context.Context, want plumbing.Hash, have []plumbing.Hash, w io.Writer) error {
	request := requestOf(h.advertised, want, have)
	answer, err := h.session.UploadPack(ctx, request)
	if err != nil {
		return plain(err)
	}
	defer func() { _ = answer.Close() }()
	_, err = io.Copy(w, demultiplexed(request, answer))
	return err
}

func requestOf(advertised *packp.AdvRefs, want plumbing.Hash, have []plumbing.Hash) *packp.UploadPackRequest {
	request := packp.NewUploadPackRequestFromCapabilities(advertised.Capabilities)
	request.Wants, request.Haves = []plumbing.Hash{want}, have
	return request
}

// demultiplexed is the pack in an answer, without what the server says of its progress.
func demultiplexed(request *packp.UploadPackRequest, answer io.Reader) io.Reader {
	switch {
	case request.Capabilities.Supports("side-band-64k"):
		return sideband.NewDemuxer(sideband.Sideband64k, answer)
	case request.Capabilities.Supports("side-band"):
		return sideband.NewDemuxer(sideband.Sideband, answer)
	}
	return answer
}

// between are the objects that are reachable from want and not from those of have that are there.
func between(ctx context.Context, store storer.Storer, want plumbing.Hash, have []plumbing.Hash) ([]plumbing.Hash, error) {
	var known []plumbing.Hash
	for _, id := range have {
		if store.HasEncodedObject(id) == nil {
			known = append(known, id)
		}
	}
	ignore, err := revlist.Objects(store, known, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the repository: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	objects, err := revlist.Objects(store, []plumbing.Hash{want}, ignore)
	if err != nil {
		return nil, fmt.Errorf("reading the repository: %w", err)
	}
	return objects, nil
}
