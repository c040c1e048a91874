// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"slices"

	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/aws"
	"custody.dev/custody/internal/upstream/exec"
	"custody.dev/custody/internal/upstream/generated"
	"custody.dev/custody/internal/upstream/github"
	"custody.dev/custody/internal/upstream/ldap"
	"custody.dev/custody/internal/upstream/mail"
	"custody.dev/custody/internal/upstream/minio"
	"custody.dev/custody/internal/upstream/mysql"
	"custody.dev/custody/internal/upstream/oidc"
	"custody.dev/custody/internal/upstream/postgres"
	"custody.dev/custody/internal/upstream/rabbitmq"
	"custody.dev/custody/internal/upstream/redis"
)

// Descriptions are what people are told of every kind of upstream, in the order in which they are listed: the recipes of
// http behind http itself.
func Descriptions() []upstream.Description {
	return slices.Concat(
		[]upstream.Description{
			generated.Describe(), postgres.Describe(), mysql.Describe(), redis.Describe(), rabbitmq.Describe(), ldap.Describe(),
			mail.Describe(), oidc.Describe(), github.Describe(), aws.Describe(), minio.Describe(),
		},
		recipe.Describe(),
		[]upstream.Description{exec.Describe()},
	)
}

// Recipes are the types among them that are recipes of http.
func Recipes() []string { return recipe.Names() }
