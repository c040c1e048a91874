// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math"
	"strconv"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/golang-jwt/jwt/v5"
)

// functions are those that recipes have beside CEL's own and its extensions for texts, lists and encodings.
type functions struct{}

// CompileOptions declares them.
func (functions) CompileOptions() []cel.EnvOption {
	object := cel.MapType(cel.StringType, cel.DynType)
	return []cel.EnvOption{
		cel.Function("jwt", cel.Overload("jwt_string_map_map", []*cel.Type{cel.StringType, object, object}, cel.StringType,
			cel.FunctionBinding(func(args ...ref.Val) ref.Val {
				header, okHeader := object2(args[1])
				claims, okClaims := object2(args[2])
				key, okKey := args[0].Value().(string)
				if !okHeader || !okClaims || !okKey {
					return types.NewErr("jwt wants a key, a header and claims")
				}
				signed, err := sign(key, header, claims)
				if err != nil {
					return types.NewErr("jwt cannot sign with this key")
				}
				return types.String(signed)
			}))),
		cel.Function("json", cel.Overload("json_string", []*cel.Type{cel.StringType}, cel.DynType,
			cel.UnaryBinding(func(arg ref.Val) ref.Val {
				text, ok := arg.Value().(string)
				var data any
				if !ok || json.Unmarshal([]byte(text), &data) != nil {
					return types.NewErr("json wants the text of an object, a list or a value")
				}
				return types.DefaultTypeAdapter.NativeToValue(data)
			}))),
		cel.Function("sha256", cel.Overload("sha256_string", []*cel.Type{cel.StringType}, cel.StringType,
			cel.UnaryBinding(func(arg ref.Val) ref.Val {
				text, ok := arg.Value().(string)
				if !ok {
					return types.NewErr("sha256 wants text")
				}
				sum := sha256.Sum256([]byte(text))
				return types.String(hex.EncodeToString(sum[:]))
			}))),
	}
}

// ProgramOptions has none.
func (functions) ProgramOptions() []cel.ProgramOption { return nil }

func object2(v ref.Val) (map[string]any, bool) {
	data, present, ok := asData(v)
	object, isObject := data.(map[string]any)
	return object, ok && present && isObject
}

// sign makes a JWT by the key's own algorithm.
func sign(key string, header, claims map[string]any) (string, error) {
	private, err := parseKey(key)
	if err != nil {
		return "", err
	}
	var method jwt.SigningMethod
	switch private := private.(type) {
	case *rsa.PrivateKey:
		method = jwt.SigningMethodRS256
	case *ecdsa.PrivateKey:
		if private.Curve.Params().BitSize != 256 {
			return "", errors.New("want P-256")
		}
		method = jwt.SigningMethodES256
	case ed25519.PrivateKey:
		method = jwt.SigningMethodEdDSA
	default:
		return "", errors.New("unknown sort of key")
	}
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	for name, value := range header {
		token.Header[name] = value
	}
	return token.SignedString(private)
}

// parseKey reads a private key in PEM: PKCS #8, PKCS #1 or SEC 1. The error holds nothing of it.
func parseKey(text string) (any, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the key is not PEM")
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	return nil, errors.New("the key is of no known form")
}

// asText is what an expression gives where text is wanted.
func asText(v ref.Val) (string, bool) {
	switch v := v.(type) {
	case types.String:
		return string(v), true
	case types.Int:
		return strconv.FormatInt(int64(v), 10), true
	case types.Uint:
		return strconv.FormatUint(uint64(v), 10), true
	case types.Double:
		if f := float64(v); f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return strconv.FormatInt(int64(f), 10), true
		}
	case types.Bool:
		return strconv.FormatBool(bool(v)), true
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339), true
	case types.Null:
		return "", true
	case *types.Optional:
		if !v.HasValue() {
			return "", true
		}
		return asText(v.GetValue())
	}
	return "", false
}

// asData is what an expression gives where JSON is wanted. present is false for optional.none().
func asData(v ref.Val) (data any, present, ok bool) {
	switch v := v.(type) {
	case types.String, types.Int, types.Uint, types.Double, types.Bool:
		return v.Value(), true, true
	case types.Null:
		return nil, true, true
	case types.Bytes:
		return base64.StdEncoding.EncodeToString(v), true, true
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339), true, true
	case *types.Optional:
		if !v.HasValue() {
			return nil, false, true
		}
		return asData(v.GetValue())
	case traits.Mapper:
		out := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, isText := key.(types.String)
			if !isText {
				return nil, false, false
			}
			item, present, ok := asData(v.Get(key))
			if !ok {
				return nil, false, false
			}
			if present {
				out[string(name)] = item
			}
		}
		return out, true, true
	case traits.Lister:
		out := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			item, present, ok := asData(it.Next())
			if !ok {
				return nil, false, false
			}
			if present {
				out = append(out, item)
			}
		}
		return out, true, true
	}
	return nil, false, false
}

// asList is what an expression gives where items are wanted. Null is an empty list.
func asList(v ref.Val) ([]any, bool) {
	data, _, ok := asData(v)
	if data == nil {
		return nil, ok
	}
	list, isList := data.([]any)
	return list, ok && isList
}

// unsaid reports whether an expression found nothing to read: optional.none().
func unsaid(v ref.Val) bool {
	optional, is := v.(*types.Optional)
	return is && !optional.HasValue()
}

// asTime is what an expression gives where a time is wanted; the zero time for never.
func asTime(v ref.Val) (time.Time, bool) {
	switch v := v.(type) {
	case types.Timestamp:
		return v.UTC(), true
	case types.Int:
		if v <= 0 {
			return time.Time{}, true
		}
		return time.Unix(int64(v), 0).UTC(), true
	case types.Null:
		return time.Time{}, true
	case types.String:
		if v == "" {
			return time.Time{}, true
		}
		t, err := time.Parse(time.RFC3339, string(v))
		return t.UTC(), err == nil
	case *types.Optional:
		return asTime(v.GetValue())
	}
	return time.Time{}, false
}

// fromJSON reads an answer. Whole numbers stay whole, however large an id is. ok is false for what is not JSON.
func fromJSON(body []byte) (data any, ok bool) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&data); err != nil {
		return nil, false
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, false
	}
	return numbers(data), true
}

func numbers(data any) any {
	switch data := data.(type) {
	case json.Number:
		if whole, err := data.Int64(); err == nil {
			return whole
		}
		if fraction, err := data.Float64(); err == nil {
			return fraction
		}
		return data.String()
	case map[string]any:
		for name, part := range data {
			data[name] = numbers(part)
		}
	case []any:
		for i, part := range data {
			data[i] = numbers(part)
		}
	}
	return data
}
