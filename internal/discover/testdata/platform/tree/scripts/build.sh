#!/bin/sh
docker build --secret id=npm,env=NPM_TOKEN -t shop .
