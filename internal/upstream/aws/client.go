// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"errors"
	"net/http"
	"time"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/fields"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Server says which AWS account is meant, and how it is reached.
type Server struct {
	// AccountID is the 12 digits of the account.
	AccountID string
	// Region whose STS checks keys. IAM has none.
	Region string
	// Partition that ARNs are in. Default aws.
	Partition string
	// IAMEndpoint and STSEndpoint are URLs in place of AWS's own. http is for loopback.
	IAMEndpoint, STSEndpoint string
	// CACertificate is PEM; default the system's.
	CACertificate string
}

var accountForm = lazyregexp.New(`^[0-9]{12}$`)

func (s Server) client() (*http.Client, error) {
	if !accountForm.MatchString(s.AccountID) || !fields.Region(s.Region) {
		return nil, errors.New("the 12 digits of an account and a region are needed")
	}
	for _, endpoint := range []string{s.IAMEndpoint, s.STSEndpoint} {
		if endpoint == "" {
			continue
		}
		if err := transport.Endpoint(endpoint); err != nil {
			return nil, err
		}
	}
	return transport.Client(s.CACertificate)
}

// home is the region that IAM's requests are signed for.
func (s Server) home() string {
	switch s.Partition {
	case "aws-cn":
		return "cn-north-1"
	case "aws-us-gov":
		return "us-gov-west-1"
	case "", "aws":
		return "us-east-1"
	}
	return s.Region
}

// attempt is one request: the SDK's way to the network and to the time, and what became of it.
type attempt struct {
	u *Upstream
	// sent is true when the request may have left.
	sent   bool
	signed time.Time
	date   time.Time // AWS's clock, to the second
	status int
}

// Do sends the SDK's request.
func (a *attempt) Do(request *http.Request) (*http.Response, error) {
	watched, left := transport.Watch(request.Context())
	response, err := a.u.client.Do(request.WithContext(watched))
	a.sent = left.Load()
	if err != nil {
		return nil, err
	}
	a.status, a.date = response.StatusCode, transport.Date(response.Header)
	return response, nil
}

// SignHTTP signs for Custody's clock, brought onto AWS's where they were found to differ.
func (a *attempt) SignHTTP(ctx context.Context, as aws.Credentials, r *http.Request, hash, service, region string, _ time.Time, options ...func(*v4.SignerOptions)) error {
	a.signed = a.u.theirs.Now()
	return v4.NewSigner().SignHTTP(ctx, as, r, hash, service, region, a.signed, options...)
}

// asIAM and asSTS are clients for one request. The SDK is given everything, so that it looks nothing up, and repeats
// nothing: an effect after the call's deadline would be nobody's.
func (a *attempt) asIAM(v secret.Value) *iam.Client {
	options := iam.Options{
		Region: a.u.Server.Region, Credentials: static(v), HTTPClient: a, HTTPSignerV4: a, Retryer: aws.NopRetryer{},
		DisableClockSkewCorrection: true,
	}
	if a.u.Server.IAMEndpoint != "" {
		options.BaseEndpoint = aws.String(a.u.Server.IAMEndpoint)
		iam.WithSigV4SigningRegion(a.u.Server.home())(&options)
	}
	return iam.New(options)
}

func (a *attempt) asSTS(v secret.Value) *sts.Client {
	options := sts.Options{
		Region: a.u.Server.Region, Credentials: static(v), HTTPClient: a, HTTPSignerV4: a, Retryer: aws.NopRetryer{},
		DisableClockSkewCorrection: true,
	}
	if a.u.Server.STSEndpoint != "" {
		options.BaseEndpoint = aws.String(a.u.Server.STSEndpoint)
	}
	return sts.New(options)
}

func static(v secret.Value) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return accesskey.Credentials(v), nil })
}

// ask makes one request as v. When AWS refuses it because the clocks differ, it is made once more by AWS's clock: what
// was refused had no effect.
func (u *Upstream) ask(v secret.Value, do func(*attempt) error) outcome {
	for again := false; ; again = true {
		a := &attempt{u: u}
		o := a.outcome(do(a))
		if o.err == nil {
			u.remember(v.ExposeText(accesskey.ID), a.date)
		}
		if again || !o.skewed {
			return o
		}
		u.theirs.Set(a.date)
	}
}

// maxOwn bounds how many of Custody's own requests are remembered for each key.
const maxOwn = 64

// remember keeps the time of one of Custody's own requests.
func (u *Upstream) remember(id string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	times := append(u.own[id], at)
	u.own[id] = times[max(0, len(times)-maxOwn):]
}
