// SPDX-License-Identifier: Apache-2.0

package grant_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/upstream/redis"
	"custody.dev/custody/internal/wire/kinds"
)

// events are on record once by run and step.
type events struct {
	held  map[string]audit.Event
	order []audit.Event
	list  []string
	fail  error
}

func (e *events) all() iter.Seq2[audit.Event, error] {
	return func(yield func(audit.Event, error) bool) {
		for _, event := range e.order {
			if !yield(event, nil) {
				return
			}
		}
	}
}

func (e *events) Append(_ context.Context, event audit.Event) error {
	if e.fail != nil {
		return e.fail
	}
	id := string(event.Run) + event.Step
	if _, there := e.held[id]; !there {
		e.held[id] = event
		e.order = append(e.order, event)
		e.list = append(e.list, fmt.Sprintf("%s by %s because %s: %s", event.Step, event.By, event.Reason, event.Detail))
	}
	return nil
}

func book(t *testing.T) (*grant.Book, *events) {
	t.Helper()
	runs, kept := 0, &events{held: map[string]audit.Event{}}
	return &grant.Book{
		Records: memory.New(memory.Config{Incarnation: "one"}), Events: kept, Now: func() time.Time { return time.Unix(1, 0) },
		NewRun: func() authority.RunID { runs++; return authority.RunID(fmt.Sprint("run-", runs)) },
	}, kept
}

func granted(t *testing.T, b *grant.Book) []string {
	t.Helper()
	entries, err := b.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for _, entry := range entries {
		all = append(all, fmt.Sprintf("%s %s %s %t", entry.Kind, entry.Of, entry.To, entry.File))
	}
	return all
}

var (
	place  = grant.Grant{Kind: grant.Endpoint, Of: "db", To: "db.internal:5432"}
	reader = grant.Grant{Kind: grant.Reader, Of: "admin", To: "upstream/db"}
)

func TestEachChangeIsOnRecordOnce(t *testing.T) {
	b, kept := book(t)
	for range 2 {
		if _, err := b.Add(t.Context(), "ann", "a new database", []grant.Grant{place, reader}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := b.Revoke(t.Context(), "bob", "it moved", []grant.Grant{place}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"reader admin upstream/db false"}, granted(t, b)); diff != "" {
		t.Error(diff)
	}
	want := []string{
		"granted by ann because a new database: endpoint of db: db.internal:5432",
		"granted by ann because a new database: reader of admin: upstream/db",
		"grant-revoked by bob because it moved: endpoint of db: db.internal:5432",
	}
	if diff := cmp.Diff(want, kept.list); diff != "" {
		t.Error(diff)
	}
}

// A crash between the change and its event left a grant that nobody had given.
func TestCrashBeforeTheEvent(t *testing.T) {
	b, kept := book(t)
	kept.fail = errors.New("the disk is full")
	if _, err := b.Add(t.Context(), "ann", "why", []grant.Grant{place}); err == nil {
		t.Fatal("what could not be put on record is said to be granted")
	}
	kept.fail = nil
	for range 2 {
		if err := b.Amend(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if want := "granted by ann because why: endpoint of db: db.internal:5432"; len(kept.list) != 1 || kept.list[0] != want {
		t.Errorf("on record is %q, want %q", kept.list, want)
	}
}

// An authority of an earlier day granted again what had been revoked since, though the record said so.
func TestOlderAuthorityGrantsNothingThatWasRevoked(t *testing.T) {
	for name, test := range map[string]struct {
		since func(*grant.Book) error
		want  []string
	}{
		"nothing":           {func(*grant.Book) error { return nil }, []string{"endpoint db db.internal:5432 false", "reader admin upstream/db false"}},
		"one was revoked":   {func(b *grant.Book) error { return revoke(t, b, place) }, []string{"reader admin upstream/db false"}},
		"and granted again": {func(b *grant.Book) error { return errors.Join(revoke(t, b, place), add(t, b, place)) }, []string{"endpoint db db.internal:5432 false", "reader admin upstream/db false"}},
		"the file said less": {
			func(b *grant.Book) error {
				return errors.Join(b.Follow(t.Context(), "file", []grant.Grant{{Kind: grant.Recipient, Of: "prod", To: "a"}}), b.Follow(t.Context(), "file", nil))
			},
			[]string{"endpoint db db.internal:5432 false", "reader admin upstream/db false"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			older, kept := book(t)
			newer, _ := book(t)
			newer.Events, newer.NewRun = kept, func() authority.RunID { return authority.RunID(fmt.Sprint("newer-", len(kept.list))) }
			if err := errors.Join(add(t, older, place, reader), add(t, newer, place, reader), test.since(newer)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				revoked, err := grant.RevokedIn(kept.all())
				if err != nil {
					t.Fatal(err)
				}
				if err := older.Amend(t.Context(), revoked); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(test.want, granted(t, older)); diff != "" {
				t.Errorf("granted are (-want +got):\n%s", diff)
			}
		})
	}
}

// What was granted again and is not on record yet is not taken for what was revoked before.
func TestGrantThatIsOwedToTheRecordStays(t *testing.T) {
	b, kept := book(t)
	if err := errors.Join(add(t, b, place), revoke(t, b, place)); err != nil {
		t.Fatal(err)
	}
	kept.fail = errors.New("the disk is full")
	if add(t, b, place) == nil {
		t.Fatal("it is said to be granted")
	}
	revoked, _ := grant.RevokedIn(kept.all())
	if kept.fail = nil; b.Amend(t.Context(), revoked) != nil || len(granted(t, b)) != 1 {
		t.Errorf("granted are %q, want what was granted last", granted(t, b))
	}
}

// A record that was cut may know that a grant was revoked and not that it was given again: the authority knows.
func TestGrantedAgainAndCutOffTheRecord(t *testing.T) {
	b, kept := book(t)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	b.Now = func() time.Time { now = now.Add(time.Second); return now }
	for _, change := range []func(*testing.T, *grant.Book, ...grant.Grant) error{add, revoke, add} {
		if err := change(t, b, place); err != nil {
			t.Fatal(err)
		}
	}
	kept.order = kept.order[:2]
	revoked, err := grant.RevokedIn(kept.all())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Amend(t.Context(), revoked); err != nil || len(granted(t, b)) != 1 {
		t.Errorf("%v, granted are %q, want what was granted last", err, granted(t, b))
	}
}

// While the record takes no events, because it is older than something outside knows of, a grant can be taken back.
func TestRevokedWhileTheRecordIsBehind(t *testing.T) {
	b, kept := book(t)
	if err := add(t, b, place); err != nil {
		t.Fatal(err)
	}
	kept.fail = fmt.Errorf("appending: %w", audit.ErrBehind)
	if err := revoke(t, b, place); err != nil || len(granted(t, b)) > 0 {
		t.Errorf("revoking it: %v, and granted are %q", err, granted(t, b))
	}
	kept.fail = nil
	for range 2 {
		if err := b.Amend(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(kept.list) != 2 || !strings.HasPrefix(kept.list[1], "grant-revoked by bob") {
		t.Errorf("on record is %q", kept.list)
	}
}

func add(t *testing.T, b *grant.Book, grants ...grant.Grant) error {
	t.Helper()
	_, err := b.Add(t.Context(), "ann", "why", grants)
	return err
}

func revoke(t *testing.T, b *grant.Book, grants ...grant.Grant) error {
	t.Helper()
	_, err := b.Revoke(t.Context(), "bob", "it moved", grants)
	return err
}

// Two change it at once: neither is lost.
func TestLosingTheRace(t *testing.T) {
	b, kept := book(t)
	b.Records = &racing{Records: b.Records, first: func() {
		other, _ := book(t)
		other.Records, other.Events = b.Records.(*racing).Records, kept
		other.NewRun = func() authority.RunID { return "other" }
		if _, err := other.Add(t.Context(), "bob", "first", []grant.Grant{reader}); err != nil {
			t.Error(err)
		}
	}}
	if _, err := b.Add(t.Context(), "ann", "second", []grant.Grant{place}); err != nil {
		t.Fatal(err)
	}
	if got := granted(t, b); len(got) != 2 || len(kept.list) != 2 {
		t.Errorf("granted are %q, on record %q", got, kept.list)
	}
}

type racing struct {
	grant.Records
	first func()
}

func (r *racing) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	if first := r.first; first != nil {
		r.first = nil
		first()
	}
	return r.Records.Put(ctx, key, base, data)
}

func TestFollowLeavesWhatPeopleGranted(t *testing.T) {
	b, _ := book(t)
	if _, err := b.Add(t.Context(), "ann", "why", []grant.Grant{place}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ file, want []string }{
		{[]string{"a", "b"}, []string{"endpoint db db.internal:5432 false", "recipient prod a true", "recipient prod b true"}},
		{[]string{"b"}, []string{"endpoint db db.internal:5432 false", "recipient prod b true"}},
		{nil, []string{"endpoint db db.internal:5432 false"}},
	} {
		var wanted []grant.Grant
		for _, key := range step.file {
			wanted = append(wanted, grant.Grant{Kind: grant.Recipient, Of: "prod", To: key})
		}
		if err := b.Follow(t.Context(), "file", wanted); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, granted(t, b)); diff != "" {
			t.Errorf("after %v: %s", step.file, diff)
		}
	}
}

func TestParse(t *testing.T) {
	all := []grant.Grant{place, reader, {Kind: grant.Recipient, Of: grant.Root, To: "age1x"}}
	got, err := grant.Parse(grant.Format("# a comment\n", all))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Error(diff)
	}
	const head = "apiVersion: custody.dev/v1alpha1\nkind: Grants\n"
	for says, text := range map[string]string{
		"want apiVersion": "kind: Grants\n", "one document": head + "---\n" + head, "not found": head + "secrets: {a: [b]}\n",
		"each in one line": head + "readers: {a: [\"\"]}\n", "reading grants": "{",
	} {
		if _, err := grant.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", text, err, says)
		}
	}
}

func TestNeeded(t *testing.T) {
	secrets := map[string]*intent.Secret{}
	add := func(name, team string, change func(*intent.Secret)) {
		s := &intent.Secret{Name: name}
		s.Spec.Owner.Team = team
		if change != nil {
			change(s)
		}
		secrets[name] = s
	}
	of := func(upstream string) func(*intent.Secret) {
		return func(s *intent.Secret) { s.Spec.Rotation = &v1alpha1.RotationSpec{UpstreamRef: upstream} }
	}
	file := func(mode string) intent.Consumer {
		return intent.Consumer{ConsumerSpec: v1alpha1.ConsumerSpec{Name: "app", File: &v1alpha1.FileConsumer{Folder: "web", Path: "x", Mode: mode}}}
	}
	derived := func(inputs ...string) func(*intent.Secret) {
		return func(s *intent.Secret) {
			named := map[string]string{}
			for _, input := range inputs {
				named[input] = input
			}
			s.Spec.Origin.Derived = &v1alpha1.DerivedOrigin{Inputs: named}
		}
	}
	add("admin", "platform", of("db"))
	add("own", "platform", of("db"))
	add("shop", "apps", of("db"))
	add("url", "apps", derived("shop"))
	add("copy", "others", derived("shop", "url"))
	add("elsewhere", "apps", func(s *intent.Secret) { s.Namespace = "other"; derived("shop")(s) })
	add("group", "apps", func(s *intent.Secret) { s.Consumers = []intent.Consumer{file(""), file("0600"), file("0640")} })
	add("all", "apps", func(s *intent.Secret) { s.Consumers = []intent.Consumer{file("0644")} })
	estate := &intent.Estate{Types: kinds.Upstreams(), Secrets: secrets, Upstreams: map[string]v1alpha1.Upstream{"db": {
		Header: v1alpha1.Header{Metadata: v1alpha1.Metadata{Name: "db"}},
		Spec:   v1alpha1.UpstreamSpec{AdminRef: "admin", Server: v1alpha1.Parameters{"redis": &redis.ServerSpec{Host: "127.0.0.1", Port: 1}}},
	}}}
	estate.Platform.Spec.RootRecipients = []string{"age1root"}
	estate.Platform.Spec.BootstrapRecipients = map[string]string{"prod": "age1prod"}
	var got []string
	for _, need := range grant.Needed(estate) {
		got = append(got, fmt.Sprintf("%s %s %s holds %s %s", need.Kind, need.Of, need.To, strings.Join(need.Holds, ","), need.Consumer))
	}
	want := []string{
		"endpoint db 127.0.0.1:1 holds admin,own,shop ",
		"reader admin upstream/db holds admin,own,shop ",
		"reader all consumer/app in folder web, mode 0644 holds all app",
		"reader shop secret/copy holds copy ",
		"reader shop secret/elsewhere holds elsewhere ",
		"reader url secret/copy holds copy ",
		"recipient prod age1prod holds  ",
		"recipient root age1root holds  ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if held := grant.Held(grant.Needed(estate)); len(held) != 5 || held["all"].Of != "" {
		t.Errorf("held are %v", held)
	}
}
