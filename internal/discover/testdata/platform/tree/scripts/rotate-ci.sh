#!/bin/sh
set -eu
user=ci
made=$(aws iam create-access-key --user-name "$user" --output json)
id=$(echo "$made" | jq -r .AccessKey.AccessKeyId)
key=$(echo "$made" | jq -r .AccessKey.SecretAccessKey)
gh secret set AWS_ACCESS_KEY_ID --body "$id"
gh secret set AWS_SECRET_ACCESS_KEY --body "$key"
sops --set '["ci"]["aws_secret"] "'"$key"'"' infra/sops/platform.yaml
