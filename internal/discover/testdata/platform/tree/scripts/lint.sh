#!/bin/sh
shellcheck scripts/*.sh
kubeconform k8s
