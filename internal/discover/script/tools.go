// SPDX-License-Identifier: Apache-2.0

package script

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/lazyregexp"
)

// made is what a command makes.
type made struct {
	with, kind string
	// to is the file that it writes the value to by itself.
	to, key     string
	sure, small bool
}

// destination is where a command puts a value.
type destination struct {
	with, to, name, key string
	values              []*value
	// literal is a value in clear among the arguments; file is one that has the value; piped: it is read from standard input.
	literal, file string
	piped         bool
}

// bare are the arguments without the programs that only run others.
func bare(args []word) []word {
	for len(args) > 1 {
		switch path.Base(args[0].text) {
		case "sudo", "exec", "command", "time", "nohup", "env", "eval", "builtin":
			args = args[1:]
			for len(args) > 1 && (strings.HasPrefix(args[0].text, "-") || strings.Contains(args[0].text, "=")) {
				args = args[1:]
			}
		default:
			return args
		}
	}
	return args
}

// option is what follows an option, in the same word or the next.
func option(args []word, names ...string) word {
	for i, arg := range args {
		for _, name := range names {
			if arg.text == name && i+1 < len(args) {
				return args[i+1]
			}
			if rest, found := strings.CutPrefix(arg.text, name+"="); found && strings.HasPrefix(name, "-") {
				return word{text: rest, values: arg.values, plain: arg.plain, line: arg.line}
			}
		}
	}
	return word{}
}

// operands are the arguments that are no options. Options take a value where valued names them.
func operands(args []word, valued ...string) (list []word) {
	for i := 1; i < len(args); i++ {
		switch {
		case slices.Contains(valued, args[i].text):
			i++
		case strings.HasPrefix(args[i].text, "-") && len(args[i].text) > 1:
		default:
			list = append(list, args[i])
		}
	}
	return list
}

// begins reports whether the operands begin with these words.
func begins(list []word, words ...string) bool {
	if len(list) < len(words) {
		return false
	}
	for i, want := range words {
		if list[i].text != want {
			return false
		}
	}
	return true
}

func has(args []word, texts ...string) bool {
	return slices.ContainsFunc(args, func(w word) bool { return slices.Contains(texts, w.text) })
}

var (
	tokenAddress = lazyregexp.New(`(?i)/(?:[a-z_-]*(?:tokens?|api[-_]?keys?|keys|credentials|secrets?|passwords?))/?(?:\?.*)?$`)
	sqlPassword  = lazyregexp.New(`(?is)\b(?:alter|create)\s+(?:role|user)\s+["'` + "`" + `]?([\w$.{}-]+).*?\b(?:password|identified\s+by)\b`)
)

// makes says whether a command makes a secret, or what may be one.
func makes(tool string, args []word) (made, bool) {
	list := operands(args)
	switch tool {
	case "openssl":
		switch {
		case begins(list, "rand"):
			n, _ := strconv.Atoi(list[len(list)-1].text)
			return made{with: "openssl rand", small: n < 16, to: option(args, "-out").text}, true
		case begins(list, "genrsa"), begins(list, "genpkey"), begins(list, "ecparam") && has(args, "-genkey"), begins(list, "req") && has(args, "-newkey") && !has(args, "-in"):
			return made{with: "openssl " + list[0].text, kind: "private key", sure: true, to: or(option(args, "-keyout").text, option(args, "-out").text)}, true
		}
	case "pwgen", "apg", "makepasswd", "xkcdpass", "diceware":
		return made{with: tool, kind: "password", sure: true}, true
	case "uuidgen":
		return made{with: tool, small: true}, true
	case "head", "tr", "dd", "base64", "od", "xxd":
		for _, arg := range args {
			if strings.Contains(arg.text, "/dev/urandom") || strings.Contains(arg.text, "/dev/random") {
				return made{with: tool + " of /dev/urandom", small: true}, true
			}
		}
	case "ssh-keygen":
		if !has(args, "-l", "-y", "-R", "-F", "-e", "-i", "-H", "-B", "-Y", "-s", "-A") {
			return made{with: tool, kind: "SSH key", sure: true, to: option(args, "-f").text}, true
		}
	case "age-keygen":
		if !has(args, "-y") {
			return made{with: tool, kind: "private key", sure: true, to: option(args, "-o").text}, true
		}
	case "wg":
		if begins(list, "genkey") || begins(list, "genpsk") {
			return made{with: "wg " + list[0].text, kind: "private key", sure: true}, true
		}
	case "keytool":
		if has(args, "-genkeypair", "-genkey") {
			return made{with: "keytool -genkeypair", kind: "private key", sure: true, to: option(args, "-keystore").text}, true
		}
	case "aws":
		for _, call := range [][2]string{{"iam", "create-access-key"}, {"iam", "create-login-profile"}, {"iam", "create-service-specific-credential"}, {"secretsmanager", "get-random-password"}} {
			if begins(list, call[0], call[1]) {
				return made{with: "aws " + call[0] + " " + call[1], kind: "cloud access key", sure: call[0] == "iam"}, true
			}
		}
	case "gcloud":
		if begins(list, "iam", "service-accounts", "keys", "create") && len(list) > 4 {
			return made{with: "gcloud iam service-accounts keys create", kind: "cloud access key", sure: true, to: list[4].text}, true
		}
	case "az":
		if begins(list, "ad", "sp", "create-for-rbac") || begins(list, "ad", "app", "credential", "reset") || begins(list, "ad", "sp", "credential", "reset") {
			return made{with: "az ad " + list[1].text, kind: "cloud access key", sure: true}, true
		}
	case "vault", "bao":
		if begins(list, "token", "create") || begins(list, "operator", "init") || (begins(list, "write") && strings.HasSuffix(list[min(1, len(list)-1)].text, "/secret-id")) {
			return made{with: tool + " " + list[0].text, kind: "token", sure: true}, true
		}
	case "kubectl", "oc":
		if begins(list, "create", "token") {
			return made{with: tool + " create token", kind: "token", sure: true}, true
		}
	case "pass":
		if begins(list, "generate") && len(list) > 1 {
			return made{with: "pass generate", sure: true, to: list[1].text}, true
		}
	case "curl":
		if method(args) == "POST" && tokenAddress.MatchString(address(args)) {
			return made{with: "curl POST " + address(args), kind: "token", sure: true}, true
		}
	}
	return made{}, false
}

// method is that of a request of curl.
func method(args []word) string {
	if given := option(args, "-X", "--request").text; given != "" {
		return strings.ToUpper(given)
	}
	for _, arg := range args {
		if slices.Contains([]string{"-XPOST", "-XPUT", "-XPATCH"}, arg.text) {
			return arg.text[2:]
		}
	}
	for _, name := range []string{"-d", "--data", "--data-raw", "--data-binary", "--json", "-F"} {
		if option(args, name).text != "" {
			return "POST"
		}
	}
	return "GET"
}

// address is that of a request of curl, without its query.
func address(args []word) string {
	for _, arg := range args[1:] {
		if strings.HasPrefix(arg.text, "http://") || strings.HasPrefix(arg.text, "https://") {
			text, _, _ := strings.Cut(arg.text, "?")
			if at := strings.LastIndex(text, "@"); at > 0 {
				text = "https://" + text[at+1:]
			}
			return shown(text)
		}
	}
	return ""
}

// shown is an address without the parts of its path that look random: those of webhooks are what lets anybody in.
func shown(address string) string {
	parts := strings.Split(address, "/")
	for i := 3; i < len(parts); i++ {
		if clue.Random(parts[i]) || len(parts[i]) >= 24 {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, "/")
}

// puts says where a command puts which values. target is the file that its output goes to.
func puts(tool string, args []word, target string) (to []destination) {
	list := operands(args, "-n", "--namespace", "--name", "--body", "--value", "-m", "--kubeconfig", "--context")
	add := func(with, place, name, key string, w word) {
		d := destination{with: with, to: place, name: name, key: key, values: w.values}
		if w.plain && w.text != "" {
			switch {
			case strings.HasPrefix(w.text, "@"):
				d.file = w.text[1:]
			case w.text == "-":
				d.piped = true
			default:
				d.literal = w.text
			}
		}
		d.piped = d.piped || w.text == ""
		to = append(to, d)
	}
	pairs := func(from []word, with, place, key string) {
		for _, arg := range from {
			if name, text, is := strings.Cut(arg.text, "="); is {
				add(with, place+"#"+name, name, key+"#"+name, word{text: text, values: arg.values, plain: arg.plain})
			}
		}
	}
	switch tool {
	case "kubectl", "oc":
		if at := slices.IndexFunc(list, func(w word) bool { return w.text == "secret" }); at > 0 && list[at-1].text == "create" && at+2 < len(list) {
			return kubeSecret(tool, args, list[at+1].text, list[at+2].text)
		}
	case "kubeseal":
		place := or(target, or(option(args, "-w", "--sealed-secret-file").text, "a SealedSecret"))
		add("kubeseal", place, place, "", word{})
	case "vault", "bao":
		if (begins(list, "kv", "put") || begins(list, "kv", "patch")) && len(list) > 2 {
			place := list[2].text
			if mount := option(args, "-mount").text; mount != "" {
				place = mount + "/" + place
			}
			pairs(list[3:], tool+" kv "+list[1].text, place, "vault:"+place)
		} else if begins(list, "write") && len(list) > 2 {
			for _, arg := range list[2:] {
				if name, _, _ := strings.Cut(arg.text, "="); clue.SecretName(name) {
					pairs([]word{arg}, tool+" write", list[1].text, "vault:"+list[1].text)
				}
			}
		}
	case "sops":
		switch {
		case has(args, "--set") && len(list) > 0:
			file := list[len(list)-1].text
			to = append(to, destination{with: "sops --set", to: file, name: file, values: option(args, "--set").values})
		case begins(list, "set") && len(list) > 3:
			to = append(to, destination{with: "sops set", to: list[1].text, name: list[1].text, values: list[3].values})
		case has(args, "-e", "--encrypt", "encrypt") && len(list) > 0:
			file := list[len(list)-1].text
			place := or(target, or(option(args, "--output").text, file))
			to = append(to, destination{with: "sops encrypt", to: place, name: place, file: file, piped: true})
		}
	case "gh":
		if begins(list, "secret", "set") && len(list) > 2 {
			add("gh secret set", "secret "+list[2].text+" of GitHub", list[2].text, "github:"+list[2].text, option(args, "--body", "-b"))
		}
	case "glab":
		if begins(list, "variable", "set") && len(list) > 2 {
			add("glab variable set", "variable "+list[2].text+" of GitLab", list[2].text, "gitlab:"+list[2].text, list[min(3, len(list)-1)])
		}
	case "aws":
		switch {
		case begins(list, "secretsmanager"):
			if name := or(option(args, "--secret-id").text, option(args, "--name").text); name != "" && option(args, "--secret-string").text != "" {
				add("aws secretsmanager", "secret "+name+" of AWS", name, "aws-secret:"+name, option(args, "--secret-string"))
			}
		case begins(list, "ssm", "put-parameter"):
			if option(args, "--type").text == "SecureString" {
				name := option(args, "--name").text
				add("aws ssm put-parameter", "parameter "+name+" of AWS", name, "aws-parameter:"+name, option(args, "--value"))
			}
		}
	case "gcloud":
		if begins(list, "secrets", "versions", "add") && len(list) > 3 {
			add("gcloud secrets versions add", "secret "+list[3].text+" of Google Cloud", list[3].text, "gcp-secret:"+list[3].text, word{})
		} else if begins(list, "secrets", "create") && len(list) > 2 {
			add("gcloud secrets create", "secret "+list[2].text+" of Google Cloud", list[2].text, "gcp-secret:"+list[2].text, word{})
		}
	case "az":
		if begins(list, "keyvault", "secret", "set") {
			name := or(option(args, "--name").text, option(args, "-n").text)
			add("az keyvault secret set", "secret "+name+" of Azure", name, "azure-secret:"+name, option(args, "--value"))
		}
	case "docker", "podman":
		if begins(list, "secret", "create") && len(list) > 2 {
			d := destination{with: tool + " secret create", to: "secret " + list[2].text + " of " + tool, name: list[2].text, key: "compose-external:" + list[2].text, piped: true}
			if len(list) > 3 && list[3].text != "-" {
				d.file = list[3].text
			}
			to = append(to, d)
		}
	case "heroku":
		if begins(list, "config:set") {
			pairs(list[1:], "heroku config:set", "settings of Heroku", "heroku")
		}
	case "fly", "flyctl":
		if begins(list, "secrets", "set") {
			pairs(list[2:], tool+" secrets set", "secrets of Fly", "fly")
		}
	case "wrangler":
		if begins(list, "secret", "put") && len(list) > 2 {
			add("wrangler secret put", "secret "+list[2].text+" of Cloudflare", list[2].text, "", word{})
		}
	case "psql", "mysql", "mariadb":
		for _, arg := range args[1:] {
			if parts := sqlPassword.FindStringSubmatch(arg.text); parts != nil {
				to = append(to, destination{with: tool, to: "password of role " + parts[1], name: "role " + parts[1], values: arg.values})
			}
		}
	case "rabbitmqctl":
		if (begins(list, "add_user") || begins(list, "change_password")) && len(list) > 2 {
			add("rabbitmqctl "+list[0].text, "password of user "+list[1].text, "user "+list[1].text, "", list[2])
		}
	case "htpasswd", "chpasswd":
		to = append(to, destination{with: tool, to: or(option(args, "-f").text, "passwords of users"), name: tool, values: args[len(args)-1].values, piped: true})
	case "ansible-vault":
		if begins(list, "encrypt_string") {
			to = append(to, destination{with: "ansible-vault encrypt_string", to: or(target, "a value of Ansible Vault"), name: or(target, "ansible-vault"), values: args[len(args)-1].values, piped: true})
		}
	case "curl":
		if verb := method(args); verb != "GET" {
			for i, arg := range args {
				if i > 0 && slices.Contains([]string{"-d", "--data", "--data-raw", "--data-binary", "--json", "-F"}, args[i-1].text) && len(arg.values) > 0 {
					to = append(to, destination{with: "curl " + verb, to: address(args), name: address(args), values: arg.values})
				}
			}
		}
	}
	return to
}

// kubeSecret is where kubectl create secret puts values.
func kubeSecret(tool string, args []word, kind, name string) (to []destination) {
	namespace := option(args, "-n", "--namespace").text
	if strings.Contains(namespace, "$") {
		namespace = ""
	}
	with := tool + " create secret " + kind
	place := func(field string) destination {
		return destination{with: with, to: "Kubernetes Secret " + name + ", key " + field, name: name + "/" + field, key: clue.KubeKey(namespace, name, field)}
	}
	for i, arg := range args {
		text := arg.text
		if i > 0 && slices.Contains([]string{"--from-literal", "--from-file", "--docker-password", "--key"}, args[i-1].text) {
			text = args[i-1].text + "=" + text
		}
		option, rest, _ := strings.Cut(text, "=")
		field, value, _ := strings.Cut(rest, "=")
		switch option {
		case "--from-literal":
			d := place(field)
			d.values = arg.values
			if arg.plain {
				d.literal = value
			}
			to = append(to, d)
		case "--from-file":
			d := place(field)
			d.file = or(value, field)
			to = append(to, d)
		case "--docker-password":
			d := place(".dockerconfigjson")
			d.values = arg.values
			if arg.plain {
				d.literal = rest
			}
			to = append(to, d)
		case "--key":
			d := place("tls.key")
			d.file = rest
			to = append(to, d)
		}
	}
	return to
}

var (
	headerForm = lazyregexp.New(`(?i)^(authorization|private-token|job-token|x-[a-z-]*(?:token|key|secret)|[a-z-]+-(?:token|key)|apikey)\s*:\s*(?:(?:bearer|basic|token)\s+)?(\S+)$`)
	longOption = lazyregexp.New(`^--?([A-Za-z][A-Za-z0-9-]*)=(.+)$`)
)

// literals finds values in clear among arguments: headers, users with passwords, options that are called like secrets.
func (r *run) literals(tool string, args []word) {
	for i, arg := range args {
		if !arg.plain || i == 0 {
			continue
		}
		before := args[i-1].text
		switch {
		case tool == "curl" && (before == "-H" || before == "--header"):
			if parts := headerForm.FindStringSubmatch(arg.text); parts != nil {
				if text, kind, _, ok := clue.Held(parts[1], parts[2], true); ok {
					r.holds(parts[1], text, or(kind, "token"), "a header of a request, in clear", arg.line)
				}
			}
		case (tool == "curl" || tool == "wget") && (before == "-u" || before == "--user"):
			if _, password, is := strings.Cut(arg.text, ":"); is {
				if text, _, _, ok := clue.Held("password", password, true); ok {
					r.holds(tool+" "+before, text, "password", "the password of a request, in clear", arg.line)
				}
			}
		default:
			if parts := longOption.FindStringSubmatch(arg.text); parts != nil && tool != "kubectl" && tool != "oc" {
				if text, kind, why, ok := clue.Held(parts[1], strings.Trim(parts[2], `"'`), false); ok {
					r.holds(parts[1], text, kind, or(why, "the name of the option"), arg.line)
				}
			} else if password, scheme := clue.Password(arg.text); scheme != "" && password != "" {
				if text, kind, why, ok := clue.Held("url", arg.text, false); ok {
					r.holds(tool+" "+scheme, text, kind, why, arg.line)
				}
			}
		}
	}
}
