#!/bin/sh
dig +short shop.example.org
