// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
)

const (
	siemKey = "the-key-of-the-siem"
	// breakAfter is short for the test, and long enough for a run on a busy machine to promote before it is over.
	breakAfter = 6 * time.Second
)

// report posts a signed report of a compromise of app-database.
func (r *rig) report(id string) (status int, body string) {
	r.t.Helper()
	payload, at := `{"ask":"compromise","secret":"app-database","reason":"found in a paste"}`, strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(siemKey))
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, at, payload)
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.address+"/hooks/siem", bytes.NewReader([]byte(payload)))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("webhook-id", id)
	request.Header.Set("webhook-timestamp", at)
	request.Header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	said, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, string(said)
}

// session signs in and stays.
func (r *rig) session(c credential) *pgconn.PgConn {
	r.t.Helper()
	v, err := secret.Text(map[string]string{"username": c.Username, "password": c.Password})
	if err != nil {
		r.t.Fatal(err)
	}
	conn, err := r.database.Connect(r.t.Context(), v, "postgres")
	if err != nil {
		r.t.Fatal(err)
	}
	return conn
}

func (r *rig) works(conn *pgconn.PgConn) bool {
	_, err := conn.Exec(r.t.Context(), "SELECT 1").ReadAll()
	return err == nil
}

// TestCompromiseByWebhook reports a credential while its run waits for a consumer that never proves: both that and the one that the run
// made are refused within the policy's time, open sessions end, nobody else is touched, and the report is served once.
func TestCompromiseByWebhook(t *testing.T) {
	t.Parallel()
	r := newRig(t, "200ms")
	r.replace("estate/policies.yaml", "quietWindow:", fmt.Sprintf("onCompromise: {breakConsumersAfter: %s, endSessions: true}, quietWindow:", breakAfter))
	app := r.read("estate/app.yaml")
	app = app[:strings.Index(app, "  consumers:")]
	other := strings.NewReplacer("app-database", "other-database", "postgres/main/app", "postgres/main/other", "owner: app", "owner: other", "app_a, app_b", "other_a, other_b").Replace(app)
	r.write("estate/other.yaml", other+"  consumers:\n    - name: polling\n      file: {folder: app, path: other.json, format: json, versionKey: version}\n")
	r.write("keys/siem", siemKey)
	r.write("custody.yaml", r.read("custody.yaml")+"  webhooks:\n    - {name: siem, kind: generic, secretFile: keys/siem, may: {ask: [compromise], secrets: [app-database]}}\n")
	r.sql("GRANT pg_signal_backend TO " + adminUser)
	clients := r.begin(true)
	r.settled("other-database", "")
	first := r.current()
	neighbour := r.session(r.delivered("app/other.json"))
	r.request("app-database")
	r.finding("app-database", reason.ProofMissing, "holding")
	second := r.current()
	stuck := r.row("app-database").Live.ID
	thieves := []*pgconn.PgConn{r.session(first), r.session(second)}

	status, answer := r.report("delivery-1")
	if status != http.StatusAccepted {
		t.Fatalf("the report: %d %s", status, answer)
	}
	eventually(t, "both old credentials to be refused", func() bool { return r.refused(first) && r.refused(second) })
	eventually(t, "the run to end", func() bool { return r.row("app-database").Live == nil })
	if r.refused(r.current()) {
		t.Error("the new credential is refused")
	}
	for i, thief := range thieves {
		if r.works(thief) {
			t.Errorf("the session of old credential %d is open", i+1)
		}
	}
	last := r.row("app-database").Last
	run := decode[server.Run](t, r.ok("run", "show", string(last.Run), "-o", "json"))
	if run.Revocation <= 0 || run.Revocation > breakAfter+hang/4 || !strings.Contains(r.ok("run", "show", string(last.Run)), "time to revocation") {
		t.Errorf("the time to revocation is %s, the policy says %s", run.Revocation, breakAfter)
	}
	if got := decode[server.Run](t, r.ok("run", "show", string(stuck), "-o", "json")); got.Result != "superseded" {
		t.Errorf("the run that waited is %s", got.Result)
	}
	r.finding("app-database", reason.ConsumersBroken, "holding", "webhook siem")
	if !strings.Contains(r.ok("audit", "log", "--secret", "app-database"), "after the report of webhook siem was acknowledged") {
		t.Error("the time to revocation is not on record")
	}

	again, said := r.report("delivery-1")
	if again != status || said != answer {
		t.Errorf("the report again: %d %s, want %d %s", again, said, status, answer)
	}
	r.steady()
	if now := r.row("app-database"); now.Live != nil || now.Last.Run != last.Run {
		t.Errorf("a report that came twice began run %+v", now)
	}
	if !r.works(neighbour) || r.refused(r.delivered("app/other.json")) || len(r.runs("other-database", "rotation")) != 1 {
		t.Error("the client of another secret was disturbed")
	}
	clients.stop(t)
	fmt.Printf("acceptance: a compromise with a consumer that never proves: refused after %s, the policy says %s\n", run.Revocation.Round(time.Millisecond), breakAfter)
}
