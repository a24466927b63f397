"""The reports' published figures and conclusions."""
