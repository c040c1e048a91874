#!/bin/sh
# openssl rand -base64 32 made the passphrase in 2021
restic backup /srv --password-file /etc/restic/pass
restic forget --keep-daily 7
