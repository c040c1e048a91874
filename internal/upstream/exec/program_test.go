// SPDX-License-Identifier: Apache-2.0

package exec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type object = map[string]any

// program is the test binary as a program of type exec.
func program(args []string) int {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 1
	}
	var request object
	if err := json.Unmarshal(input, &request); err != nil {
		return 1
	}
	kind := object{
		"capability": request["mode"], "undo": "discard", "lostReply": "recover", "methods": []string{"propose", "apply", "verify", "revoke"},
	}
	switch args[0] {
	case "store":
		if request["mode"] == "overwrite" {
			kind["undo"] = "reapply"
		}
		reply(store(request, kind))
	case "record":
		return record(args[1], input, request, kind)
	case "error":
		if request["method"] == "kind" {
			reply(object{"kind": kind})
			return 0
		}
		reply(object{"error": object{"class": args[1], "text": "a reason of\ntwo lines", "hint": "turn it", "after": "90s"}})
	case "list":
		if request["method"] == "kind" {
			kind["issues"], kind["lostReply"], kind["methods"] = true, "person", []string{"apply", "verify", "revoke", "list", "decoy"}
			reply(object{"kind": kind})
			return 0
		}
		reply(object{"credentials": args[1:]})
	case "late": // answers from the moment on that its file exists
		if _, err := os.Stat(args[1]); err != nil {
			return 1
		}
		reply(object{"kind": kind})
	case "bad":
		switch args[1] {
		case "hang":
			kind["callDeadline"] = "2s"
		case "no-list", "timeless":
			kind["evidence"] = object{"source": "sessions", "late": "1s", "fine": "1s", "names": true}
			kind["methods"] = []string{"propose", "apply", "verify", "revoke", "uses"}
		}
		if request["method"] == "kind" {
			reply(object{"kind": kind})
			return 0
		}
		return misbehave(args[1:], request)
	}
	return 0
}

func reply(fields object) {
	out := object{"custody": 1}
	maps.Copy(out, fields)
	_ = json.NewEncoder(os.Stdout).Encode(out)
}

// store keeps the password of each account in a file of its own; an account without a file cannot sign in.
func store(request, kind object) object {
	folder := request["parameters"].(object)["store"].(string)
	field := func(value, name string) string {
		fields, _ := request[value].(object)
		text, _ := fields[name].(string)
		return text
	}
	fail := func(class, text string) object {
		return object{"error": object{"class": class, "text": text, "after": "1s"}}
	}
	switch request["method"] {
	case "kind":
		return object{"kind": kind}
	case "propose":
		value := object{"username": "a"}
		if current, ok := request["current"].(object); ok {
			maps.Copy(value, current)
		}
		switch {
		case request["mode"] == "alternate" && field("current", "username") == "a":
			value["username"] = "b"
		case request["mode"] == "alternate":
			value["username"] = "a"
		case request["mode"] == "dual": // each password is a credential of its own
			value["username"] = fmt.Sprint("key-", time.Now().UnixNano())
		}
		value["password"] = request["password"]
		return object{"value": value}
	}
	if _, err := os.Stat(folder); err != nil {
		return fail("not-applied", "the store is away")
	}
	if _, err := os.Stat(filepath.Join(folder, "busy")); err == nil {
		return fail("later", "asked too often")
	}
	file := func(value string) string { return filepath.Join(folder, filepath.Base(field(value, "username"))) }
	switch request["method"] {
	case "verify":
		held, err := os.ReadFile(file("value"))
		if err == nil && field("value", "password") != "" && string(held) == field("value", "password") {
			return object{"verdict": "accepted"}
		}
		return object{"verdict": "refused"}
	case "apply":
		if len(field("candidate", "password")) < 12 {
			return fail("refused-candidate", "the password is too short")
		}
		if err := os.WriteFile(file("candidate"), []byte(field("candidate", "password")), 0o600); err != nil {
			return fail("ambiguous", "writing failed")
		}
		return object{}
	case "revoke":
		if field("old", "username") != field("successor", "username") {
			if err := os.Remove(file("old")); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fail("ambiguous", "removing failed")
			}
		}
		return object{}
	}
	return fail("not-applied", "no such method")
}

// record keeps what it is given.
func record(file string, input []byte, request, kind object) int {
	log, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	defer log.Close()
	if _, err := log.Write(append(input, '\n')); err != nil {
		return 1
	}
	folder, _ := os.Getwd()
	environment := strings.Join(slices.Sorted(slices.Values(os.Environ())), "\n") + "\n" + folder
	if err := os.WriteFile(file+".environment", []byte(environment), 0o600); err != nil {
		return 1
	}
	switch request["method"] {
	case "kind":
		kind["settle"], kind["wrongEvery"], kind["fences"] = "3s", "1m", true
		kind["evidence"] = object{"source": "sessions", "late": "1s", "fine": "1s", "names": true}
		kind["methods"] = []string{"propose", "apply", "verify", "revoke", "uses"}
		reply(object{"kind": kind})
	case "propose":
		value := request["current"].(object)
		value["password"] = request["password"]
		reply(object{"value": value})
	case "verify":
		reply(object{"verdict": "accepted"})
	case "uses":
		reply(object{"uses": []object{
			{"who": "the stock\nserver", "last": "2030-01-02T03:04:05Z"}, {"who": "somebody long ago", "last": "2030-01-02T03:04:04Z"},
		}})
	default:
		reply(object{})
	}
	return 0
}

func misbehave(args []string, request object) int {
	var password any
	for _, name := range []string{"candidate", "value"} {
		if fields, ok := request[name].(object); ok {
			password = fields["password"]
		}
	}
	switch args[0] {
	case "nothing":
	case "text":
		fmt.Println("done:", password)
	case "unknown-field":
		reply(object{"verdict": "accepted", "password": password})
	case "no-list":
		reply(object{})
	case "timeless":
		reply(object{"uses": []object{{"who": "the stock server"}}})
	case "other-version":
		reply(object{"custody": 2})
	case "two":
		reply(object{"verdict": "accepted"})
		reply(object{"verdict": "accepted"})
	case "exit":
		reply(object{"verdict": "accepted"})
		return 3
	case "signal":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "flood":
		fmt.Println(strings.Repeat(" ", 2<<20))
		reply(object{"verdict": "accepted"})
	case "hang":
		time.Sleep(10 * time.Minute)
	case "leave":
		child := osexec.Command("/bin/sleep", "600")
		child.Stdout = os.Stdout
		_ = child.Start()
		reply(object{"verdict": "accepted"})
	case "family":
		child := osexec.Command("/bin/sleep", "600")
		_ = child.Start()
		_ = os.WriteFile(args[1], []byte(strconv.Itoa(child.Process.Pid)+"."), 0o600)
		if args[2] == "hangs" {
			time.Sleep(10 * time.Minute)
		}
		if args[2] == "fails" {
			return 3
		}
		reply(object{"verdict": "accepted"})
	case "quote":
		reply(object{"error": object{"class": "ambiguous", "text": fmt.Sprintf("cannot set %v here", password)}})
	case "stderr":
		fmt.Fprint(os.Stderr, "x ", password, "\n")
		return 1
	case "classless":
		reply(object{"error": object{"class": "oops", "text": "something"}})
	}
	return 0
}
