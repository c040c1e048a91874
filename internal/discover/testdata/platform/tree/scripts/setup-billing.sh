#!/usr/bin/env bash
# makes what billing needs in a new cluster
set -euo pipefail
NS=${1:-billing}
DB_PW=$(openssl rand -base64 24)
API_KEY="$(pwgen -s 40 1)"
psql -h db.internal -c "ALTER ROLE billing PASSWORD '$DB_PW'"
kubectl -n "$NS" create secret generic billing-app \
  --from-literal=db-password="$DB_PW" \
  --from-literal=api-key="$API_KEY" \
  --dry-run=client -o yaml | kubeseal --format yaml > k8s/billing/app-sealed.yaml
vault kv put kv/billing/app db_password="$DB_PW"
