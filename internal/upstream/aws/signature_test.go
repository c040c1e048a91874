// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// signedFor is how far from AWS's clock a request may have been signed.
const signedFor = 5 * time.Minute

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/([0-9]{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=[0-9a-f]{64}$`)

func readForm(r *http.Request) ([]byte, url.Values, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, err
	}
	form, err := url.ParseQuery(string(body))
	return body, form, err
}

// authenticate recomputes a request's signature. IAM is signed for us-east-1, STS for its region.
func (c *cloud) authenticate(r *http.Request, body []byte) (key *cloudKey, region, service string, failure cloudError) {
	unknown := cloudError{http.StatusForbidden, "InvalidClientTokenId"}
	mismatch := cloudError{http.StatusForbidden, "SignatureDoesNotMatch"}
	parts := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if parts == nil {
		return nil, "", "", cloudError{http.StatusForbidden, "MissingAuthenticationToken"}
	}
	region, service = parts[3], parts[4]
	if want := map[string]string{"iam": "us-east-1", "sts": testRegion}[service]; want != region {
		return nil, "", "", mismatch
	}
	key = c.find(parts[1])
	if key == nil || !c.honours(key) {
		return nil, "", "", unknown
	}
	signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(signed).Abs() > signedFor {
		return nil, "", "", mismatch // "Signature expired", by the same code
	}
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), nil)
	if err != nil {
		return nil, "", "", mismatch
	}
	for _, name := range strings.Split(parts[5], ";") {
		switch name {
		case "host":
		case "content-length":
			again.ContentLength = r.ContentLength
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	sum := sha256.Sum256(body)
	as := aws.Credentials{AccessKeyID: key.id, SecretAccessKey: key.secret}
	if v4.NewSigner().SignHTTP(r.Context(), as, again, hex.EncodeToString(sum[:]), service, region, signed) != nil ||
		subtle.ConstantTimeCompare([]byte(again.Header.Get("Authorization")), []byte(r.Header.Get("Authorization"))) != 1 {
		return nil, "", "", mismatch
	}
	return key, region, service, cloudError{}
}
