#!/bin/sh
kubectl -n shop get secret shop-db -o jsonpath='{.data.password}' | base64 -d
vault kv get -field=password kv/shop/db
aws iam list-access-keys --user-name ci
