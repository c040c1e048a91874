#!/bin/bash
ADMIN=${GRAFANA_ADMIN_PASSWORD:?}
TOKEN=$(curl -fsS -u "admin:$ADMIN" -X POST -H 'Content-Type: application/json' \
  -d '{"name":"ci"}' https://grafana.example.org/api/serviceaccounts/2/tokens | jq -r .key)
curl -fsS -X PUT -H "Authorization: Bearer %%random:dashboard-api%%" -d "{\"value\":\"$TOKEN\"}" \
  https://dashboard.example.org/api/v1/variables/GRAFANA_TOKEN
openssl rand -hex 32 > /etc/grafana/secret_key
