#!/bin/sh
cd infra/terraform && terraform plan -var-file=production.tfvars
