#!/bin/sh
read -rs PASSWORD
export PGPASSWORD="%%word:login-pg%%"
mysql -h db -u root -p"$MYSQL_ROOT_PASSWORD"
sshpass -p '%%word:sshpass%%' ssh admin@host
docker login -u bot -p "$DOCKER_TOKEN"
