// SPDX-License-Identifier: Apache-2.0

package notify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
)

// chat is a channel that keeps what it took.
type chat struct {
	mu    sync.Mutex
	taken []notify.Message
	to    [][]string
	// fails is asked before each message; nil or a nil result takes it. What is taken although it fails is kept too.
	fails func() error
	keeps bool
}

func (c *chat) Send(ctx context.Context, to []string, m notify.Message) error {
	c.mu.Lock()
	fails := c.fails
	c.mu.Unlock()
	var err error
	if fails != nil {
		err = fails()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || c.keeps {
		c.taken, c.to = append(c.taken, m), append(c.to, to)
	}
	return err
}

func (c *chat) set(fails func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails = fails
}

// texts are the messages taken so far, and forgets them.
func (c *chat) texts() (texts []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.taken {
		texts = append(texts, m.Subject+"\n"+m.Text)
	}
	c.taken, c.to = nil, nil
	return texts
}

// desk is a platform whose findings a test chooses.
type desk struct {
	t        *testing.T
	notifier *notify.Notifier
	store    *authoritymemory.Store
	apps     *chat
	ops      *chat
	findings []notify.Finding
	unknown  map[string]bool
	blind    bool
	ids      atomic.Int64
}

var (
	apps  = notify.Owner{Team: "apps", Contact: "apps@example.org"}
	rules = notify.Rules{
		Teams: map[string]notify.Target{"apps": {Webhook: "apps"}}, Default: &notify.Target{Webhook: "ops"}, Domains: []string{"example.org"},
	}
)

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, store: authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: time.Now}), apps: &chat{}, ops: &chat{}}
	d.start()
	return d
}

// start is a new process.
func (d *desk) start() {
	d.notifier = notify.New(notify.Config{
		Platform: "home/prod", Rules: rules, Documents: d.store, Calls: outward.New(time.Now), Now: time.Now,
		Channels: map[string]notify.Channel{"webhook apps": d.apps, "webhook ops": d.ops},
		NewID:    func() string { return fmt.Sprintf("id-%d", d.ids.Add(1)) },
	})
}

// tick lets the notifier look once, and waits until it has done what is due.
func (d *desk) tick() {
	d.notifier.Tick(d.t.Context(), notify.Seen{At: time.Now(), Findings: d.findings, Owners: []notify.Owner{apps}, Unknown: d.unknown, Blind: d.blind})
	synctest.Wait()
}

// pass ticks every 30 s, as a server does.
func (d *desk) pass(lasts time.Duration) {
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(30 * time.Second) {
		d.tick()
	}
}

// hours ticks every half hour, for what takes days.
func (d *desk) hours(lasts time.Duration) {
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(30 * time.Minute) {
		d.tick()
	}
}

func (d *desk) want(who *chat, count int, words ...string) {
	d.t.Helper()
	texts := who.texts()
	if len(texts) != count {
		d.t.Fatalf("%d messages, want %d:\n%s", len(texts), count, strings.Join(texts, "\n---\n"))
	}
	all := strings.Join(texts, "\n")
	for _, word := range words {
		if !strings.Contains(all, word) {
			d.t.Fatalf("no %q in:\n%s", word, all)
		}
	}
}

// refused is a finding about a secret of apps.
func refused(name string) notify.Finding {
	return notify.Finding{Secret: name, Owner: apps, Reason: reason.New(reason.ValueRefused, reason.Args{"since": "now", "version": "7", "rotate": name, "supply": name})}
}

func bubble(t *testing.T, test func(*desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newDesk(t)) })
}

// What comes together is one message; it comes once, however often it is looked at and whoever starts again.
func TestFindingsAreToldOnce(t *testing.T) {
	bubble(t, func(d *desk) {
		d.findings = []notify.Finding{refused("b"), refused("a")}
		d.pass(5 * time.Minute)
		d.want(d.apps, 1, "[custody home/prod] findings: 2 new", "- a: its upstream has refused the current value", "`custody rotate a --reason TEXT`", "[value-refused]", "owner apps", "since 20")
		d.start()
		d.pass(20 * time.Minute)
		d.want(d.apps, 0)
		d.want(d.ops, 0)
	})
}

// What mends itself within a minute is nobody's.
func TestWhatPassesIsNotTold(t *testing.T) {
	bubble(t, func(d *desk) {
		d.findings = []notify.Finding{refused("a")}
		d.tick()
		d.findings = nil
		d.pass(time.Hour)
		d.want(d.apps, 0)
	})
}

// A finding that changes while it lasts is the same one: else its owner is told at every look.
func TestSameFindingInOtherWords(t *testing.T) {
	bubble(t, func(d *desk) {
		for i := range 10 {
			f := refused("a")
			f.Reason = f.Reason.With(reason.Args{"since": fmt.Sprint(i)}).Because(fmt.Sprint("try ", i))
			d.findings = []notify.Finding{f}
			d.pass(5 * time.Minute)
		}
		d.want(d.apps, 1)
	})
}

// It is told again as it ages, less and less often; after a week the default is told as well.
func TestRemindersBecomeRarer(t *testing.T) {
	bubble(t, func(d *desk) {
		d.findings = []notify.Finding{refused("a")}
		at := []int{}
		for day := range 100 {
			d.hours(24 * time.Hour)
			if texts := d.apps.texts(); len(texts) > 0 {
				at = append(at, day)
			}
		}
		if want := []int{0, 1, 7, 37, 67, 97}; !slices.Equal(at, want) {
			t.Errorf("told on days %v, want %v", at, want)
		}
		d.want(d.ops, 4, "value-refused", "owner apps") // 7, 37, 67, 97
	})
}

// That it is over is told once, to whoever was told that it was there, and not for what comes and goes.
func TestOverIsToldOnce(t *testing.T) {
	bubble(t, func(d *desk) {
		d.findings = []notify.Finding{refused("a")}
		d.pass(3 * time.Minute)
		d.want(d.apps, 1)
		for range 10 {
			d.findings = nil
			d.pass(2 * time.Minute)
			d.findings = []notify.Finding{refused("a")}
			d.pass(2 * time.Minute)
		}
		d.want(d.apps, 0)
		d.findings = nil
		d.pass(20 * time.Minute)
		d.want(d.apps, 1, "findings: 1 over", "Over:", "- a: ")
		d.start()
		d.pass(time.Hour)
		d.want(d.apps, 0)
		d.want(d.ops, 0)
	})
}

// A process that has not looked at a secret yet knows nothing of it: that is not the end of its findings.
func TestStartIsNotTheEndOfFindings(t *testing.T) {
	bubble(t, func(d *desk) {
		d.findings = []notify.Finding{refused("a")}
		d.pass(3 * time.Minute)
		d.want(d.apps, 1)
		d.start()
		d.findings, d.unknown = nil, map[string]bool{"a": true}
		d.pass(time.Hour)
		d.unknown, d.blind = nil, true
		d.pass(time.Hour)
		d.findings, d.blind = []notify.Finding{refused("a")}, false
		d.pass(time.Hour)
		d.want(d.apps, 0)
	})
}

// A storm is one summary, and no owner is told more than four times an hour.
func TestStormIsASummary(t *testing.T) {
	bubble(t, func(d *desk) {
		for i := range 300 {
			d.findings = append(d.findings, refused(fmt.Sprintf("s-%03d", i)))
		}
		d.pass(3 * time.Minute)
		d.want(d.apps, 1, "findings: 300 new", "- 300 with value-refused: s-000, s-001, s-002 and 297 more")
		for i := range 57 { // each minute another
			d.findings = append(d.findings, refused(fmt.Sprintf("t-%03d", i)))
			d.pass(time.Minute)
		}
		d.want(d.apps, 3)
		d.pass(time.Hour)
		d.want(d.apps, 1, "findings: 51 new") // what came after the fourth
	})
}

// A target that is away holds up nobody else, is tried with growing pauses, and is a finding that the default is told of.
func TestTargetThatIsAway(t *testing.T) {
	bubble(t, func(d *desk) {
		tries := 0
		d.apps.set(func() error { tries++; return &notify.Failure{Detail: "HTTP 500"} })
		d.findings = []notify.Finding{refused("a"), {Reason: reason.New(reason.EstateNotKept, nil)}}
		d.pass(2 * time.Hour)
		if tries < 5 || tries > 10 {
			t.Errorf("%d tries in two hours", tries)
		}
		d.want(d.ops, 1, "the platform: saving a copy of the estate in force failed")
		found := d.notifier.Reasons()
		if len(found) != 1 || !found[0].Is(reason.TargetAway) || found[0].Args["count"] != "1" || found[0].Cause != "HTTP 500" {
			t.Fatalf("findings %v", found)
		}
		d.findings = append(d.findings, notify.Finding{Reason: found[0]})
		d.pass(5 * time.Minute)
		d.want(d.ops, 1, "webhook apps has accepted no message since", "HTTP 500", "`custody notify test --owner apps`")
		d.apps.set(nil)
		d.findings = d.findings[:2]
		d.pass(90 * time.Minute)
		d.want(d.apps, 1, "- a: ")
		if found := d.notifier.Reasons(); len(found) > 0 {
			t.Errorf("it took a message, and is away: %v", found)
		}
	})
}

// A target that hangs holds up its own route alone.
func TestTargetThatHangs(t *testing.T) {
	bubble(t, func(d *desk) {
		end := make(chan struct{})
		d.apps.set(func() error { <-end; return &notify.Failure{Detail: "late"} })
		d.findings = []notify.Finding{refused("a"), {Reason: reason.New(reason.EstateNotKept, nil)}}
		d.pass(90 * time.Second)
		d.want(d.ops, 1)
		close(end)
		d.pass(time.Minute)
	})
}

// A server that asks to be left alone is, and for hours at most.
func TestRetryAfterIsRespected(t *testing.T) {
	bubble(t, func(d *desk) {
		tries := 0
		d.apps.set(func() error { tries++; return &notify.Failure{Detail: "HTTP 429", After: 2 * time.Hour} })
		d.findings = []notify.Finding{refused("a")}
		d.pass(119 * time.Minute)
		if tries != 1 {
			t.Errorf("%d tries within the two hours it asked for", tries)
		}
		d.apps.set(func() error { tries++; return &notify.Failure{Detail: "HTTP 429", After: 1000 * time.Hour} })
		d.pass(20 * time.Hour)
		if tries < 3 || tries > 6 {
			t.Errorf("%d tries in a day of a server that wants to be left alone for weeks", tries)
		}
	})
}

// A message whose outcome is not known is sent once more under its id, and never a third time.
func TestLostAnswerSendsTwiceAtMost(t *testing.T) {
	bubble(t, func(d *desk) {
		d.apps.keeps = true
		d.apps.set(func() error { return &notify.Failure{Detail: "no answer", Doubt: true} })
		d.findings = []notify.Finding{refused("a")}
		d.pass(5 * time.Hour)
		d.apps.mu.Lock()
		defer d.apps.mu.Unlock()
		if len(d.apps.taken) != 2 || d.apps.taken[0].ID != d.apps.taken[1].ID {
			t.Errorf("sent %v", d.apps.taken)
		}
	})
}

// dying is a store of a process that dies at its nth write, before or after that is stored.
type dying struct {
	*authoritymemory.Store
	left  atomic.Int64
	after bool
	die   func()
}

func (s *dying) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	left := s.left.Add(-1)
	if left == 0 && s.after {
		_, _ = s.Store.Put(ctx, key, base, data)
	}
	if left <= 0 {
		s.die()
		return 0, errors.New("dead")
	}
	return s.Store.Put(ctx, key, base, data)
}

// A process that dies at any of its writes, before or after a message, tells the owner once or twice, and never not at all.
func TestCrashTellsOnceOrTwice(t *testing.T) {
	for dies := range 8 {
		bubble(t, func(d *desk) {
			ctx, die := context.WithCancel(d.t.Context())
			defer die()
			store := &dying{Store: d.store, after: dies%2 == 1, die: die}
			store.left.Store(1 + int64(dies)/2)
			first := notify.New(notify.Config{
				Platform: "home/prod", Rules: rules, Documents: store, Calls: outward.New(time.Now), Now: time.Now,
				Channels: map[string]notify.Channel{"webhook apps": d.apps, "webhook ops": d.ops}, NewID: func() string { return "of-the-dead" },
			})
			d.findings = []notify.Finding{refused("a")}
			for range 6 {
				if ctx.Err() == nil {
					first.Tick(ctx, notify.Seen{At: time.Now(), Findings: d.findings, Owners: []notify.Owner{apps}})
				}
				synctest.Wait()
				time.Sleep(30 * time.Second)
			}
			d.start()
			d.pass(3 * time.Hour)
			d.apps.mu.Lock()
			defer d.apps.mu.Unlock()
			ids := map[string]int{}
			for _, m := range d.apps.taken {
				ids[m.ID]++
			}
			if n := len(d.apps.taken); n < 1 || n > 2 || len(ids) != 1 {
				d.t.Errorf("dead at write %d, stored %t: told %d times, ids %v", 1+dies/2, dies%2 == 1, n, ids)
			}
		})
	}
}

// What somebody wrote into a document chooses nobody but whom the operator allows.
func TestEstateChoosesAmongWhatTheOperatorAllows(t *testing.T) {
	reached := notify.Rules{
		Teams: map[string]notify.Target{"apps": {Webhook: "apps", Mail: []string{"apps@example.org"}}}, Default: &notify.Target{Webhook: "ops"},
		Domains: []string{"example.org"},
	}
	for _, test := range []struct{ team, contact, want string }{
		{"apps", "x@elsewhere.example", "team apps: webhook apps; team apps: mail to apps@example.org"},
		{"web", "web@example.org", "contact web@example.org: mail to web@example.org"},
		{"web", "Web@EXAMPLE.org", "contact Web@example.org: mail to Web@example.org"},
		{"web", "web@elsewhere.example", "default: webhook ops"},
		{"web", "web@example.org.elsewhere.example", "default: webhook ops"},
		{"web", "web@sub.example.org", "default: webhook ops"},
		{"web", "web@example.org, x@elsewhere.example", "default: webhook ops"},
		{"web", "web@example.org\r\nBcc: x@elsewhere.example", "default: webhook ops"},
		{"web", "x@elsewhere.example <web@example.org>", "default: webhook ops"},
		{"web", `"x@elsewhere.example"@example.org`, "default: webhook ops"},
		{"web", "x%elsewhere.example@example.org", "contact x%elsewhere.example@example.org: mail to x%elsewhere.example@example.org"},
		{"web", "-oQ/tmp@example.org", "default: webhook ops"},
		{"", "", "default: webhook ops"},
	} {
		var got []string
		for _, r := range reached.Of(notify.Owner{Team: test.team, Contact: test.contact}) {
			got = append(got, r.Owner+": "+r.String())
		}
		if got := strings.Join(got, "; "); got != test.want {
			t.Errorf("%q %q: %s, want %s", test.team, test.contact, got, test.want)
		}
	}
	if routes := (notify.Rules{}).Of(apps); len(routes) > 0 {
		t.Errorf("nobody is named, and %v are told", routes)
	}
}

// An owner whom nobody reaches is a finding.
func TestOwnerWhomNobodyReaches(t *testing.T) {
	bubble(t, func(d *desk) {
		d.notifier.Rules = notify.Rules{}
		d.findings = []notify.Finding{refused("a")}
		d.tick()
		if found := d.notifier.Reasons(); len(found) != 1 || !found[0].Is(reason.OwnerUnreached) || found[0].Args["owners"] != "apps" {
			t.Errorf("findings %v", found)
		}
	})
}

// What a document or a part says cannot become another line of a message.
func TestMessageHasTheLinesThatItWasGiven(t *testing.T) {
	bubble(t, func(d *desk) {
		f := refused("a")
		f.Owner.Team = "apps"
		f.Reason = f.Reason.Because("no route\r\nBcc: x@elsewhere.example\x1b[2J\u202e\u2028" + strings.Repeat("x", 5000))
		d.findings = []notify.Finding{f}
		d.pass(2 * time.Minute)
		texts := d.apps.texts()
		if len(texts) != 1 || strings.ContainsAny(texts[0], "\r\x1b\u202e\u2028") || strings.Contains(texts[0], "\nBcc") || len(texts[0]) > 2000 {
			t.Errorf("told %q", texts)
		}
	})
}
