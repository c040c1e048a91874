region      = "eu-central-1"
db_password = "%%random:main-db%%"
key_name    = "deploy"
