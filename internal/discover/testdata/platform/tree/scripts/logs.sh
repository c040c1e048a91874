#!/bin/sh
kubectl -n shop logs deployment/shop --since=1h
