// SPDX-License-Identifier: Apache-2.0

// Command envreaders reads every env file in a folder like docker's --env-file, like compose's env_file and with the Go
// library godotenv, and prints what each of them reads: reader, file, key and value in hexadecimal.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/docker/cli/pkg/kvfile"
	"github.com/joho/godotenv"
)

type reader struct {
	name string
	read func(path string) (map[string]string, error)
}

var readers = []reader{{"docker", docker}, {"compose", compose}, {"godotenv", func(path string) (map[string]string, error) { return godotenv.Read(path) }}}

func docker(path string) (map[string]string, error) {
	lines, err := kvfile.Parse(path, func(string) (string, bool) { return "", false })
	fields := map[string]string{}
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "=")
		fields[key] = value
	}
	return fields, err
}

func compose(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return dotenv.ParseWithLookup(bytes.NewReader(data), func(string) (string, bool) { return "", false })
}

func main() {
	entries, err := os.ReadDir(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	out := bufio.NewWriter(os.Stdout)
	for _, entry := range entries {
		for _, r := range readers {
			fmt.Fprintf(out, "%s\t%s\t!\n", r.name, entry.Name())
			fields, err := r.read(filepath.Join(os.Args[1], entry.Name()))
			if err != nil {
				continue
			}
			for key, value := range fields {
				fmt.Fprintf(out, "%s\t%s\t%x\t%x\n", r.name, entry.Name(), key, value)
			}
		}
	}
	if err := out.Flush(); err != nil {
		os.Exit(1)
	}
}
