// SPDX-License-Identifier: Apache-2.0

package intake_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/intake"
	"custody.dev/custody/internal/secret"
)

const canary = "canary-8d21"

func sealed(t *testing.T, key, name string, generation uint64, text string) []byte {
	t.Helper()
	v, err := secret.Text(map[string]string{secret.SingleField: text})
	if err != nil {
		t.Fatal(err)
	}
	file, err := intake.Seal(key, intake.Sealed{Secret: name, Generation: generation, Reason: "a test", Made: time.Unix(1_900_000_000, 0), Value: v})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, []byte(canary)) {
		t.Fatal("the file holds the value")
	}
	return file
}

// desk is a platform's intake, and what was supplied.
type desk struct {
	intake.Book
	got  []string
	fail error
}

func newDesk(t *testing.T) (*desk, string) {
	t.Helper()
	d := &desk{Book: intake.Book{Records: memory.New(memory.Config{Incarnation: "one", Clock: time.Now}), Now: time.Now}}
	if _, _, err := d.Key(t.Context(), false); !errors.Is(err, authority.ErrNotFound) {
		t.Errorf("got %v from asking for a key that there is not", err)
	}
	key, made, err := d.Key(t.Context(), true)
	if err != nil || !made {
		t.Fatalf("got %t, %v from making the key", made, err)
	}
	if again, made, err := d.Key(t.Context(), true); again != key || made || err != nil {
		t.Errorf("got %s, %t, %v the second time, want the same key", again, made, err)
	}
	return d, key
}

func (d *desk) take(t *testing.T, file []byte) (authority.RunID, error) {
	t.Helper()
	return d.Take(t.Context(), "smtp", "mail/smtp", file, func(s intake.Sealed) (authority.RunID, error) {
		if d.fail != nil {
			return "", d.fail
		}
		d.got = append(d.got, s.Value.ExposeText(secret.SingleField))
		return authority.RunID("run-" + s.Value.ExposeText(secret.SingleField)), nil
	})
}

func TestNewerGenerationsAreTakenOnce(t *testing.T) {
	d, key := newDesk(t)
	first, second := sealed(t, key, "smtp", 1, canary+"-1"), sealed(t, key, "smtp", 2, canary+"-2")
	for range 2 {
		if run, err := d.take(t, first); run != "run-"+canary+"-1" || err != nil {
			t.Errorf("got %s, %v", run, err)
		}
	}
	if run, err := d.take(t, append([]byte("\n"), second...)); run != "run-"+canary+"-2" || err != nil {
		t.Errorf("got %s, %v", run, err)
	}
	for name, file := range map[string][]byte{"older": first, "of the same generation": sealed(t, key, "smtp", 2, canary+"-other")} {
		if _, err := d.take(t, file); !errors.Is(err, intake.ErrOlder) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if len(d.got) != 2 {
		t.Errorf("got %d values supplied, want 2", len(d.got))
	}
}

// What could not be supplied is not taken: it can come again, and an older one is refused all the same.
func TestValueThatIsRefusedCanComeAgain(t *testing.T) {
	d, key := newDesk(t)
	file := sealed(t, key, "smtp", 5, canary)
	d.fail = errors.New("another run is under way")
	if _, err := d.take(t, file); !errors.Is(err, d.fail) {
		t.Fatalf("got %v", err)
	}
	d.fail = nil
	if _, err := d.take(t, sealed(t, key, "smtp", 4, "older")); !errors.Is(err, intake.ErrOlder) {
		t.Errorf("got %v for an older one", err)
	}
	if run, err := d.take(t, file); run == "" || err != nil {
		t.Errorf("got %q, %v the second time", run, err)
	}
}

func TestWhatIsNotForThisIsRefused(t *testing.T) {
	d, key := newDesk(t)
	_, elsewhere := newDesk(t)
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"another key":    {sealed(t, elsewhere, "smtp", 1, canary), intake.ErrNotSealed},
		"another secret": {sealed(t, key, "imap", 1, canary), intake.ErrOtherSecret},
		"nothing":        {nil, intake.ErrNotSealed},
		"plain":          {[]byte(canary), intake.ErrNotSealed},
		"cut short":      {sealed(t, key, "smtp", 1, canary)[:200], intake.ErrNotSealed},
	} {
		if _, err := d.take(t, c.file); !errors.Is(err, c.want) || bytes.Contains([]byte(err.Error()), []byte(canary)) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if len(d.got) != 0 {
		t.Error("something was supplied")
	}
	if _, err := intake.Seal(key, intake.Sealed{Secret: "smtp"}); err == nil {
		t.Error("a value without a generation was sealed")
	}
	if _, err := intake.Seal("age1nothing", intake.Sealed{Secret: "smtp", Generation: 1}); err == nil {
		t.Error("a value was sealed to no key")
	}
}
