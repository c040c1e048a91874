package shop

const testToken = "%%ghp:unit-test-token%%" // gitleaks:allow
