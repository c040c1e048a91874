// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"io"
	"testing"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream/mail"
)

func TestMailDocumentReachesTheUpstream(t *testing.T) {
	p := &parts{host: v1alpha1.HostSpec{Folders: map[string]string{"mail": t.TempDir()}}}
	made, err := mailUpstream(p, binding{
		claim: "shop/test/relay", known: func(context.Context) ([]secret.Value, error) { return nil, nil }, password: func(io.Reader) (string, error) { return "made-by-rule", nil },
		server: v1alpha1.UpstreamSpec{Mail: &v1alpha1.MailUpstream{
			Submission: v1alpha1.MailSubmission{Host: "mail.internal"}, Cost: 5, Settle: "1s",
			PasswdFile: &v1alpha1.MailPasswdFile{Folder: "mail", File: "users"},
		}},
		account: v1alpha1.Account{Mail: &v1alpha1.MailAccount{Mode: "overwrite", User: "shop"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	u := made.(*mail.Upstream)
	if u.Cost != 5 || u.Kind().Settle != time.Second || u.Known == nil {
		t.Errorf("got cost %d, settling in %s, known credentials: %v; want 5, 1s and some", u.Cost, u.Kind().Settle, u.Known != nil)
	}
}
