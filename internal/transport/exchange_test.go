// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/transport"
)

func TestExchangeSaysWhetherTheRequestLeft(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	const most = 100
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc // nil: nobody listens
		want   transport.NoAnswer
	}{
		{"nobody listens", nil, transport.NoAnswer{}},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, transport.NoAnswer{Sent: true}},
		{"breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "50")
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte("half"))
		}, transport.NoAnswer{Sent: true, Status: http.StatusAccepted}},
		{"too long", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Repeat("x", most+1)))
		}, transport.NoAnswer{Sent: true, Status: http.StatusOK}},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := gone.URL
			if test.answer != nil {
				server := httptest.NewServer(test.answer)
				t.Cleanup(server.Close)
				address = server.URL
			}
			_, err := exchange(t, address, most)
			got, ok := errors.AsType[*transport.NoAnswer](err)
			if !ok || got.Sent != test.want.Sent || got.Status != test.want.Status {
				t.Fatalf("got %+v, want sent %t, status %d", err, test.want.Sent, test.want.Status)
			}
			if network, ok := errors.AsType[*net.OpError](err); test.answer == nil && (!ok || network.Op != "dial") {
				t.Errorf("%v does not say what failed", err)
			}
		})
	}
	full := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte(strings.Repeat("x", most)))
	}))
	t.Cleanup(full.Close)
	a, err := exchange(t, full.URL, most)
	if err != nil || a.Status != http.StatusTeapot || len(a.Body) != most || time.Since(a.Date()).Abs() > time.Minute {
		t.Errorf("got %s of %s with %d bytes (%v)", a, a.Date(), len(a.Body), err)
	}
	if shown := fmt.Sprintf("%v %+v %s", a, a, a); shown != "HTTP 418 HTTP 418 HTTP 418" {
		t.Errorf("an answer is shown as %q; its body may be secret", shown)
	}
}

func exchange(t *testing.T, address string, most int64) (transport.Answer, error) {
	t.Helper()
	client, err := transport.Client("")
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return transport.Exchange(client, request, most)
}

func TestRetryAfter(t *testing.T) {
	const date = "Sun, 06 Nov 1994 08:48:07 GMT"
	at, err := http.ParseTime(date)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		text, date string
		want       time.Duration
		told       bool
	}{
		{"7", "", 7 * time.Second, true},
		{"-3", "", 0, true},
		{"9223372036854775807", "", 365 * 24 * time.Hour, true},
		{"", "", 0, false},
		{"soon", "", 0, false},
		{"Sun, 06 Nov 1994 08:49:37 GMT", date, 90 * time.Second, true},
		{"Sun, 06 Nov 1994 08:49:37 GMT", "", 80 * time.Second, true}, // by the clock of whoever asks
		{"Sun, 06 Nov 1994 08:40:00 GMT", date, 0, true},
	} {
		a := transport.Answer{Header: http.Header{"Retry-After": {test.text}, "Date": {test.date}}}
		if got, told := a.RetryAfter(at.Add(10 * time.Second)); got != test.want || told != test.told {
			t.Errorf("%q at %q: got %s (told %t), want %s (%t)", test.text, test.date, got, told, test.want, test.told)
		}
	}
}

func TestNextPage(t *testing.T) {
	for link, want := range map[string]string{
		"": "", "</list?page=2>": "", `</list?page=1>; rel="prev"`: "",
		`</list?page=2>; rel="next"`: "/list?page=2", `</list?page=2>;rel=NEXT`: "/list?page=2",
		`<https://a/b?page=2>; rel="next", <https://a/b?page=9>; rel="last"`: "https://a/b?page=2",
		`<https://a/b?page=1>; rel="prev"; title=x, </b?page=3>; rel=next`:   "/b?page=3",
		`</list;v=1?page=2>; rel="next"`:                                     "/list;v=1?page=2", `<https://h/c?f=a,b>; rel=next`: "https://h/c?f=a,b",
		`<>; rel="prev"`: "", `<`: "", `no link; rel=next`: "",
		`</list?page=1>; rel="prev", <https://example.com/list?page=3>; title="x"; rel="next"`: "https://example.com/list?page=3",
	} {
		a := transport.Answer{Header: http.Header{"Link": {"</first>; rel=first", link}}}
		if got := a.Next(); got != want {
			t.Errorf("%s: got %q, want %q", link, got, want)
		}
	}
}
