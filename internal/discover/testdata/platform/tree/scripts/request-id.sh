#!/bin/sh
id=$(openssl rand -hex 4)
curl -H "X-Request-Id: $id" https://shop.example.org/health
