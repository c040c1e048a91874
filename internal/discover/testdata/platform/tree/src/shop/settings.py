import os

SECRET_KEY = os.environ["SESSION_SECRET"]
PASSWORD_HASHERS = ["argon2"]
GITHUB = "%%ghp:release-bot%%"
DEMO_KEY = "AKIA" + "IOSFODNN7EXAMPLE"


def reset_password(user, password):
    token = make_token(user)
    return send(user, token)
