#!/bin/sh
sed -n 's/^version: //p' charts/shop/Chart.yaml
