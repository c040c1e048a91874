locals {
  slack_token = "%%random:tf-slack%%"
}
module "db" {
  source          = "./db"
  master_password = random_password.db["main"].result
}
resource "random_password" "db" {
  for_each = toset(["main"])
  length   = 24
}
resource "helm_release" "app" {
  name = "app"
  set_sensitive {
    name  = "auth.password"
    value = var.helm_auth
  }
  set {
    name  = "smtp.password"
    value = "%%word:helm-set%%"
  }
}
variable "helm_auth" {
  sensitive = true
}
data "aws_secretsmanager_secret_version" "api" {
  secret_id = "api"
}
resource "aws_ssm_parameter" "key" {
  name  = "/api/key"
  type  = "SecureString"
  value = "%%random:tf-ssm%%"
}
