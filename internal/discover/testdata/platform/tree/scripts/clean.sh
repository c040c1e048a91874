#!/bin/sh
kubectl -n shop delete secret shop-old --ignore-not-found
docker system prune -f
