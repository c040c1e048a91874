// SPDX-License-Identifier: Apache-2.0

package format

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/secret"
)

func value(t testing.TB, fields map[string]string) secret.Value {
	t.Helper()
	v, err := secret.Text(fields)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func exposed(v secret.Value) map[string]string {
	fields := map[string]string{}
	for _, name := range v.Names() {
		fields[name] = v.ExposeText(name)
	}
	return fields
}

func TestRender(t *testing.T) {
	fields := map[string]string{"user-name": "relay", "value": "it's \\ $5\n"}
	for name, test := range map[string]struct {
		layout Layout
		fields map[string]string
		want   string
	}{
		"Env":        {Layout{Format: Env, Reader: Systemd}, fields, "USER_NAME=relay\nVALUE=\"it's \\\\ \\$5\n\"\n"},
		"EnvSh":      {Layout{Format: Env, Reader: Sh}, fields, "USER_NAME=relay\nVALUE='it'\\''s \\ $5\n'\n"},
		"EnvDocker":  {Layout{Format: Env, Reader: Docker}, map[string]string{"value": `it's "$5" # x`}, "VALUE=it's \"$5\" # x\n"},
		"EnvNode":    {Layout{Format: Env, Reader: Node}, map[string]string{"value": `it's "$5"`}, "VALUE=`it's \"$5\"`\n"},
		"EnvPython":  {Layout{Format: Env, Reader: PythonDotenv}, map[string]string{"value": `\\it's`}, `VALUE='\\\\it\'s'` + "\n"},
		"EnvKeys":    {Layout{Format: Env, Reader: Systemd, Keys: map[string]string{"value": "smtp_pass"}, VersionKey: "V"}, fields, "USER_NAME=relay\nV=2.r.a\nsmtp_pass=\"it's \\\\ \\$5\n\"\n"},
		"EnvSingle":  {Layout{Format: Env}, map[string]string{"value": `a"$b c\d`}, "VALUE='a\"$b c\\d'\n"},
		"EnvEmpty":   {Layout{Format: Env}, map[string]string{"value": ""}, "VALUE=\n"},
		"JSON":       {Layout{Format: JSON, VersionKey: "version"}, fields, "{\n  \"user-name\":\"relay\",\n  \"value\":\"it's \\\\ $5\\n\",\n  \"version\":\"2.r.a\"\n}\n"},
		"JSONBytes":  {Layout{Format: JSON}, map[string]string{"value": "\xff\x00"}, "{\n  \"value\":{\"base64\":\"/wA=\"}\n}\n"},
		"JSONNone":   {Layout{Format: JSON}, nil, "{}\n"},
		"Properties": {Layout{Format: Properties, Keys: map[string]string{"value": "spring.mail.password"}}, map[string]string{"value": "  ä\\=€😀 "}, "spring.mail.password=\\ \\ \\u00E4\\\\=\\u20AC\\uD83D\\uDE00 \n"},
		"Raw":        {Layout{Format: Raw}, map[string]string{"value": "\x00\xff\n", "other": "x"}, "\x00\xff\n"},
		"RawField":   {Layout{Format: Raw, Field: "other"}, map[string]string{"value": "\x00\xff\n", "other": "x"}, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.layout.Render(value(t, test.fields), "2.r.a")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("rendering (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	const canary = "canary-77"
	for name, test := range map[string]struct {
		layout Layout
		fields map[string]string
		unfit  bool
	}{
		"NoFormat":            {layout: Layout{}},
		"UnknownFormat":       {layout: Layout{Format: "yaml"}},
		"FieldOfEnv":          {layout: Layout{Format: Env, Field: "value"}},
		"KeysOfRaw":           {layout: Layout{Format: Raw, Keys: map[string]string{"value": "x"}}},
		"VersionOfRaw":        {layout: Layout{Format: Raw, VersionKey: "x"}},
		"RawFieldMissing":     {layout: Layout{Format: Raw, Field: "absent"}},
		"KeyForMissingField":  {layout: Layout{Format: JSON, Keys: map[string]string{"absent": "x"}}},
		"TwoFieldsOneKey":     {layout: Layout{Format: JSON, Keys: map[string]string{"a": "x", "b": "x"}}, fields: map[string]string{"a": "", "b": ""}},
		"FieldTakesKey":       {layout: Layout{Format: JSON, Keys: map[string]string{"value": "b"}}, fields: map[string]string{"value": "", "b": ""}},
		"VersionTakesKey":     {layout: Layout{Format: JSON, VersionKey: "value"}},
		"UpperCaseCollision":  {layout: Layout{Format: Env}, fields: map[string]string{"a-b": "", "A.B": ""}},
		"EnvKeyDash":          {layout: Layout{Format: Env, Keys: map[string]string{"value": "A-B"}}},
		"EnvKeyLineBreak":     {layout: Layout{Format: Env, Keys: map[string]string{"value": "A\nB"}}},
		"EnvKeyEmpty":         {layout: Layout{Format: Env, Keys: map[string]string{"value": ""}}},
		"EnvLoader":           {layout: Layout{Format: Env, Keys: map[string]string{"value": "LD_PRELOAD"}}},
		"EnvPath":             {layout: Layout{Format: Env}, fields: map[string]string{"path": "x"}},
		"EnvVersionInBashEnv": {layout: Layout{Format: Env, VersionKey: "BASH_ENV"}},
		"JSONKey":             {layout: Layout{Format: JSON, Keys: map[string]string{"value": `a"b`}}},
		"PropertiesKey":       {layout: Layout{Format: Properties, Keys: map[string]string{"value": "a=b"}}},
		"EnvNUL":              {layout: Layout{Format: Env}, fields: map[string]string{"v": canary + "\x00"}, unfit: true},
		"EnvNotUTF8":          {layout: Layout{Format: Env}, fields: map[string]string{"v": canary + "\xff"}, unfit: true},
		"EnvNoncharacter":     {layout: Layout{Format: Env}, fields: map[string]string{"v": canary + "\U0001FFFE"}, unfit: true},
		"EnvCRLF":             {layout: Layout{Format: Env}, fields: map[string]string{"v": canary + "\r\n"}, unfit: true},
		"EnvBackslash":        {layout: Layout{Format: Env}, fields: map[string]string{"v": canary + `\`}, unfit: true},
		"EnvQuotes":           {layout: Layout{Format: Env}, fields: map[string]string{"v": canary + `'"`}, unfit: true},
		"EnvDollar":           {layout: Layout{Format: Env}, fields: map[string]string{"v": canary + "'s $5"}, unfit: true},
		"EnvBackslashN":       {layout: Layout{Format: Env}, fields: map[string]string{"v": canary + `'s \n`}, unfit: true},
		"EnvShare":            {layout: Layout{Format: Env}, fields: map[string]string{"v": `\\server\` + canary}, unfit: true},
		"EnvLines":            {layout: Layout{Format: Env}, fields: map[string]string{"v": canary + "\nb"}, unfit: true},
		"DockerLines":         {layout: Layout{Format: Env, Reader: Docker}, fields: map[string]string{"v": canary + "\nb"}, unfit: true},
		"UnknownReader":       {layout: Layout{Format: Env, Reader: "perl"}},
		"ReaderOfJSON":        {layout: Layout{Format: JSON, Reader: Sh}},
		"ReaderOfRaw":         {layout: Layout{Format: Raw, Reader: Sh}},
		"PropertiesNotUTF8":   {layout: Layout{Format: Properties}, fields: map[string]string{"v": canary + "\xff"}, unfit: true},
	} {
		t.Run(name, func(t *testing.T) {
			fields := test.fields
			if fields == nil {
				fields = map[string]string{"value": canary}
			}
			_, err := test.layout.Render(value(t, fields), "1.r.a")
			if err == nil || errors.Is(err, ErrUnfit) != test.unfit {
				t.Fatalf("got error %v, want one, and ErrUnfit: %v", err, test.unfit)
			}
			if strings.Contains(err.Error(), canary) {
				t.Error("got a value in an error")
			}
		})
	}
}

func TestReadRefusesWithoutQuoting(t *testing.T) {
	const canary = "canary-78"
	for name, test := range map[string]struct {
		format Name
		data   string
	}{
		"EnvUnterminated":    {Env, "A='" + canary},
		"EnvNoKey":           {Env, canary + " here"},
		"JSONCut":            {JSON, `{"a":"` + canary},
		"JSONArray":          {JSON, `["` + canary + `"]`},
		"JSONNull":           {JSON, `null`},
		"JSONNumber":         {JSON, `{"` + "a" + `":7}`},
		"JSONTrailing":       {JSON, `{"a":"b"} ` + canary},
		"PropertiesNoSign":   {Properties, canary + "\n"},
		"PropertiesCut":      {Properties, "a=" + canary + `\`},
		"PropertiesHex":      {Properties, `a=` + canary + `\u12x4`},
		"PropertiesShortHex": {Properties, `a=` + canary + `\u12`},
		"PropertiesTwice":    {Properties, "a=1\na=2\n"},
		"PropertiesKey":      {Properties, canary + " b=1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Layout{Format: test.format}.Read([]byte(test.data))
			if err == nil {
				t.Fatal("got no error")
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("got content in an error: %v", err)
			}
		})
	}
}
