// SPDX-License-Identifier: Apache-2.0

package shop

const testToken = "%%ghp:unit-test-token%%" // gitleaks:allow
