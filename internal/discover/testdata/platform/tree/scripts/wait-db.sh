#!/bin/sh
until pg_isready -h db.internal; do sleep 1; done
