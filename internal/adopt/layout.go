// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/discover/dotenv"
	"custody.dev/custody/internal/formula"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/secret"
)

// layout is a file of variables as a template: text, what other secrets have, and what is sealed with the file itself.
type layout struct {
	template string
	// inputs are secrets, by what the template calls them.
	inputs map[string]string
	values map[string]secret.Value
	// sealed are the texts of the file that are neither a secret of their own nor plainly a setting, by field.
	sealed map[string]string
	// bare are the variables whose next values must need no escaping.
	bare []string
	// readable are the variables whose values stay in the document.
	readable []string
}

// hole is where a file holds the value of a candidate.
type hole struct {
	name string
	line int
	of   *Candidate
}

const (
	// ownInput is what a template calls the texts that are sealed with the file, fileField what the file is computed as.
	ownInput  = "rest"
	fileField = "file"
)

// lay makes the template of a file. It is false where none gives the same bytes.
func lay(whole secret.Value, holes []hole, settings string) (*layout, bool) {
	text := whole.ExposeText(secret.SingleField)
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) || strings.HasPrefix(text, "\ufeff") {
		return nil, false
	}
	l := &layout{inputs: map[string]string{}, values: map[string]secret.Value{}, sealed: map[string]string{}}
	inputs := map[*Candidate]string{}
	for _, h := range holes {
		if inputs[h.of] == "" {
			inputs[h.of] = l.input(camel(h.of.As))
			l.inputs[inputs[h.of]], l.values[inputs[h.of]] = h.of.As, h.of.input
		}
	}
	at, filled := 0, 0
	for _, e := range dotenv.Entries([]byte(text)) {
		if e.From < at || e.To < e.From {
			return nil, false
		}
		l.between(text[at:e.From])
		at = e.To
		i := slices.IndexFunc(holes, func(h hole) bool { return h.name == e.Name && h.line == e.Line })
		if i < 0 {
			l.setting(e.Name, text[e.From:e.To])
			continue
		}
		if !l.fill(holes[i], inputs[holes[i].of], text[e.From:e.To]) {
			return nil, false
		}
		filled++
	}
	l.between(text[at:])
	if filled != len(holes) {
		return nil, false // a value stands where no variable is, as in a comment
	}
	if len(l.sealed) > 0 {
		v, err := secret.Text(l.sealed)
		if err != nil || v.Fits() != nil {
			return nil, false
		}
		l.inputs[ownInput], l.values[ownInput] = settings, v
	}
	made, ok := compute(l.template, l.values)
	return l, ok && made == text
}

// input is a name for an input that no other has.
func (l *layout) input(name string) string {
	made := name
	for n := 2; l.inputs[made] != "" || made == ownInput || made == ""; n++ {
		made = fmt.Sprintf("%sN%d", name, n)
	}
	return made
}

// compute applies a template of one field, false where it cannot be.
func compute(template string, inputs map[string]secret.Value) (string, bool) {
	var names []string
	for name := range inputs {
		names = append(names, name)
	}
	f, err := formula.Compile(map[string]string{fileField: template}, names)
	if err != nil {
		return "", false
	}
	v, err := f.Compute(inputs)
	return v.ExposeText(fileField), err == nil
}

// literal is text as a template has it.
func literal(text string) string { return strings.ReplaceAll(text, "{{", `{{ "{{" }}`) }

// seal puts text into the value that is sealed with the file.
func (l *layout) seal(name, text string) {
	field := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
	made := field
	for n := 2; l.sealed[made] != ""; n++ {
		made = fmt.Sprintf("%s_%d", field, n)
	}
	l.sealed[made] = text
	l.template += "{{ ." + ownInput + "." + made + " }}"
}

var assigning = lazyregexp.New(`^\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_.-]*\s*=\s*$`)

// between takes what stands between two values: names and blank lines stay readable, comments and all else are sealed.
func (l *layout) between(text string) {
	for len(text) > 0 {
		line := text
		if end := strings.IndexByte(text, '\n'); end >= 0 {
			line = text[:end+1]
		}
		text = text[len(line):]
		if strings.TrimSpace(line) == "" || assigning.MatchString(line) {
			l.template += literal(line)
			continue
		}
		body := strings.TrimRight(line, "\r\n")
		l.seal("comment", body)
		l.template += line[len(body):]
	}
}

var (
	number  = lazyregexp.New(`^[0-9]{1,5}(ms|s|m|h|d|k|M|Mi|Gi|MB|GB|KB)?$`)
	address = lazyregexp.New(`^([a-z]+://)?[a-z0-9]([a-z0-9-]{0,30}\.){1,6}[a-z]{2,12}(:[0-9]{1,5})?(/[a-z-]{1,20}){0,4}/?$`)
	words   = map[string]bool{
		"true": true, "false": true, "yes": true, "no": true, "on": true, "off": true, "": true, "production": true, "prod": true, "staging": true,
		"development": true, "dev": true, "test": true, "local": true, "localhost": true, "debug": true, "info": true, "warn": true, "warning": true,
		"error": true, "json": true, "text": true, "utc": true, "utf-8": true, "http": true, "https": true, "tcp": true,
	}
)

// setting takes the value of a variable that is no secret: it stays readable where it can be none.
func (l *layout) setting(name, raw string) {
	value := strings.Trim(raw, `"'`)
	parts := clue.Words(name)
	says := func(of ...string) bool {
		return slices.ContainsFunc(parts, func(w string) bool { return slices.Contains(of, w) })
	}
	plain := words[strings.ToLower(value)] || number.MatchString(value) && !says("pin", "code", "otp") ||
		address.MatchString(value) && (strings.HasPrefix(value, "http") || says("host", "hostname", "url", "server", "domain", "endpoint", "origin"))
	if plain && !clue.SecretName(name) && !clue.LikelyName(name) && plaintext.Credential(raw) == "" {
		l.template += literal(raw)
		l.readable = append(l.readable, name)
		return
	}
	l.seal(name, raw)
}

// fill puts what gives a value back in its place: escaped for where it stands if that gives the same bytes, else as it is.
func (l *layout) fill(h hole, input, raw string) bool {
	value := h.of.value.ExposeText(secret.SingleField)
	field := "." + input + "." + h.of.passwordField()
	inputs := map[string]secret.Value{input: h.of.input}
	gives := func(template, want string) bool { made, ok := compute(template, inputs); return ok && made == want }
	for _, way := range []string{"env ", `env "single" `, `env "double" `} {
		if action := "{{ " + way + field + " }}"; gives(action, raw) {
			l.template += action
			return true
		}
	}
	before, user, escaped, after, is := inAddress(raw)
	if is {
		password := "{{ query " + field + " }}"
		if !gives(password, escaped) {
			password = "{{ " + field + " }}"
			if !gives(password, escaped) {
				return false
			}
			l.bare = append(l.bare, h.name)
		}
		l.template += literal(before)
		if named := "{{ query ." + input + ".username }}"; slices.Contains(h.of.fields, "username") && gives(named, user) {
			l.template += named
		} else {
			l.template += literal(user)
		}
		l.template += literal(":") + password
		if strings.ContainsRune(after, '?') && !harmlessQuery(after) {
			l.seal(h.name+"_rest", after)
		} else {
			l.template += literal(after)
		}
		return true
	}
	if value == "" || strings.Count(raw, value) != 1 || !gives("{{ "+field+" }}", value) {
		return false
	}
	begin, end, _ := strings.Cut(raw, value)
	for i, part := range []string{begin, end} {
		if i == 1 {
			l.template += "{{ " + field + " }}"
			l.bare = append(l.bare, h.name)
		}
		if strings.Trim(part, `"'`) == "" {
			l.template += literal(part)
		} else {
			l.seal(h.name, part)
		}
	}
	return true
}

var userinfo = lazyregexp.New(`^(["']?[A-Za-z][A-Za-z0-9+.-]*://)([^\s/:@]*):([^\s/@]+)(@[^\s]*)$`)

// inAddress splits an address with a password in it.
func inAddress(raw string) (before, user, password, after string, is bool) {
	parts := userinfo.FindStringSubmatch(raw)
	if parts == nil {
		return "", "", "", "", false
	}
	return parts[1], parts[2], parts[3], parts[4], true
}

// harmlessQuery reports whether the query of an address has nothing but how to connect.
func harmlessQuery(text string) bool {
	_, query, _ := strings.Cut(strings.Trim(text, `"'`), "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return false
	}
	for key, of := range values {
		known := slices.Contains([]string{"sslmode", "ssl", "tls", "pool", "timeout", "connect_timeout", "charset", "schema", "search_path", "application_name"}, key)
		if !known || slices.ContainsFunc(of, func(v string) bool { return len(v) > 24 }) {
			return false
		}
	}
	return true
}

// server is where an address with a password leads to.
type server struct {
	scheme, host, port, database string
	query                        url.Values
}

// addressed reads the address that a value stands in: whose password it is, and where.
func addressed(raw string) (user string, at *server) {
	parsed, err := url.Parse(strings.Trim(raw, `"'`))
	if err != nil || parsed.User == nil || parsed.Hostname() == "" {
		return "", nil
	}
	return parsed.User.Username(), &server{parsed.Scheme, parsed.Hostname(), parsed.Port(), strings.Trim(parsed.Path, "/"), parsed.Query()}
}

// passwordField is the field of a candidate's ManagedSecret that has its value.
func (c *Candidate) passwordField() string {
	if slices.Contains(c.fields, "password") {
		return "password"
	}
	return secret.SingleField
}
