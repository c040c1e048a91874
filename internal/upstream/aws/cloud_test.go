// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

const (
	testAccount = "123456789012"
	testRegion  = "eu-central-1"
)

// cloud is a local server that speaks the query protocol of IAM and STS as AWS publishes it: SigV4, two keys for each
// user, pages, throttling, and changes that show late.
type cloud struct {
	server *httptest.Server

	mu    sync.Mutex
	users map[string]*cloudUser
	made  int
	// late is how long a change to a key takes to show to whoever checks signatures.
	late time.Duration
	// page is how many keys a listing holds at most.
	page      int
	throttled bool
	// timeless answers carry no date.
	timeless bool
	// fail makes an action answer with a status and a code.
	fail map[string]cloudError
	// asked counts requests by action.
	asked map[string]int
}

type cloudUser struct {
	name   string
	path   string
	tags   map[string]string
	keys   []*cloudKey
	policy cloudPolicy
}

type cloudKey struct {
	id, secret string
	user       *cloudUser
	created    time.Time
	active     bool
	gone       bool
	// changed is when active or gone last changed; before is whether the key was honoured until then.
	changed time.Time
	before  bool

	usedAt              time.Time
	usedService, usedIn string
}

type cloudError struct {
	status int
	code   string
}

// cloudPolicy is the part of IAM's policy language that the page uses.
type cloudPolicy struct {
	Statement []struct {
		Effect    string
		Action    []string
		Resource  string
		Condition map[string]map[string][]string
	}
}

func (p cloudPolicy) allows(action, resource string, tagKeys []string) bool {
	for _, s := range p.Statement {
		matched, err := path.Match(s.Resource, resource)
		if err != nil || !matched || s.Effect != "Allow" || !slices.Contains(s.Action, "iam:"+action) {
			continue
		}
		fits := func(key string) bool {
			return slices.ContainsFunc(s.Condition["ForAllValues:StringLike"]["aws:TagKeys"], func(pattern string) bool {
				matched, err := path.Match(pattern, key)
				return err == nil && matched
			})
		}
		if s.Condition == nil || !slices.ContainsFunc(tagKeys, func(key string) bool { return !fits(key) }) {
			return true
		}
	}
	return false
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{users: map[string]*cloudUser{}, page: 100, fail: map[string]cloudError{}, asked: map[string]int{}}
	c.server = httptest.NewServer(c)
	t.Cleanup(c.server.Close)
	return c
}

// user makes a user with a policy and no key.
func (c *cloud) user(t *testing.T, name, policy string) {
	t.Helper()
	u := &cloudUser{name: name, path: "/machines/", tags: map[string]string{}}
	if policy != "" {
		if err := json.Unmarshal([]byte(policy), &u.policy); err != nil {
			t.Fatal(err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users[strings.ToLower(name)] = u
}

func (u *cloudUser) arn() string {
	return "arn:aws:iam::" + testAccount + ":user" + u.path + u.name
}

// key makes a key, as a person would, that shows at once.
func (c *cloud) key(t *testing.T, user string) secret.Value {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	key := c.newKey(c.users[strings.ToLower(user)])
	key.changed = time.Time{}
	return upstreamtest.Value(t, map[string]string{accesskey.ID: key.id, accesskey.Secret: key.secret})
}

func (c *cloud) newKey(u *cloudUser) *cloudKey {
	c.made++
	key := &cloudKey{
		id: fmt.Sprintf("AKIATEST%012d", c.made), secret: fmt.Sprintf("issued/secret+%026d", c.made), user: u, active: true,
		created: time.Now().Add(time.Duration(c.made) * time.Second).Truncate(time.Second), changed: time.Now(),
	}
	u.keys = append(u.keys, key)
	return key
}

// honours reports whether signatures by the key are taken now.
func (c *cloud) honours(key *cloudKey) bool {
	if time.Since(key.changed) < c.late {
		return key.before
	}
	return key.active && !key.gone
}

func (k *cloudKey) change(active, gone bool) {
	k.before = k.active && !k.gone
	k.active, k.gone, k.changed = active, gone, time.Now()
}

// listed are the keys that IAM knows of.
func (u *cloudUser) listed() []*cloudKey {
	return slices.DeleteFunc(slices.Clone(u.keys), func(k *cloudKey) bool { return k.gone })
}

func (c *cloud) find(id string) *cloudKey {
	for _, u := range c.users {
		for _, key := range u.keys {
			if key.id == id {
				return key
			}
		}
	}
	return nil
}

// held names the keys of a user that are honoured.
func (c *cloud) held(user string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for _, key := range c.users[strings.ToLower(user)].listed() {
		if key.active {
			ids = append(ids, key.id)
		}
	}
	return ids
}

// ServeHTTP answers one request.
func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, form, err := readForm(r)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	action := form.Get("Action")
	c.asked[action]++
	if c.timeless {
		w.Header()["Date"] = nil
	}
	if c.throttled {
		refuse(w, cloudError{http.StatusBadRequest, "Throttling"}, "Rate exceeded")
		return
	}
	if failure, fails := c.fail[action]; fails {
		refuse(w, failure, "made to fail")
		return
	}
	caller, region, service, failure := c.authenticate(r, body)
	if failure.code != "" {
		refuse(w, failure, "The security token included in the request is invalid or the signature does not match")
		return
	}
	if now := time.Now().UTC().Truncate(time.Second); now.Sub(caller.usedAt) >= 15*time.Minute {
		caller.usedAt, caller.usedService, caller.usedIn = now, service, region
	}
	if action == "GetCallerIdentity" {
		reply(w, "sts", action, fmt.Sprintf("<Arn>%s</Arn><UserId>AIDATEST</UserId><Account>%s</Account>", caller.user.arn(), testAccount))
		return
	}
	result, failure := c.iam(caller.user, action, form)
	if failure.code != "" {
		refuse(w, failure, "User "+caller.user.arn()+" asked for "+action)
		return
	}
	reply(w, "iam", action, result)
}

func (c *cloud) iam(caller *cloudUser, action string, form url.Values) (string, cloudError) {
	name, id := form.Get("UserName"), form.Get("AccessKeyId")
	if action == "GetAccessKeyLastUsed" {
		if key := c.find(id); key != nil {
			name = key.user.name
		}
	}
	u := c.users[strings.ToLower(name)]
	resource := "arn:aws:iam::" + testAccount + ":user/" + name
	if u != nil {
		resource = u.arn()
	}
	var tagKeys []string
	for i := 1; form.Has("Tags.member." + strconv.Itoa(i) + ".Key"); i++ {
		tagKeys = append(tagKeys, form.Get("Tags.member."+strconv.Itoa(i)+".Key"))
	}
	switch {
	case !caller.policy.allows(action, resource, tagKeys):
		return "", cloudError{http.StatusForbidden, "AccessDenied"}
	case u == nil:
		return "", cloudError{http.StatusNotFound, "NoSuchEntity"}
	}
	switch action {
	case "GetUser":
		tags := ""
		for key, value := range u.tags {
			tags += "<member><Key>" + escape(key) + "</Key><Value>" + escape(value) + "</Value></member>"
		}
		return fmt.Sprintf("<User><Path>%s</Path><UserName>%s</UserName><UserId>AIDATEST</UserId><Arn>%s</Arn><CreateDate>2020-01-01T00:00:00Z</CreateDate><Tags>%s</Tags></User>",
			u.path, u.name, u.arn(), tags), cloudError{}
	case "TagUser":
		for i, key := range tagKeys {
			value := form.Get("Tags.member." + strconv.Itoa(i+1) + ".Value")
			if len(value) > 256 || strings.ContainsFunc(value, func(r rune) bool {
				return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _.:/=+-@", r)
			}) {
				return "", cloudError{http.StatusBadRequest, "ValidationError"}
			}
			u.tags[key] = value
		}
		return "", cloudError{}
	case "ListAccessKeys":
		return c.list(u, form), cloudError{}
	case "CreateAccessKey":
		if len(u.listed()) >= 2 {
			return "", cloudError{http.StatusConflict, "LimitExceeded"}
		}
		key := c.newKey(u)
		return fmt.Sprintf("<AccessKey><UserName>%s</UserName><AccessKeyId>%s</AccessKeyId><Status>Active</Status><SecretAccessKey>%s</SecretAccessKey><CreateDate>%s</CreateDate></AccessKey>",
			u.name, key.id, key.secret, key.created.UTC().Format(time.RFC3339)), cloudError{}
	}
	key := c.find(id)
	if key == nil || key.gone || key.user != u {
		return "", cloudError{http.StatusNotFound, "NoSuchEntity"}
	}
	switch action {
	case "UpdateAccessKey":
		key.change(form.Get("Status") == "Active", false)
		return "", cloudError{}
	case "DeleteAccessKey":
		key.change(false, true)
		return "", cloudError{}
	case "GetAccessKeyLastUsed":
		used := "<ServiceName>N/A</ServiceName><Region>N/A</Region>"
		if !key.usedAt.IsZero() {
			used = fmt.Sprintf("<ServiceName>%s</ServiceName><Region>%s</Region><LastUsedDate>%s</LastUsedDate>",
				key.usedService, key.usedIn, key.usedAt.UTC().Format(time.RFC3339))
		}
		return "<UserName>" + u.name + "</UserName><AccessKeyLastUsed>" + used + "</AccessKeyLastUsed>", cloudError{}
	}
	return "", cloudError{http.StatusBadRequest, "InvalidAction"}
}

func (c *cloud) list(u *cloudUser, form url.Values) string {
	keys, from := u.listed(), 0
	if marker := form.Get("Marker"); marker != "" {
		from, _ = strconv.Atoi(marker) // what the server itself gave
	}
	to := min(from+c.page, len(keys))
	members := ""
	for _, key := range keys[from:to] {
		status := "Inactive"
		if key.active {
			status = "Active"
		}
		members += fmt.Sprintf("<member><UserName>%s</UserName><AccessKeyId>%s</AccessKeyId><Status>%s</Status><CreateDate>%s</CreateDate></member>",
			u.name, key.id, status, key.created.UTC().Format(time.RFC3339))
	}
	truncated := ""
	if to < len(keys) {
		truncated = "<Marker>" + strconv.Itoa(to) + "</Marker>"
	}
	return fmt.Sprintf("<AccessKeyMetadata>%s</AccessKeyMetadata><IsTruncated>%t</IsTruncated>%s", members, to < len(keys), truncated)
}

func escape(text string) string {
	var b strings.Builder
	if xml.EscapeText(&b, []byte(text)) != nil {
		return ""
	}
	return b.String()
}

func reply(w http.ResponseWriter, service, action, result string) {
	versions := map[string]string{"iam": "2010-05-08", "sts": "2011-06-15"}
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, `<%[1]sResponse xmlns="https://%[2]s.amazonaws.com/doc/%[3]s/"><%[1]sResult>%[4]s</%[1]sResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></%[1]sResponse>`,
		action, service, versions[service], result)
}

func refuse(w http.ResponseWriter, failure cloudError, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(failure.status)
	fmt.Fprintf(w, `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>1</RequestId></ErrorResponse>`,
		failure.code, escape(message))
}
