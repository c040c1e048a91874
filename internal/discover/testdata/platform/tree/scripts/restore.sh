#!/bin/sh
restic restore latest --target /srv/restored --password-file /etc/restic/pass
