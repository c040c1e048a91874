// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"bytes"
	"embed"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

//go:embed templates
var templates embed.FS

// facts are what the templates may say.
type facts struct {
	Platform, Environment  string
	Team, Contact          string
	Root, Bootstrap        string
	Secret, Variable, Path string
	Imports                bool
	// All are the imported variables.
	All []Variable
}

// render fills in one template. The templates are part of the program: one that fails is a mistake that tests find.
func render(name string, f facts) []byte {
	parsed := template.Must(template.New(name).Option("missingkey=error").Funcs(template.FuncMap{"yaml": scalar}).
		ParseFS(templates, "templates/"+strings.TrimPrefix(name, ".")))
	var b bytes.Buffer
	if err := parsed.ExecuteTemplate(&b, strings.TrimPrefix(name, "."), f); err != nil {
		panic("scaffold: rendering " + name + ": " + err.Error())
	}
	return b.Bytes()
}

// scalar writes text such that YAML reads the same text.
func scalar(text string) (string, error) {
	data, err := yaml.Marshal(text)
	return strings.TrimSuffix(string(data), "\n"), err
}
