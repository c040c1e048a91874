#!/bin/sh
sops --decrypt infra/sops/platform.yaml > "$XDG_RUNTIME_DIR/platform.yaml"
