#!/bin/sh
curl -X POST -d 'user=demo&password=demo' http://localhost:8080/signup
