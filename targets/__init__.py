"""Descriptions of the devices: one TOML file a target."""
