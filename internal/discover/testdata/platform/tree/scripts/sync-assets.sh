#!/bin/sh
aws s3 sync assets s3://harbour-assets --delete
