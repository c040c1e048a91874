#!/bin/sh
kubectl apply -k k8s/overlays/production
kubectl -n shop rollout status deployment/shop
echo "to make a secret: kubectl create secret generic x --from-literal=a=b"
