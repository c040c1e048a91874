#!/bin/sh
curl -X POST -H 'Content-Type: application/json' -d '{"text":"deployed"}' "$SLACK_WEBHOOK"
