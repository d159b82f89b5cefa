"""Logging in by an identity provider (OpenID Connect Core 1.0, code flow). Imported only where one is configured."""
