// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"io"
	"testing"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/secret"
)

func TestMySQLDocumentReachesTheUpstream(t *testing.T) {
	b := binding{
		claim: "shop/test/shop-db", password: func(io.Reader) (string, error) { return "made-by-rule", nil },
		admin:   func(context.Context) ([]secret.Value, error) { return nil, nil },
		server:  v1alpha1.UpstreamSpec{MySQL: &v1alpha1.MySQLUpstream{Host: "db.internal", Product: "mariadb", WrongEvery: "10m"}},
		account: v1alpha1.Account{MySQL: &v1alpha1.MySQLAccount{Mode: "overwrite", User: "shop"}},
	}
	made, err := mysqlUpstream(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	if got := made.Kind().WrongEvery; got != 10*time.Minute {
		t.Errorf("least time between wrong sign-ins: got %s, want 10m", got)
	}
	b.server.MySQL.WrongEvery = "often"
	if _, err := mysqlUpstream(nil, b); err == nil {
		t.Error("a duration that is none: got no error")
	}
}
