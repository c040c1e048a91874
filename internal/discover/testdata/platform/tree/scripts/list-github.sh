#!/bin/sh
gh secret list
gh variable set DEPLOY_ENABLED --body true
