// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"custody.dev/custody/internal/transport"
)

// Interrupts reports whether sign-ins are refused between applying and delivery.
func (c *Compiled) Interrupts() bool { return c.Source.Kind.Capability == "overwrite" }

// CheckURL reports what is wrong with a base address.
func CheckURL(text string) error {
	_, err := parseBase(text)
	return err
}

// CheckEndpoints reports what is wrong with the further addresses that a document gives, and which are missing.
func (c *Compiled) CheckEndpoints(given map[string]string) error {
	_, err := c.Bases("https://example.org", given)
	return err
}

// CheckParameters reports what is wrong with parameters: unknown ones, wrong types, and those missing. With part, those
// missing may come from elsewhere.
func (c *Compiled) CheckParameters(given map[string]any, part bool) error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(given)) {
		p, known := c.Source.Parameters[name]
		if !known {
			faults = append(faults, fmt.Errorf("the recipe has no parameter %s", name))
			continue
		}
		if _, err := p.check(name, given[name], c.patterns[name]); err != nil {
			faults = append(faults, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Source.Parameters)) {
		if _, there := given[name]; !there && c.Source.Parameters[name].Required && !part {
			faults = append(faults, fmt.Errorf("the parameter %s is missing", name))
		}
	}
	return errors.Join(faults...)
}

// Bases are the addresses by endpoint; "" is the Upstream's own.
func (c *Compiled) Bases(own string, given map[string]string) (map[string]*url.URL, error) {
	out := map[string]*url.URL{}
	base, err := parseBase(own)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	out[""] = base
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, known := c.Source.Endpoints[name]; !known {
			return nil, fmt.Errorf("the recipe has no endpoint %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Source.Endpoints)) {
		text := c.Source.Endpoints[name].URL
		if given[name] != "" {
			text = given[name]
		}
		if text == "" {
			return nil, fmt.Errorf("the endpoint %s is missing: %s", name, c.Source.Endpoints[name].Means)
		}
		if out[name], err = parseBase(text); err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", name, err)
		}
	}
	return out, nil
}

// Parameters are params.NAME of those given, as documents hold them, and of the defaults.
func (c *Compiled) Parameters(given map[string]any) (Values, error) {
	if err := c.CheckParameters(given, false); err != nil {
		return nil, err
	}
	out := Values{}
	for name, p := range c.Source.Parameters {
		value, there := given[name]
		if !there {
			value = p.Default
		}
		if value == nil {
			out["params."+name] = zero(p.Type)
			continue
		}
		checked, err := p.check(name, value, c.patterns[name])
		if err != nil {
			return nil, err
		}
		out["params."+name] = checked
	}
	return out, nil
}

// zero is what a parameter that is not given reads as.
func zero(kind string) any {
	switch kind {
	case "number":
		return int64(0)
	case "boolean":
		return false
	case "list":
		return []string{}
	}
	return ""
}

// Account names the account that parameters mean, in one way, where one secret alone may have it; "" where several may,
// and for parameters that are wrong or missing.
func (c *Compiled) Account(given map[string]any) string {
	all, err := c.Parameters(given)
	if !c.exclusive || err != nil {
		return ""
	}
	names := c.identity()
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(c.Source.Parameters))
	}
	var b strings.Builder
	b.WriteString("account")
	for _, name := range names {
		switch value := all["params."+name].(type) {
		case string, []string:
			fmt.Fprintf(&b, " %s=%q", name, value)
		default:
			fmt.Fprintf(&b, " %s=%v", name, value)
		}
	}
	return b.String()
}

// check brings a parameter into the type that expressions see.
func (p Parameter) check(name string, given any, pattern *regexp.Regexp) (any, error) {
	wrong := fmt.Errorf("parameter %s: want %s", name, map[string]string{
		"text": "text", "number": "a whole number", "boolean": "true or false", "list": "a list of texts",
	}[p.Type])
	text := func(given any) (string, error) {
		text, ok := given.(string)
		if !ok {
			return "", wrong
		}
		if p.Pattern != "" && !pattern.MatchString(text) {
			return "", fmt.Errorf("parameter %s: it does not match %s", name, p.Pattern)
		}
		if len(p.OneOf) > 0 && !slices.Contains(p.OneOf, text) {
			return "", fmt.Errorf("parameter %s: it is none of %s", name, strings.Join(p.OneOf, ", "))
		}
		return text, nil
	}
	switch p.Type {
	case "text":
		return text(given)
	case "number":
		switch given := given.(type) {
		case int:
			return int64(given), nil
		case int64:
			return given, nil
		case float64:
			if given == math.Trunc(given) && math.Abs(given) < 1<<53 {
				return int64(given), nil
			}
		}
	case "boolean":
		if truth, ok := given.(bool); ok {
			return truth, nil
		}
	case "list":
		list, ok := given.([]any)
		if !ok {
			return nil, wrong
		}
		out := []string{}
		for _, one := range list {
			item, err := text(one)
			if err != nil {
				return nil, err
			}
			out = append(out, item)
		}
		return out, nil
	}
	return nil, wrong
}

// identity lists the parameters that say which account is meant; none when all of them do together.
func (c *Compiled) identity() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(c.Source.Parameters)), func(name string) bool { return !c.Source.Parameters[name].Account })
}

// parseBase reads a base address: https, or http to loopback; no user, query or fragment.
func parseBase(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	switch {
	case err != nil || base.Host == "" || base.Opaque != "":
		return nil, errors.New("not an address such as https://api.example.org")
	case base.User != nil || base.RawQuery != "" || base.Fragment != "" || strings.Contains(base.Path, ".."):
		return nil, errors.New("an address has no user, no query and no fragment")
	case base.Scheme == "https", base.Scheme == "http" && transport.Local(base.Hostname()):
		return base, nil
	}
	return nil, errors.New("an address begins with https://; http:// only to loopback")
}
