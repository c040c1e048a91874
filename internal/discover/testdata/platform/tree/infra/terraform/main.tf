terraform {
  backend "s3" {
    bucket = "harbour-state"
    key    = "platform/terraform.tfstate"
  }
}

variable "region" { default = "eu-central-1" }

variable "cloudflare_api_token" {
  type      = string
  sensitive = true
}

variable "db_password" {
  type        = string
  description = "password of the main database"
}

variable "legacy_ftp_password" {
  default = "%%word:ftp%%"
}

resource "random_password" "session" {
  length  = 32
  special = false
}

resource "aws_db_instance" "main" {
  identifier = "main"
  username   = "root"
  password   = var.db_password
}

resource "aws_iam_access_key" "ci" {
  user = "ci"
}

resource "aws_secretsmanager_secret_version" "session" {
  secret_id     = "session"
  secret_string = random_password.session.result
}

provider "cloudflare" {
  api_token = var.cloudflare_api_token
}

provider "grafana" {
  url  = "https://grafana.example.org"
  auth = "%%random:grafana-sa%%"
}

resource "kubernetes_secret" "smtp" {
  metadata { name = "smtp" }
  data = {
    username = "relay"
    password = "%%random:tf-smtp%%"
  }
}

output "session" {
  value     = random_password.session.result
  sensitive = true
}
