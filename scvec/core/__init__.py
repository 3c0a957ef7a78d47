"""Values and helpers without a domain: array types, Arrow columns, TOML, files, devices, compiled loops."""
