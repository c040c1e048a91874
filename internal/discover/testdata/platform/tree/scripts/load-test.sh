#!/bin/sh
k6 run --vus 10 test.js
head -c 1048576 /dev/urandom > payload.bin
