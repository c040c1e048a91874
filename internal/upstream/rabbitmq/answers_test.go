// SPDX-License-Identifier: Apache-2.0

package rabbitmq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/rabbitmq"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// between stands before the management interface, reads along, and does as it is told with some requests.
type between struct {
	through http.Handler
	// meddle answers a request itself, or returns false.
	meddle func(w http.ResponseWriter, request *http.Request) bool

	mu   sync.Mutex
	seen bytes.Buffer
}

func (b *between) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	b.mu.Lock()
	fmt.Fprintf(&b.seen, "%s %s %s\n%s\n", request.Method, request.URL.EscapedPath(), request.Header, body)
	b.mu.Unlock()
	if b.meddle != nil && b.meddle(w, request) {
		return
	}
	copied := request.Clone(context.WithoutCancel(request.Context())) // it arrives even when the caller has gone
	copied.Body = io.NopCloser(bytes.NewReader(body))
	b.through.ServeHTTP(struct{ http.ResponseWriter }{w}, copied) // which does not tell that the caller has gone
}

func (b *between) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen.String()
}

func (r *rig) between(config *rabbitmq.Config) *between {
	r.Helper()
	target, err := url.Parse(fmt.Sprintf("http://%s:%d", r.server.Host, r.server.ManagementPort))
	if err != nil {
		r.Fatal(err)
	}
	b := &between{through: httputil.NewSingleHostReverseProxy(target)}
	server := httptest.NewServer(b)
	r.Cleanup(server.Close)
	config.Server.ManagementPort = server.Listener.Addr().(*net.TCPAddr).Port
	return b
}

func testNotSent(r *rig) {
	for _, mode := range modes {
		config := r.config(mode)
		b := r.between(&config)
		u := r.open(config)
		first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		second := upstreamtest.Issue(r, u, "run-2", first)
		if err := u.Revoke(r.Context(), "run-2", first, second); err != nil {
			r.Fatal(err)
		}
		if !strings.Contains(b.text(), "password_hash") {
			r.Errorf("%s: no hash was sent: the search proves nothing", mode)
		}
		for _, v := range []secret.Value{first, second} {
			if strings.Contains(b.text(), v.ExposeText("password")) {
				r.Errorf("%s: a password was sent to be set", mode)
			}
		}
		requests := strings.Count(b.text(), "/api/")
		r.Logf("%s: %d requests for two applications and a revocation", mode, requests)
	}
}

func testAnswers(r *rig) {
	away := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		r.Errorf("a request followed the redirect, with authorization %v", request.Header["Authorization"] != nil)
	}))
	defer away.Close()
	write := func(request *http.Request) bool {
		return request.Method == http.MethodPut && strings.Contains(request.URL.Path, "/users/")
	}
	read := func(request *http.Request) bool {
		return request.Method == http.MethodGet && strings.Contains(request.URL.Path, "/users/")
	}
	answers := func(status int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "7")
			w.Header().Set("Location", away.URL)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"error":"it was pw-quoted","reason":"pw-quoted"}`)
		}
	}
	says := func(text string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = io.WriteString(w, text) }
	}
	for _, test := range []struct {
		name      string
		when      func(*http.Request) bool
		answer    func(http.ResponseWriter)
		ambiguous bool
		later     time.Duration
	}{
		{"reading is throttled", read, answers(429), false, 7 * time.Second},
		{"writing is throttled", write, answers(429), false, 7 * time.Second},
		{"reading fails", read, answers(503), false, 0},
		{"writing fails", write, answers(503), true, 0},
		{"writing is refused", write, answers(400), false, 0},
		{"reading is sent elsewhere", read, answers(307), false, 0},
		{"writing is sent elsewhere", write, answers(307), true, 0},
		{"reading gives no JSON", read, says("<html>pw-quoted</html>"), false, 0},
		{"reading gives another user", read, says(`{"name":"pw-quoted"}`), false, 0},
	} {
		config := r.config(upstream.Overwrite)
		first := upstreamtest.Issue(r, r.open(config), "run-1", secret.Value{})
		b := r.between(&config)
		b.meddle = func(w http.ResponseWriter, request *http.Request) bool {
			if test.when(request) {
				test.answer(w)
				return true
			}
			return false
		}
		u := r.open(config)
		candidate, err := u.Propose(r.Context(), first)
		if err != nil {
			r.Fatal(err)
		}
		_, err = u.Apply(r.Context(), "run-2", first, candidate)
		var later *upstream.Later
		if err == nil || errors.Is(err, upstream.ErrNotApplied) == test.ambiguous || errors.As(err, &later) != (test.later > 0) {
			r.Errorf("%s: got %v, want ambiguous: %v, later: %s", test.name, err, test.ambiguous, test.later)
		}
		if later != nil && later.After != test.later {
			r.Errorf("%s: got after %s, want %s", test.name, later.After, test.later)
		}
		if strings.Contains(fmt.Sprint(err), "pw-quoted") {
			r.Errorf("%s: the error quotes the answer: %v", test.name, err)
		}
		upstreamtest.Is(r, u, upstream.Accepted, first, test.name)
	}
}

// The page says so: nothing on the broker refuses a request that arrives late. This is the reason why the kind does not
// fence, and no later run begins before the deadline has passed.
func testLate(r *rig) {
	config := r.config(upstream.Overwrite)
	direct := r.open(config)
	first := upstreamtest.Issue(r, direct, "run-1", secret.Value{})
	b := r.between(&config)
	release, landed := make(chan struct{}), make(chan struct{})
	ctx, giveUp := context.WithCancel(r.Context())
	defer giveUp()
	through := b.through
	b.through = http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodPut {
			giveUp()
			<-release
			defer close(landed)
		}
		through.ServeHTTP(w, request)
	})
	u := r.open(config)
	if u.Kind().Fences {
		r.Error("the kind says that it fences")
	}
	candidate, err := u.Propose(r.Context(), first)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := u.Apply(ctx, "run-2", first, candidate); err == nil || errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("no answer to the change: got %v, want an ambiguous error", err)
	}
	upstreamtest.Is(r, direct, upstream.Accepted, first, "the current credential, while the change is on its way")
	close(release)
	<-landed
	upstreamtest.Is(r, direct, upstream.Accepted, candidate, "the late candidate")
}

// broker plays one connection: it sends each piece when the client has sent something.
func broker(t *testing.T, pieces ...string) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buffer := make([]byte, 1<<16)
		for _, piece := range pieces {
			if _, err := conn.Read(buffer); err != nil {
				return
			}
			_, _ = io.WriteString(conn, piece)
		}
		if strings.HasSuffix(pieces[len(pieces)-1], "\xce") { // else it hangs up
			_, _ = conn.Read(buffer)
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

func frame(kind byte, body string) string {
	return string([]byte{kind, 0, 0, 0, 0, byte(len(body) >> 8), byte(len(body))}) + body + "\xce"
}

func TestSignInDecidesByReplyCodeAlone(t *testing.T) {
	start := frame(1, "\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x00\x00\x00\x00\x0eEXTERNAL PLAIN\x00\x00\x00\x05en_US")
	closing := func(code int) string {
		return frame(1, "\x00\x0a\x00\x32"+string([]byte{byte(code >> 8), byte(code)})+"\x03why\x00\x00\x00\x00")
	}
	for _, test := range []struct {
		name   string
		pieces []string
		want   upstream.Verdict
	}{
		{"refused", []string{start, closing(403)}, upstream.Refused},
		{"refused after a heartbeat", []string{start, frame(8, "") + closing(403)}, upstream.Refused},
		{"goes on", []string{start, frame(1, "\x00\x0a\x00\x1e\x00\x00\x00\x02\x00\x00\x00\x3c")}, upstream.Accepted},
		{"internal error", []string{start, closing(541)}, upstream.Unknown},
		{"too many connections", []string{start, closing(530)}, upstream.Unknown},
		{"closed before signing in", []string{closing(403)}, upstream.Unknown},
		{"hangs up after the password", []string{start, ""}, upstream.Unknown},
		{"hangs up in the middle", []string{start, closing(403)[:9]}, upstream.Unknown},
		{"hangs up at once", []string{""}, upstream.Unknown},
		{"no PLAIN", []string{strings.Replace(start, "PLAIN", "OTHER", 1)}, upstream.Unknown},
		{"another version", []string{"AMQP\x00\x01\x00\x00"}, upstream.Unknown},
		{"another protocol", []string{"HTTP/1.1 400 Bad Request\r\n\r\n"}, upstream.Unknown},
		{"another method", []string{start, frame(1, "\x00\x14\x00\x0b")}, upstream.Unknown},
		{"no end of the frame", []string{start, strings.TrimSuffix(closing(403), "\xce") + "\x00"}, upstream.Unknown},
		{"a frame beyond bounds", []string{"\x01\x00\x00\xff\xff\xff\xff"}, upstream.Unknown},
		{"a method without a name", []string{start, frame(1, "\x00")}, upstream.Unknown},
		{"lengths that lie", []string{strings.Replace(start, "\x00\x00\x00\x0e", "\xff\xff\xff\xff", 1)}, upstream.Unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			u, err := rabbitmq.New(rabbitmq.Config{
				Server: rabbitmq.Server{Host: "127.0.0.1", Port: broker(t, test.pieces...), TLS: rabbitmq.Disable},
				Admin:  func(context.Context) ([]secret.Value, error) { return nil, nil },
				Mode:   upstream.Overwrite, User: "orders", Claim: "shop/test/orders-queue", Clock: time.Now, NewPassword: upstreamtest.NewPassword,
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := u.Verify(t.Context(), upstreamtest.Login(t, "orders", "word"))
			if got != test.want || (err != nil) != (test.want == upstream.Unknown) {
				t.Errorf("got %s (%v), want %s", got, err, test.want)
			}
		})
	}
}
