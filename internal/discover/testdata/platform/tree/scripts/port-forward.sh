#!/bin/sh
kubectl -n shop port-forward svc/db 5432
