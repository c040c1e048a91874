#!/bin/sh
openssl x509 -noout -enddate -in "$1"
openssl s_client -connect shop.example.org:443 </dev/null
openssl dgst -sha256 "$1"
