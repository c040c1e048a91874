#!/bin/sh
psql "$DATABASE_URL" -f migrations/all.sql
psql "$DATABASE_URL" -c "ALTER TABLE users ADD COLUMN password_changed_at timestamptz"
