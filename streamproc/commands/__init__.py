"""The commands, one module each, imported by ``cli`` when they are used."""
