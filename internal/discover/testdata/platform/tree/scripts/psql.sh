#!/bin/sh
: "${PGPASSWORD:?set it}"
psql -h db.internal -U shop "$@"
