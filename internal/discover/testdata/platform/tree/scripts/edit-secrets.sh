#!/bin/sh
exec sops infra/sops/platform.yaml
