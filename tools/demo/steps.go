// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/client"
	"custody.dev/custody/internal/realparts/signin"
	"custody.dev/custody/internal/server"
)

const (
	adminUser = "custody_admin"
	// noPostgreSQL says how to have it.
	noPostgreSQL = "as root, `tools/install-parts postgresql`"
	rounds       = 6
)

// walk is the tour, from a .env to steady state and back to nothing.
func (t *tour) walk(without []string) error {
	t.line(t.paint("1", "Custody: a tour on this machine") + "  (everything happens in " + t.base + ")")
	if !leftOut(without, postgresql) {
		t.database, t.err = t.startDatabase()
	}
	t.open(without)
	for _, part := range []func(){
		t.yesterday, t.rootOfTrust, t.declare, t.controlPlane, t.authority, t.steadyState,
		t.rotate, t.interrupt, t.show, t.answers, t.record, t.nothingLeaked, t.shown,
	} {
		if t.err == nil {
			part()
		}
	}
	return t.err
}

// startDatabase starts a server with an admin role, and stops it again: the tour begins while it is down.
func (t *tour) startDatabase() (*realparts.Server, error) {
	dir := filepath.Join(t.base, "postgresql")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	database, err := realparts.StartPostgres(t.ctx, dir, realparts.PostgresOptions{})
	if errors.Is(err, realparts.ErrNoPostgres) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t.cluster = database
	t.values = append(t.values, drawn("admin-"))
	if _, err := database.Exec(t.ctx, fmt.Sprintf("CREATE ROLE %s LOGIN CREATEROLE PASSWORD '%s'", adminUser, t.values[0])); err != nil {
		return nil, err
	}
	return database, database.Stop()
}

func (t *tour) yesterday() {
	t.step("Yesterday", "A shop keeps its secrets in a .env file next to the code. Nobody knows who owns them or when they expire.")
	smtp, session := drawn("smtp-"), drawn("session-")
	t.values = append(t.values, smtp, session)
	t.write(".env", "SMTP_TOKEN="+smtp+"\nSESSION_KEY="+session+"\nPORT=8080\n")
	t.run(call{shown: `sed "s/=.*/=.../" .env`, program: "sed", args: []string{"s/=.*/=.../", ".env"}, show: all})
	t.write(".gitignore", "/.env\n/client/\n")
	if _, err := exec.LookPath("git"); err != nil {
		t.output([]string{"git is not installed: the tour goes on in a folder without history"})
		return
	}
	t.git = true
	t.run(call{program: "git", args: []string{"init", "--quiet", "--initial-branch", "main"}})
}

func (t *tour) rootOfTrust() {
	t.step("Phase 0: root of trust", "One command makes an estate (configuration) for Git, and three keys that do not belong in Git. The root key\n(recovery key) opens everything, but nothing that runs needs it: it is split into shares, which leave the machine.")
	t.run(call{args: []string{"init", ".", "--platform", "shop", "--team", "shop", "--contact", "shop@example.org", "--from-env", ".env", "--skip", "PORT"},
		show: holding("the estate: documents", "the settings of this machine", "private keys", "values of .env sealed")})
	t.run(call{args: []string{"root", "split", "--key", "keys/root.agekey", "--shares", "3", "--threshold", "2", "--out-dir", "../elsewhere"}, show: holding("share")})
	t.run(call{program: "rm", args: []string{"keys/root.agekey", ".env"}})
	t.write("custody.yaml", t.configure(t.read("custody.yaml")))
	t.write("estate/policies.yaml", t.read("estate/policies.yaml")+policyDocument)
}

func (t *tour) declare() {
	if t.database == nil {
		t.rotated = "shop-token"
		t.step("Declare what is to rotate", "PostgreSQL is not installed. The tour uses a token that Custody generates instead of a database account.")
		t.write("estate/secrets/token.yaml", tokenDocument())
		t.run(call{args: []string{"lint"}, show: all})
		return
	}
	t.rotated = "shop-database"
	t.step("Declare a database", "The estate declares a PostgreSQL server, its admin credential, and an account of two users that take turns.\nThe admin's password is still missing, and lint reports that.")
	t.write("estate/database.yaml", databaseDocuments(t.database.Host, t.database.Port, adminUser))
	t.run(call{args: []string{"lint"}, exit: 3, show: all})
	t.run(call{args: []string{"seal", "database-admin", "--field", "username", "-"}, stdin: adminUser + "\n", shown: "custody seal database-admin --field username -"})
	t.run(call{args: []string{"seal", "database-admin", "--field", "password", "-"}, stdin: t.values[0] + "\n",
		shown: "pass show admin | custody seal database-admin --field password -", show: all})
	t.run(call{args: []string{"lint"}, show: all})
}

func (t *tour) controlPlane() {
	t.step("Phases 1 and 2: control plane, bootstrap", "Git has everything that is declared. Without its private key (the bootstrap identity) this machine cannot decrypt\nthe sealed values in it, and the platform stays in phase 1. The platform enters a phase only on evidence.")
	t.commit("estate of the shop")
	t.run(call{program: "mv", args: []string{"keys/bootstrap.agekey", "../elsewhere"}})
	t.phase(1, "control plane")
	t.run(call{program: "mv", args: []string{"../elsewhere/bootstrap.agekey", "keys"}})
	t.phase(2, "bootstrap")
}

// commit records in Git what should be, where there is Git.
func (t *tour) commit(message string) {
	if !t.git {
		return
	}
	t.run(call{program: "git", args: []string{"add", "--all"}})
	t.run(call{program: "git", args: []string{"commit", "--quiet", "--message", message}})
	t.commits++
}

// phase shows the phase and wants it to be this one.
func (t *tour) phase(number int, name string) {
	said := t.run(call{args: []string{"status"}, show: standing})
	want := fmt.Sprintf("phase: +%d ", number)
	t.check(regexp.MustCompile(want).MatchString(said), fmt.Sprintf("phase %d, %s", number, name), fmt.Sprintf("custody status does not say phase %d", number))
}

// standing keeps phase, evidence and what is waited for of what custody status prints.
func standing(lines []string) []string {
	var kept []string
	for _, line := range lines {
		if line == "" {
			break
		}
		if strings.HasPrefix(line, "phase") || strings.HasPrefix(line, "  - ") || strings.HasPrefix(line, "the next phase") {
			kept = append(kept, line)
		}
	}
	return kept
}

func (t *tour) authority() {
	about := "The server creates its authority (secrets store), encrypted with its own key, and hands over (imports) the values\nof the .env: from now on the authority is right about them, not Git. The token is not steady yet, because no client has\nconfirmed it."
	if t.database != nil {
		about = "The server creates its authority (secrets store), encrypted with its own key, and hands over (imports) the values\nof the .env: from now on the authority is right about them, not Git. The database is down, so its admin password cannot\nbe tested, and stays in Git."
	}
	t.step("Phase 3: authority, handover", about)
	t.serve()
	waiting := t.rotated
	if t.database != nil {
		waiting = "database-admin"
		t.grant()
	}
	t.await(waiting+" to wait alone", time.Minute, func() bool {
		for _, name := range []string{"smtp-token", "session-key"} {
			if _, err := os.Stat(t.path("run", "imported", name+".env")); err != nil || t.row(name).State != "steady" {
				return false
			}
		}
		return t.row(waiting).Waiting != nil
	})
	said := t.run(call{args: []string{"status"}, show: func(lines []string) []string {
		return append(standing(lines), holding("SECRET ", "database-admin  ", "session-key  ", "smtp-token  ", "shop-token  ")(lines)...)
	}})
	t.check(strings.Contains(said, "phase:        3 "), "phase 3, authority: for each secret, status says whether Git or the authority is right", "custody status does not say phase 3")
	delivered := t.run(call{shown: `sed "s/=.*/=.../" run/imported/*.env`, program: "sh", args: []string{"-c", `sed "s/=.*/=.../" run/imported/*.env`}, show: all})
	t.check(strings.Contains(delivered, "SMTP_TOKEN=") && strings.Contains(t.read("run/imported/smtp-token.env"), t.values[len(t.values)-2]),
		"applications read the same variables, now from files that Custody writes", "the imported values were not delivered")
}

// grant allows what the estate asks for: whoever can write to it could otherwise name a server of theirs.
func (t *tour) grant() {
	t.output([]string{"The estate can only ask where credentials may be sent and who may read another team's secret. A person grants it."})
	t.run(call{args: []string{"grant", "--current", "--reason", "the tour", "--yes"}, show: holding("granted")})
}

func (t *tour) steadyState() {
	if t.database == nil {
		t.step("Phase 4: steady state", "Eight clients start: four read the file at each use, four keep what they read until they are reloaded.")
	} else {
		t.step("Phase 4: steady state", "The database is up again. Custody tests the admin credential, hands it over, and creates the shop's first user with\nit. Eight clients start: four read the file at each sign-in, four keep what they read until they are reloaded.")
		t.command("pg_ctl start")
		if err := t.database.Start(t.ctx); err != nil {
			t.fail("%w", err)
		}
	}
	to := target{Kind: nowhere}
	if t.database != nil {
		to = target{Kind: postgresql, Host: t.database.Host, Port: t.database.Port}
	}
	t.client = t.enter(shop, plan{Target: to, Plan: client.Plan{Workers: 8, Every: 500 * time.Millisecond}})
	t.settled(t.rotated, "")
	t.await("phase 4", time.Minute, func() bool {
		status, err := t.ask().Status(t.ctx, server.Filter{})
		return err == nil && status.Standing.Phase == 4
	})
	t.phase(4, "steady state")
}

// enter starts the clients of that name as soon as there is something for them.
func (t *tour) enter(name string, p plan) *signingIn {
	p.Polled, p.Held, p.Folder = t.path("run", "app", name+"-reading.json"), t.path("run", "app", name+"-holding.json"), t.path("client", name)
	t.await("the first credential of "+name+" to be delivered", time.Minute, func() bool {
		_, polled := os.Stat(p.Polled)
		_, held := os.Stat(p.Held)
		return polled == nil && held == nil
	})
	if t.err != nil {
		return nil
	}
	entered, err := startClient(t.self, p)
	if err != nil {
		t.fail("%w", err)
		return nil
	}
	return entered
}

func (t *tour) rotate() {
	about := "In each run, Custody creates a new credential, applies it beside the old one, tests it, promotes it and delivers it.\nWhen the clients have proved that they use it, Custody revokes the old one, and tests that it is refused. The clients\nkeep working."
	t.step(fmt.Sprintf("Rotate %d times under the clients", rounds), about)
	before := t.client.signIns()
	var old []fields
	for i := range rounds {
		if t.err != nil {
			return
		}
		old = append(old, t.delivered(shop))
		ask := call{args: []string{"rotate", t.rotated, "--reason", fmt.Sprintf("round %d of the tour", i+1), "--wait"}}
		if i == 0 {
			ask.show = all
		}
		t.run(ask)
		t.rotations++
	}
	if t.database != nil {
		t.run(call{args: []string{"rotate", "database-admin", "--reason", "the admin's own turn", "--wait"}, show: holding("completed after")})
		t.rotations++
	}
	t.unharmed(t.client, before)
	if t.database == nil || t.err != nil {
		return
	}
	refused := 0
	for _, f := range old {
		if errors.Is(t.client.plan.Target.signIn(f), signin.ErrRefused) {
			refused++
		}
	}
	t.check(refused == rounds, fmt.Sprintf("the server now refuses %d of %d old passwords", refused, rounds), fmt.Sprintf("only %d of %d old passwords are refused", refused, rounds))
}

// delivered is what the clients of that name have now, whose values are looked for in the end.
func (t *tour) delivered(name string) fields {
	f, err := client.Read(t.path("run", "app", name+"-reading.json"))
	if err != nil {
		t.fail("%w", err)
		return nil
	}
	t.values = append(t.values, fields(f).secrets()...)
	return f
}

// unharmed wants clients that worked all the while and were never refused.
func (t *tour) unharmed(c *signingIn, before int64) {
	what := "sign-ins"
	if c.plan.Target.Kind == nowhere {
		what = "uses"
	}
	if t.err != nil {
		return
	}
	seen, err := c.seen()
	// What was just shown may have taken less time than lies between two sign-ins.
	for limit := time.Now().Add(10 * time.Second); err == nil && seen.SignIns == before && time.Now().Before(limit); seen, err = c.seen() {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.fail("%w", err)
		return
	}
	since := seen.SignIns - before
	t.check(seen.Failed() == 0 && since > 0, fmt.Sprintf("%d %s by %d clients meanwhile, refused %s: 0", since, what, c.plan.Workers, what),
		fmt.Sprintf("%d of %d %s were refused, the first by %s", seen.Failed(), seen.SignIns, what, seen.First))
}

func (t *tour) interrupt() {
	t.step("Kill the server in the middle of a run", "SIGKILL leaves no time to clean up. The journal says what the run has done; for the rest, the next process asks the\nupstream and the consumers.")
	before, version := t.client.signIns(), t.row(t.rotated).Version
	if live := t.cutOff(); t.err == nil {
		t.check(live, "the run is under way, and no server is running", "the run is over, though its consumer has not proven the new version")
	}
	t.serve()
	t.settled(t.rotated, version)
	t.rotations++
	if t.err != nil {
		return
	}
	row := t.row(t.rotated)
	if row.Last == nil {
		t.fail("%s has no last run", t.rotated)
		return
	}
	t.run(call{args: []string{"run", "show", string(row.Last.Run)}, show: holding("result", "why", " ok ")})
	resumed := slices.ContainsFunc(t.serving.log(), func(line string) bool {
		a := logged(line)
		return a["run"] == string(row.Last.Run) && a["resumed"] == "true"
	})
	t.check(resumed && row.Last.Result == "completed", "the new process resumed the same run and completed it", "the run was not resumed")
	t.unharmed(t.client, before)
}

// cutOff asks for a rotation, kills the server in the middle of it, and reports whether the run is still live. The clients stand
// still meanwhile: what they have not proven no run goes past, however fast the machine is.
func (t *tour) cutOff() bool {
	known := len(t.serving.steps(t.rotated))
	clients := t.client.command.Process
	t.command(fmt.Sprintf("kill -STOP %d    # the clients, which then cannot prove that they have the new version", clients.Pid))
	if err := clients.Signal(syscall.SIGSTOP); err != nil {
		t.fail("stopping the clients: %w", err)
		return false
	}
	defer func() { _ = clients.Signal(syscall.SIGCONT) }()
	t.run(call{args: []string{"rotate", t.rotated, "--reason", "cut off on purpose"}, show: all})
	t.await("the run to have promoted its candidate", time.Minute, func() bool {
		return slices.Contains(since(t.serving.steps(t.rotated), known), "promoted")
	})
	if t.err != nil {
		return false
	}
	t.command(fmt.Sprintf("kill -9 %d    # custody serve", t.serving.command.Process.Pid))
	if t.err = t.serving.kill(); t.err != nil {
		return false
	}
	t.output([]string{"steps that the run had done: " + strings.Join(since(t.serving.steps(t.rotated), known), ", ")})
	said := t.run(call{args: []string{"run", "list", "--secret", t.rotated}, show: holding("RESULT", " live ")})
	t.command(fmt.Sprintf("kill -CONT %d", clients.Pid))
	return strings.Contains(said, " live ")
}

// since are the steps after the first n.
func since(steps []string, n int) []string { return steps[min(n, len(steps)):] }

func (t *tour) answers() {
	t.step("Which secrets exist, who owns them, who depends on them, when do they expire", "One command answers, as a table or as JSON.")
	t.run(call{args: []string{"inventory"}, show: all})
	t.run(call{args: []string{"explain", t.rotated}, show: func(lines []string) []string {
		end := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "AT ") })
		if end < 0 {
			return lines
		}
		return lines[:end]
	}})
	t.run(call{args: []string{"doctor"}, show: holding("violations,")})
	if !t.git {
		return
	}
	text, _, err := t.quietly("git", []string{"status", "--porcelain"}, "")
	made, _, failed := t.quietly("git", []string{"rev-list", "--count", "HEAD"}, "")
	t.check(err == nil && failed == nil && strings.TrimSpace(text) == "" && strings.TrimSpace(made) == strconv.Itoa(t.commits),
		fmt.Sprintf("Git has %s, all made by hand to change what is declared. No rotation needed a commit", counted(t.commits, "commit")),
		"git status is not clean: "+text)
}

// counted is a number of things.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

func (t *tour) record() {
	t.step("The record", "Every transition is an event in the record (audit log), a Merkle tree whose head is signed. If one byte of a copy\nis changed, audit verify detects it.")
	t.command(fmt.Sprintf("kill %d    # custody serve, which finishes its current step", t.serving.command.Process.Pid))
	if t.err = t.serving.terminate(); t.err != nil {
		return
	}
	t.run(call{args: []string{"audit", "verify"}, show: all})
	t.run(call{program: "cp", args: []string{"-r", "state/audit", "../copy"}})
	verify := []string{"audit", "verify", "--folder", "../copy", "--key", "state/audit.pub", "--checkpoint", "../elsewhere/checkpoint"}
	t.run(call{args: verify, show: holding("sound")})
	if t.err != nil {
		return
	}
	where, err := changeOneByte(filepath.Join(t.base, "copy"))
	if err != nil {
		t.fail("changing a byte: %w", err)
		return
	}
	t.command("# one byte of ../copy is changed: " + where)
	said := t.run(call{args: verify, exit: 3, show: all})
	t.check(!strings.Contains(said, "sound:"), "the change is detected", "a changed record passed for sound")
}

// changeOneByte changes a letter in the reason of some event in the middle of the record.
func changeOneByte(folder string) (string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	if err != nil || len(files) == 0 {
		return "", errors.Join(errors.New("there is no record"), err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		return "", err
	}
	found := strings.LastIndex(string(data), "round 3 of the tour")
	if found < 0 {
		return "", errors.New("an expected event is not on record")
	}
	data[found+len("round ")] = '9'
	return "round 3 is now round 9", os.WriteFile(files[0], data, 0o600)
}

func (t *tour) nothingLeaked() {
	t.step("Nothing leaked, nothing left", "The tour searches for the values of the .env, everything that was sealed, and the credentials that clients had: in the\nGit history, in the state folder, in the log of the server, and in everything that the commands above printed.")
	t.delivered(shop)
	clients := []*signingIn{t.client}
	for _, e := range t.exhibits {
		if e.client != nil {
			t.delivered(e.id)
			clients = append(clients, e.client)
		}
	}
	for _, c := range clients {
		if t.err != nil {
			return
		}
		if t.err = c.stop(); t.err != nil {
			return
		}
		seen, err := c.seen()
		if err != nil {
			t.fail("reading what the clients have seen: %w", err)
		}
		t.signIns += seen.SignIns
		t.check(seen.Failed() == 0, "", fmt.Sprintf("%d of %d sign-ins were refused, the first by %s", seen.Failed(), seen.SignIns, seen.First))
	}
	t.check(true, fmt.Sprintf("%d sign-ins by %d programs in total, refused sign-ins: 0", t.signIns, len(clients)), "")
	if t.err != nil {
		return
	}
	places := map[string]string{"what the commands printed": t.said.String(), "the server's log": strings.Join(t.serving.log(), "\n")}
	if t.git {
		history, code, err := t.quietly("git", []string{"log", "--all", "--patch"}, "")
		if err != nil || code != 0 || !strings.Contains(history, "sops:") {
			t.fail("reading the Git history failed with exit code %d: %v", code, err)
			return
		}
		places["the Git history"] = history
	}
	err := filepath.WalkDir(t.path("state"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		places[path] = string(data)
		return err
	})
	if err != nil {
		t.fail("reading the state folder: %w", err)
		return
	}
	for place, text := range places {
		for i, value := range t.values {
			escaped, err := json.Marshal(value)
			if err != nil || value == "" || strings.Contains(text, strings.Trim(string(escaped), `"`)) {
				t.fail("value %d of %d was found in %s", i+1, len(t.values), place)
				return
			}
		}
	}
	t.good(fmt.Sprintf("searched for %d values in %d places: none found", len(t.values), len(places)))
}
