#!/bin/sh
curl -s http://localhost:9187/metrics | grep pg_up
